"""openapi.json (OpenAPI 3.1), and the same as a C string for the manager."""
import json

from .load import FIXED_LENGTH, STRING_FORMATS
from .text import HEADER, c_string

FORMATS = {"uuid": "uuid", "time": "date-time"}
C_LINE = 100
PROBLEM = {"$ref": "#/components/responses/problem"}


def _scalar(field):
    if field.kind == "object":
        return {"$ref": f"#/components/schemas/{field.of}"}
    if field.kind == "enum":
        return {"$ref": f"#/components/schemas/{field.of}"}
    if field.kind == "json":
        return {}
    if field.kind == "bool":
        return {"type": "boolean"}
    if field.kind in ("int", "size"):
        schema = {"type": "integer"}
        if field.min is not None:
            schema["minimum"] = field.min
        if field.max is not None:
            schema["maximum"] = field.max
        return schema
    schema = {"type": "string"}
    if field.kind in FORMATS:
        schema["format"] = FORMATS[field.kind]
    if field.kind in STRING_FORMATS.keys() - FIXED_LENGTH:
        schema["maxLength"] = field.max_length
    return schema


def _property(field):
    schema = _scalar(field)
    if field.is_list:
        schema = {"type": "array", "items": schema, "maxItems": field.max_items}
    schema["description"] = field.doc + (f" Unit: {field.unit}." if field.unit else "") + (" Bytes." if field.kind == "size" else "")
    if field.kind == "ref":
        schema["description"] += f" Name or id of a {field.of}."
    if field.default is not None:
        schema["default"] = field.default
    if field.read_only:
        schema["readOnly"] = True
    if field.write_only:
        schema["writeOnly"] = True
    return schema


def _type(type_):
    schema = {"type": "object", "description": type_.doc, "properties": {f.name: _property(f) for f in type_.fields}}
    required = [f.name for f in type_.fields if f.required]
    if required:
        schema["required"] = required
    return schema


def _enum(enum):
    docs = "".join(f"\n- `{value}`: {doc}" for value, doc in enum.values.items())
    return {"type": "string", "enum": list(enum.values), "description": enum.doc + docs}


def _ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema, media="application/json"):
    return {media: {"schema": schema}}


def _parameters(schema, method):
    out = []
    if "{id}" in method.path:
        out.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Name or id."})
    if method.kind in ("list", "delete"):
        for field in schema.types[method.parameters].fields:
            property_ = _property(field)
            out.append({"name": field.name, "in": "query", "description": property_.pop("description"), "schema": property_})
    if method.has_dry_run:
        out.append({"name": "dry_run", "in": "query", "schema": {"type": "boolean"}, "description": "Only say what would be done."})
    if method.is_job or method.kind == "create":
        out.append({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 128},
                    "description": "The same request of the same principal with the same key again gives the same job or object."})
    if method.kind in ("update", "delete") or (method.is_job and method.kind == "action"):
        out.append({"name": "If-Match", "in": "header", "schema": {"type": "string"}, "description": "The ETag that the change is made for."})
    if method.kind == "stream":
        out.append({"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}, "description": "Continue behind this event."})
    return out


def _success(method):
    if method.kind == "list":
        page = {"type": "object", "required": ["items", "position"], "properties": {
            "items": {"type": "array", "items": _ref(method.result)},
            "next": {"type": "string", "description": "The cursor of the next page; absent on the last one."},
            "position": {"type": "string", "description": "Last-Event-ID from which events miss nothing."}}}
        if method.rows != method.resource.name:
            page["properties"]["totals"] = {"type": "object", "additionalProperties": {"type": "integer"},
                                            "description": "How many there are of each state, whatever the filter."}
        return "200", {"description": "A page.", "content": _content(page)}
    if method.is_job:
        return "202", {"description": "The job.", "content": _content(_ref("job"))}
    if method.kind == "delete":
        return "204", {"description": "Deleted."}
    if method.kind == "stream":
        return "200", {"description": "Server-sent events.", "content": _content(_ref("event"), "text/event-stream")}
    if method.kind == "feed":
        return "200", {"description": "Rows as they are found, one a line.", "content": _content(_ref(method.result), "application/x-ndjson")}
    if method.kind == "download":
        return "200", {"description": "The file.", "content": _content({"type": "string", "format": "binary"}, "application/octet-stream")}
    if method.kind == "websocket":
        return "101", {"description": "A WebSocket."}
    return ("201" if method.kind == "create" else "200"), {"description": "Done.", "content": _content(_ref(method.result))}


def _operation(schema, method):
    status, success = _success(method)
    operation = {"operationId": method.name, "tags": [method.resource.name], "summary": method.doc,
                 "x-permission": method.permission, "parameters": _parameters(schema, method),
                 "responses": {status: success, "default": PROBLEM}}
    if method.has_dry_run:
        operation["responses"]["200"] = {"description": "What a dry run found.", "content": _content({"type": "object"})}
    if method.permission == "anyone":
        operation["security"] = []
    if method.http in ("POST", "PATCH") and schema.types[method.parameters].fields:
        media = "application/merge-patch+json" if method.kind == "update" else "application/json"
        operation["requestBody"] = {"required": method.kind in ("create", "update"), "content": _content(_ref(method.parameters), media)}
    elif method.is_upload:
        operation["requestBody"] = {"required": True, "content": _content({"type": "string", "format": "binary"}, "application/octet-stream")}
    return operation


def document(schema):
    paths = {}
    for method in schema.methods:
        paths.setdefault(method.path, {})[method.http.lower()] = _operation(schema, method)
    schemas = {e.name: _enum(e) for e in schema.enums.values()} | {t.name: _type(t) for t in schema.types.values() if not t.name.startswith("agent_")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lodge", "version": "1", "description": "Generated from schema/. Sizes are bytes; times are RFC 3339; updates are JSON merge patches (RFC 7396); errors are problems (RFC 9457)."},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {"problem": {"description": "An error.", "content": _content(_ref("fault"), "application/problem+json")}},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def write(schema):
    text = json.dumps(document(schema), indent=1, ensure_ascii=False) + "\n"
    compact = json.dumps(document(schema), separators=(",", ":"))
    lines = [c_string(compact[at:at + C_LINE]) for at in range(0, len(compact), C_LINE)]
    source = "\n".join([HEADER, '#include "api/openapi.h"', "", "const char openapi_json[] ="] + [f"    {line}" for line in lines]) + ";\n"
    return {"openapi.json": text, "openapi.c": source}
