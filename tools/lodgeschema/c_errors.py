"""error-codes.h and error-codes.c from schema/errors.toml."""
from .text import HEADER, c_string, upper


def write(schema):
    names = list(schema.errors)
    lines = [HEADER, "#pragma once\n", "typedef enum ErrorCode {", "    ERROR_NONE = 0,"]
    lines += [f"    ERROR_{upper(name)}," for name in names]
    lines += ["    ERROR_MAX,", "} ErrorCode;", "", ""]
    header = "\n".join(lines)
    lines = [HEADER, '#include "base/error.h"\n', "const ErrorInfo error_infos[ERROR_MAX] = {"]
    lines.append('    [ERROR_NONE] = {"none", 200, 0, "No error", ""},')
    for name, e in schema.errors.items():
        lines.append(
            f'    [ERROR_{upper(name)}] = {{"{name}", {e["http"]}, {e["exit"]}, {c_string(e["title"])}, {c_string(e["hint"])}}},'
        )
    lines += ["};", ""]
    return {"error-codes.h": header, "error-codes.c": "\n".join(lines)}
