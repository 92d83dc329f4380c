"""types.h and types.c: a struct, setters and a descriptor table for every type."""
from .load import STRING_FORMATS
from .text import HEADER, c_string, camel, lower, upper

SCALAR_C = {"bool": "bool", "int": "int64_t", "size": "uint64_t", "time": "int64_t", "json": "json_t *"}
SCALAR_KIND = {"bool": "FIELD_BOOL", "int": "FIELD_INT", "size": "FIELD_SIZE", "time": "FIELD_TIME", "json": "FIELD_JSON"}
UNNAMED_LIMITS = {"int": ("INT64_MIN", "INT64_MAX"), "size": ("0", "MODEL_SIZE_MAX")}


def element_type(field):
    if field.kind in STRING_FORMATS:
        return "char *"
    if field.kind in ("enum", "object"):
        return camel(field.of) + " "
    text = SCALAR_C[field.kind]
    return text if text.endswith("*") else text + " "


def _enum_header(enum):
    lines = [f"/* {enum.doc} */", f"typedef enum {camel(enum.name)} {{"]
    lines += [f"    {upper(enum.name)}_{upper(value)}, /* {doc} */" for value, doc in enum.values.items()]
    lines += [f"    {upper(enum.name)}_MAX", f"}} {camel(enum.name)};", f"extern const EnumDescriptor {lower(enum.name)}_enum;", ""]
    return lines


def _setters(type_):
    c, prefix, lines = camel(type_.name), lower(type_.name), []
    for field in type_.fields:
        bit = f"MODEL_BIT({upper(type_.name)}_FIELD_{upper(field.name)})"
        element = element_type(field)
        if field.is_list:
            value = "const char *value" if field.kind in STRING_FORMATS else None
            if value:
                lines += [f"static inline void {prefix}_add_{field.name}({c} *object, {value}) {{", f"    object->present |= {bit};",
                          f"    *(char **)model_list_add(&object->{field.name}, sizeof(char *)) = g_strdup(value);", "}"]
            else:
                lines += [f"static inline {element}*{prefix}_add_{field.name}({c} *object) {{", f"    object->present |= {bit};",
                          f"    return ({element}*)model_list_add(&object->{field.name}, sizeof({element.strip()}));", "}"]
        elif field.kind in STRING_FORMATS:
            lines += [f"static inline void {prefix}_set_{field.name}({c} *object, const char *value) {{",
                      f"    model_string_set(&object->present, {bit}, &object->{field.name}, value);", "}"]
        elif field.kind == "json":
            lines += [f"static inline void {prefix}_take_{field.name}({c} *object, json_t *take_value) {{",
                      f"    model_json_set(&object->present, {bit}, &object->{field.name}, take_value);", "}"]
        elif field.kind == "object":
            lines += [f"static inline {camel(field.of)} *{prefix}_put_{field.name}({c} *object) {{", f"    object->present |= {bit};",
                      f"    return &object->{field.name};", "}"]
        else:
            lines += [f"static inline void {prefix}_set_{field.name}({c} *object, {element}value) {{", f"    object->present |= {bit};",
                      f"    object->{field.name} = value;", "}"]
    return lines


def _type_header(type_):
    c, prefix = camel(type_.name), lower(type_.name)
    lines = [f"/* {type_.doc} */"]
    if type_.fields:
        lines += [f"typedef enum {c}Field {{"] + [f"    {upper(type_.name)}_FIELD_{upper(f.name)}," for f in type_.fields] + [f"}} {c}Field;"]
    else:
        lines += [f"typedef int {c}Field;"]
    lines += [f"typedef struct {c} {{", "    uint64_t present;"]
    for field in type_.fields:
        note = field.doc if not field.unit else f"{field.doc} Unit: {field.unit}."
        if field.is_list:
            lines.append(f"    struct {{ {element_type(field)}*items; size_t n; }} {field.name}; /* {note} */")
        else:
            lines.append(f"    {element_type(field)}{field.name}; /* {note} */")
    lines += [f"}} {c};", f"extern const TypeDescriptor {prefix}_type;",
              f"static inline bool {prefix}_has(const {c} *object, {c}Field field) {{", "    return object->present & MODEL_BIT(field);", "}",
              f"static inline void {prefix}_clear({c} *object) {{", f"    model_clear(&{prefix}_type, object);", "}",
              f"static inline void {prefix}_free({c} *object) {{", f"    model_free(&{prefix}_type, object);", "}",
              f"static inline void {prefix}_copy({c} *destination, const {c} *source) {{",
              f"    model_copy(&{prefix}_type, destination, source);", "}",
              f"static inline bool {prefix}_decode(const json_t *json, ModelMode mode, {c} *object, Error *err) {{",
              f"    return model_decode(&{prefix}_type, json, mode, object, err);", "}",
              f"static inline json_t *{prefix}_encode(const {c} *object, ModelEncoding encoding) {{",
              f"    return model_encode(&{prefix}_type, object, encoding);", "}",
              f"G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC({c}, {prefix}_clear)", f"G_DEFINE_AUTOPTR_CLEANUP_FUNC({c}, {prefix}_free)"]
    return lines + _setters(type_) + [""]


