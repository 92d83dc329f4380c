"""api-types.d.ts: the types of the API for the web console."""
from .load import STRING_FORMATS
from .text import camel

STRINGS = STRING_FORMATS.keys() | {"time"}


def _element(field):
    if field.kind in ("object", "enum"):
        return camel(field.of)
    if field.kind in STRINGS:
        return "string"
    return {"bool": "boolean", "int": "number", "size": "number", "json": "unknown"}[field.kind]


def _comment(doc):
    return "/** " + doc.replace("*/", "* /") + " */"


def _field(field):
    element = _element(field)
    kind = f"{element}[]" if field.is_list else element
    optional = "" if field.required else "?"
    note = field.doc + (" Bytes." if field.kind == "size" else f" Unit: {field.unit}." if field.unit else "")
    return [f"  {_comment(note)}", f"  {'readonly ' if field.read_only else ''}{field.name}{optional}: {kind};"]


def _result(method):
    if method.kind != "list":
        return camel(method.result)
    totals = " & { totals: Record<string, number> }" if method.rows != method.resource.name else ""
    return f"Page<{camel(method.result)}>{totals}"


def _method(method):
    return (f"  '{method.name}': {{ http: '{method.http}'; path: '{method.path}'; parameters: {camel(method.parameters)}; "
            f"result: {_result(method)} }};")


def write(schema):
    lines = ["// Generated from schema/ by tools/generate. Do not edit.", ""]
    for enum in schema.enums.values():
        lines += [_comment(enum.doc), f"export type {camel(enum.name)} = " + " | ".join(f"'{value}'" for value in enum.values) + ";", ""]
    for type_ in schema.types.values():
        if type_.name.startswith("agent_"):
            continue
        lines += [_comment(type_.doc), f"export interface {camel(type_.name)} {{"]
        for field in type_.fields:
            lines += _field(field)
        lines += ["}", ""]
    lines += ["/** A page of a list. */", "export interface Page<T> {", "  items: T[];", "  /** The cursor of the next page. */", "  next?: string;",
              "  /** Last-Event-ID from which events miss nothing. */", "  position: string;", "}", "",
              "/** Every method by its name. */", "export interface Methods {"]
    lines += [_method(method) for method in schema.methods] + ["}", ""]
    return {"api-types.d.ts": "\n".join(lines)}
