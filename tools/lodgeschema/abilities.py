"""abilities-table.c: what each mode of each driver can do; the same as a table between two marks of docs/DRIVER.md."""
import pathlib

from .load import SchemaError
from .text import HEADER, c_string, upper

BEGIN, END = "<!-- abilities: begin -->", "<!-- abilities: end -->"


def write(schema):
    lines = [HEADER, '#include "model/abilities.h"', "", "const AbilitiesRow abilities_rows[] = {"]
    present = (1 << len(schema.types["host_mode"].fields)) - 1
    for driver, modes in schema.modes.items():
        for mode in modes:
            can = [f", .{ability.name} = true" for ability in schema.abilities.values() if ability.cells[driver, mode] is True]
            lines.append(f"    {{{c_string(driver)}, {{.present = UINT64_C({present:#x}), .mode = VM_MODE_{upper(mode)}{''.join(can)}}}}},")
    lines += ["};", "const size_t n_abilities_rows = G_N_ELEMENTS(abilities_rows);", ""]
    return {"abilities-table.c": "\n".join(lines)}


def _reasons(ability, driver, modes):
    """A line for each reason why the ability is missing, with the modes that it holds for."""
    reasons = {}
    for mode in modes:
        if ability.cells[driver, mode] is not True:
            reasons.setdefault(ability.cells[driver, mode], []).append(mode)
    return [f"- `{ability.name}`" + (f" ({', '.join(lacking)})" if lacking != modes else "") + f": {reason}"
            for reason, lacking in reasons.items()]


def _table(schema, driver):
    modes = schema.modes[driver]
    lines = [f"| ability | {' | '.join(modes)} |", "|---" * (len(modes) + 1) + "|"]
    for ability in schema.abilities.values():
        cells = ["yes" if ability.cells[driver, mode] is True else "-" for mode in modes]
        lines.append(f"| `{ability.name}`: {ability.doc} | {' | '.join(cells)} |")
    reasons = [line for ability in schema.abilities.values() for line in _reasons(ability, driver, modes)]
    return "\n".join(lines + ["", "Why not:"] + reasons if reasons else lines)


def write_docs(schema, folder):
    """The pages of the drivers that have one, with their tables as they should be."""
    files = {}
    for driver in schema.modes:
        path = pathlib.Path(folder) / f"{driver}.md"
        if not path.exists():
            continue
        before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise SchemaError(f"{path}: the marks {BEGIN} and {END} are missing")
        files[path.name] = f"{before}{begin}\n{_table(schema, driver)}\n{end}{after}"
    return files