def _limits(field):
    if field.kind in UNNAMED_LIMITS:
        low, high = UNNAMED_LIMITS[field.kind]
        return (f"INT64_C({field.min})" if field.min is not None else low, f"INT64_C({field.max})" if field.max is not None else high)
    if field.kind in STRING_FORMATS:
        return "0", str(field.max_length)
    return "0", "0"


def _default(field):
    if field.default is None:
        return "NULL"
    if isinstance(field.default, bool):
        return c_string("true" if field.default else "false")
    return c_string(str(field.default))


def _field_row(type_, field):
    kind = "FIELD_STRING" if field.kind in STRING_FORMATS else {"enum": "FIELD_ENUM", "object": "FIELD_OBJECT"}.get(field.kind) or SCALAR_KIND[field.kind]
    flags = [f"FIELD_{flag.upper()}" for flag in ("required", "read_only", "write_only", "create_only", "secret", "typed", "hidden", "runtime") if getattr(field, flag)]
    low, high = _limits(field)
    row = [f".name = {c_string(field.name)}", f".kind = {kind}", f".offset = offsetof({camel(type_.name)}, {field.name})"]
    if field.kind in STRING_FORMATS:
        row.append(f".format = {STRING_FORMATS[field.kind]}")
    if field.is_list:
        row += [".is_list = true", f".max_items = {field.max_items}"]
    if flags:
        row.append(".flags = " + " | ".join(flags))
    row += [f".minimum = {low}", f".maximum = {high}"]
    if field.kind == "enum":
        row.append(f".enumeration = &{lower(field.of)}_enum")
    if field.kind == "object":
        row.append(f".type = &{lower(field.of)}_type")
    if field.kind == "ref":
        row.append(f".reference = {c_string(field.of)}")
    if field.default is not None:
        row.append(f".default_text = {_default(field)}")
    if field.unit:
        row.append(f".unit = {c_string(field.unit)}")
    if field.when:
        row += [f".when_field = {c_string(field.when['field'])}", f".when_value = {c_string(field.when['is'])}"]
    if field.cli or field.cli_file:
        row += [f".cli = {c_string(field.cli)}" if field.cli else ".cli = NULL", f".cli_file = {'true' if field.cli_file else 'false'}"]
    row.append(f".doc = {c_string(field.doc)}")
    return "    {" + ", ".join(row) + "},"


def _type_source(type_):
    c, prefix, lines = camel(type_.name), lower(type_.name), []
    if type_.fields:
        lines += [f"static const FieldDescriptor {prefix}_fields[] = {{"] + [_field_row(type_, field) for field in type_.fields] + ["};"]
    fields = f"{prefix}_fields" if type_.fields else "NULL"
    lines.append(f"const TypeDescriptor {prefix}_type = {{.name = {c_string(type_.name)}, .doc = {c_string(type_.doc)}, "
                 f".size = sizeof({c}), .fields = {fields}, .n_fields = {len(type_.fields)}}};")
    return lines + [""]


def _enum_source(enum):
    lines = [f"static const EnumValue {lower(enum.name)}_values[] = {{"]
    lines += [f"    {{{c_string(value)}, {c_string(doc)}}}," for value, doc in enum.values.items()]
    lines += ["};", f"const EnumDescriptor {lower(enum.name)}_enum = {{.name = {c_string(enum.name)}, .doc = {c_string(enum.doc)}, "
              f".values = {lower(enum.name)}_values, .n_values = {len(enum.values)}}};", ""]
    return lines


def write(schema):
    header = [HEADER, "#pragma once", "#include <stddef.h>", '#include "model/model.h"', ""]
    source = [HEADER, '#include "types.h"', ""]
    for enum in schema.enums.values():
        header += _enum_header(enum)
        source += _enum_source(enum)
    for type_ in schema.type_order():
        header += _type_header(type_)
        source += _type_source(type_)
    header.append("extern const TypeDescriptor *const model_types[]; /* all types, NULL-terminated */\n")
    source += ["const TypeDescriptor *const model_types[] = {"] + [f"    &{lower(t.name)}_type," for t in schema.type_order()] + ["    NULL,", "};", ""]
    secrets = sorted({field.name for type_ in schema.types.values() if not type_.name.startswith("agent_")
                      for field in type_.fields if field.secret})
    source += ["const char *const model_secret_names[] = {"] + [f"    {c_string(name)}," for name in secrets] + ["    NULL,", "};", ""]
    return {"types.h": "\n".join(header), "types.c": "\n".join(source)}
