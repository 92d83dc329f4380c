"""cli-tables.h and cli-tables.c: options and commands of the command line that no method declares."""
from .text import HEADER, c_string, upper


def _strings(values):
    if not values:
        return "NULL"
    return "(const char *const[]){" + ", ".join(c_string(value) for value in values) + ", NULL}"


def write(schema):
    header = [HEADER, "#pragma once", "", "typedef enum CliOptionId {"]
    header += [f"    CLI_OPTION_{upper(name)}," for name in schema.options] + ["    CLI_OPTION_MAX,", "} CliOptionId;", ""]
    header += ["typedef enum CliCommandId {"] + [f"    CLI_COMMAND_{upper(name)}," for name in schema.commands]
    header += ["    CLI_COMMAND_MAX,", "} CliCommandId;", ""]
    source = [HEADER, '#include "cli/options.h"', "", "const CliOption cli_options[CLI_OPTION_MAX] = {"]
    for name, option in schema.options.items():
        value = c_string(option["value"]) if "value" in option else "NULL"
        short = f"'{option['short']}'" if "short" in option else "0"
        source.append(f"    [CLI_OPTION_{upper(name)}] = {{.name = {c_string(name)}, .letter = {short}, .value = {value}, "
                      f".values = {_strings(option.get('values'))}, .commands = {_strings(option.get('for'))}, "
                      f".concern = CLI_CONCERN_{upper(option.get('with', 'all'))}, .is_list = {'true' if option.get('list') else 'false'}, .doc = {c_string(option['doc'])}}},")
    source += ["};", "", "const CliCommand cli_commands[CLI_COMMAND_MAX] = {"]
    for name, command in schema.commands.items():
        source.append(f"    [CLI_COMMAND_{upper(name)}] = {{.name = {c_string(name)}, .arguments = {c_string(command['arguments'])}, "
                      f".doc = {c_string(command['doc'])}}},")
    source += ["};", "", f"const char *const *const cli_nouns = {_strings(schema.nouns)};"]
    rows = [f"    {{{c_string(method)}, {c_string(conditions)}}}," for method, conditions in schema.candidates.items()]
    source += ["", "const CliCandidates cli_candidates[] = {"] + rows + ["    {NULL, NULL},", "};"]
    rows = [f"    {{{c_string(noun)}, {c_string(row['run'])}, {c_string(row['doc'])}}}," for noun, rows in schema.examples.items() for row in rows]
    source += ["", "const CliExample cli_examples[] = {"] + rows + ["    {NULL, NULL, NULL},", "};"]
    return {"cli-tables.h": "\n".join(header), "cli-tables.c": "\n".join(source + [""])}
