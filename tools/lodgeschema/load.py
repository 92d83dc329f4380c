"""Reads schema/*.toml into one Schema object and refuses what is incomplete or contradicts itself."""
import pathlib
import re
import tomllib

# Kinds of strings, and the format (src/model/format.c) that checks them.
STRING_FORMATS = {
    "string": "FORMAT_LINE", "text": "FORMAT_TEXT", "name": "FORMAT_NAME", "name_pattern": "FORMAT_NAME_PATTERN", "tag": "FORMAT_TAG",
    "path": "FORMAT_PATH", "uuid": "FORMAT_UUID", "mac": "FORMAT_MAC", "mac_range": "FORMAT_MAC_RANGE", "ssh_key": "FORMAT_SSH_KEY",
    "subnet": "FORMAT_SUBNET", "interface": "FORMAT_INTERFACE", "module": "FORMAT_MODULE", "keymap": "FORMAT_KEYMAP",
    "ref": "FORMAT_REFERENCE",
}
FIXED_LENGTH = {"uuid", "mac", "mac_range"}
SCALARS = {"bool", "int", "size", "time", "json"} | STRING_FORMATS.keys() - {"ref"}
FIELD_KEYS = {
    "type", "of", "doc", "required", "read_only", "write_only", "create_only", "secret", "typed", "hidden", "runtime", "default", "min", "max",
    "max_length", "max_items", "unit", "since", "when", "cli", "cli_file",
}
METHOD_KINDS = {
    # kind: (HTTP method, path template after /v1)
    "list": ("GET", "/{plural}"),
    "get": ("GET", "/{plural}/{{id}}"),
    "create": ("POST", "/{plural}"),
    "read": ("GET", "/{plural}/{{id}}/{verb}"),
    "update": ("PATCH", "/{plural}/{{id}}"),
    "delete": ("DELETE", "/{plural}/{{id}}"),
    "action": ("POST", "/{plural}/{{id}}/{verb}"),
    "collection-action": ("POST", "/{plural}/{verb}"),
    "stream": ("GET", "/{plural}/{verb}"),
    "feed": ("POST", "/{plural}/{verb}"),
    "websocket": ("GET", "/{plural}/{{id}}/{verb}"),
    "singleton-get": ("GET", "/{plural}"),
    "singleton-action": ("POST", "/{plural}/{verb}"),
    "download": ("GET", "/{plural}/{verb}"),
}
CONCERNS = ("result", "job", "dry-run", "confirm", "host-local")  # what a method may have that an option is about
MAX_FIELDS = 64  # one presence word
MAX_SAFE_SIZE = 2**53 - 1


class SchemaError(Exception):
    pass


class Field:
    def __init__(self, owner, name, data):
        where = f"{owner}.{name}"
        unknown = set(data) - FIELD_KEYS
        if unknown:
            raise SchemaError(f"{where}: unknown attribute {', '.join(sorted(unknown))}")
        if not data.get("doc"):
            raise SchemaError(f"{where}: doc is missing")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise SchemaError(f"{where}: field names are lower case with underscores")
        self.name, self.doc = name, data["doc"]
        self.is_list = data.get("type") == "list"
        self.kind = data.get("of") if self.is_list else data.get("type")
        self.of = data.get("of")
        if self.kind is None:
            raise SchemaError(f"{where}: type is missing")
        for key in ("required", "read_only", "write_only", "create_only", "secret", "typed", "hidden", "runtime", "cli_file"):
            setattr(self, key, bool(data.get(key, False)))
        self.default = data.get("default")
        self.min, self.max = data.get("min"), data.get("max")
        self.max_length = data.get("max_length", 255)
        self.max_items = data.get("max_items", 0)
        self.unit, self.when, self.cli = data.get("unit"), data.get("when"), data.get("cli")
        if self.is_list and not self.max_items:
            raise SchemaError(f"{where}: a list needs max_items")


class Ability:
    """What a VM can do; for each driver and mode True, or the reason why not."""

    def __init__(self, name, data, modes):
        self.name, self.doc, self.cells = name, data.get("doc"), {}
        if not self.doc:
            raise SchemaError(f"ability {name}: doc is missing")
        unknown = set(data) - {"doc"} - modes.keys()
        if unknown:
            raise SchemaError(f"ability {name}: unknown driver {', '.join(sorted(unknown))}")
        for driver, offered in modes.items():
            row = data.get(driver)
            if not isinstance(row, dict):
                row = dict.fromkeys(offered, row)
            if set(row) != set(offered):
                raise SchemaError(f"ability {name}: {driver} has the modes {', '.join(offered)}")
            for mode, cell in row.items():
                if cell is not True and not (isinstance(cell, str) and cell):
                    raise SchemaError(f"ability {name}: {driver}.{mode} is neither true nor a reason")
                self.cells[driver, mode] = cell


class Type:
    def __init__(self, name, data, mixins, abilities):
        self.name, self.doc = name, data.get("doc")
        if not self.doc:
            raise SchemaError(f"type {name}: doc is missing")
        fields = {}
        for mixin in data.get("mixin", []):
            fields.update(mixins[mixin]["fields"])
        fields.update(data.get("fields", {}))
        if data.get("abilities"):
            fields.update({ability.name: {"type": "bool", "doc": ability.doc} for ability in abilities.values()})
        self.fields = [Field(name, field, attributes) for field, attributes in fields.items()]
        if len(self.fields) > MAX_FIELDS:
            raise SchemaError(f"type {name}: more than {MAX_FIELDS} fields")

    def field(self, name):
        return next((field for field in self.fields if field.name == name), None)


class Enum:
    def __init__(self, name, data):
        self.name, self.doc, self.values = name, data.get("doc"), data.get("values", {})
        if not self.doc or not self.values or not all(self.values.values()):
            raise SchemaError(f"enum {name}: doc or values are missing")


class Resource:
    def __init__(self, name, data):
        self.name = name
        for key in ("doc", "plural", "type", "columns"):
            if not data.get(key):
                raise SchemaError(f"resource {name}: {key} is missing")
        self.doc, self.plural, self.type = data["doc"], data["plural"], data["type"]
        self.is_singleton = bool(data.get("singleton"))
        self.columns = [self._column(column) for column in data["columns"]]
        self.wide = [self._column(column) for column in data.get("wide", [])]

    @staticmethod
    def _column(column):
        if isinstance(column, str):
            title = column.removesuffix("_name").replace("_", " ").upper()
            return {"title": title, "path": column}
        return column


class Method:
    def __init__(self, resource, name, data):
        self.name, self.resource, where = f"{resource.name}.{name}", resource, f"method {resource.name}.{name}"
        self.kind = data.get("kind")
        if self.kind not in METHOD_KINDS:
            raise SchemaError(f"{where}: kind must be one of {', '.join(METHOD_KINDS)}")
        for key in ("doc", "permission"):
            if not data.get(key):
                raise SchemaError(f"{where}: {key} is missing")
        self.doc, self.permission = data["doc"], data["permission"]
        self.action = name
        self.verb = data.get("verb", name)
        self.parameters = data.get("parameters", "list_query" if self.kind == "list" else "empty")
        self.is_job, self.has_dry_run = bool(data.get("job")), bool(data.get("dry_run"))
        self.needs_confirmation, self.is_upload = bool(data.get("confirm")), bool(data.get("upload"))
        # The name of a parameter instead of true: only when that is given.
        self.confirm_for = data["confirm"] if isinstance(data.get("confirm"), str) else None
        self.cli = data.get("cli")
        self.host_local = data.get("host_local")  # the agent method that serves it on a host without its manager
        # Of a list or a read: another resource, of which it shows objects that belong to one of this resource.
        self.rows = data.get("rows", resource.name)
        self.result = "job" if self.is_job else data.get("result", "empty" if self.kind == "delete" else resource.type)
        self.http, path = METHOD_KINDS[self.kind]
        if self.rows != resource.name and self.kind != "feed":
            path = "/{plural}/{{id}}/{verb}"
        self.path = "/v1" + path.format(plural=resource.plural, verb=name)


class AgentMethod:
    def __init__(self, name, data):
        self.name, self.doc = name, data.get("doc")
        if not self.doc:
            raise SchemaError(f"agent method {name}: doc is missing")
        self.parameters, self.result = data.get("parameters", "empty"), data.get("result", "empty")
        self.is_free, self.is_local, self.is_root = (bool(data.get(word)) for word in ("free", "local", "root"))
        self.is_peer, self.is_change = bool(data.get("peer")), bool(data.get("changes"))
        self.object = data.get("object")


class Schema:
    def __init__(self):
        self.errors, self.enums, self.types, self.resources = {}, {}, {}, {}
        self.methods, self.agent_methods, self.roles = [], [], {}
        self.modes, self.abilities = {}, {}  # of VMs: modes by driver, the preferred one first
        self.options, self.commands = {}, {}  # of the command line, beside the methods
        self.nouns = []  # all resources in the order of help
        self.examples = {}  # rows of `run` and `doc`, by noun and for `lodge`
        self.candidates = {}  # filters of what completion offers, by method

    def type_order(self):
        """Types so that each stands behind those it contains."""
        order, state = [], {}

        def visit(name):
            if state.get(name) == "done":
                return
            if state.get(name) == "open":
                raise SchemaError(f"type {name} contains itself")
            state[name] = "open"
            for field in self.types[name].fields:
                if field.kind == "object":
                    visit(field.of)
                elif field.is_list and field.of in self.types:
                    visit(field.of)
            state[name] = "done"
            order.append(self.types[name])

        for name in self.types:
            visit(name)
        return order


def _resolve(schema, type_):
    """Settles what `of` names and checks defaults and limits."""
    for field in type_.fields:
        where = f"{type_.name}.{field.name}"
        if field.is_list:
            if field.of in schema.types:
                field.kind = "object"
            elif field.of in schema.enums:
                field.kind = "enum"
            elif field.of not in SCALARS:
                raise SchemaError(f"{where}: unknown element type {field.of}")
        elif field.kind == "object" and field.of not in schema.types:
            raise SchemaError(f"{where}: unknown type {field.of}")
        elif field.kind == "enum" and field.of not in schema.enums:
            raise SchemaError(f"{where}: unknown enum {field.of}")
        elif field.kind == "ref" and field.of not in schema.resources:
            raise SchemaError(f"{where}: unknown resource {field.of}")
        elif field.kind not in SCALARS | {"object", "enum", "ref"}:
            raise SchemaError(f"{where}: unknown type {field.kind}")
        if field.kind == "size":
            field.min, field.max = field.min or 0, min(field.max or MAX_SAFE_SIZE, MAX_SAFE_SIZE)
        if field.kind == "enum" and field.default is not None and field.default not in schema.enums[field.of].values:
            raise SchemaError(f"{where}: default {field.default} is not a value of {field.of}")
        if field.when and not type_.field(field.when["field"]):
            raise SchemaError(f"{where}: `when` names an unknown field")


def _check(schema):
    for type_ in schema.types.values():
        _resolve(schema, type_)
    for resource in schema.resources.values():
        if resource.type not in schema.types:
            raise SchemaError(f"resource {resource.name}: unknown type {resource.type}")
    for method in schema.methods:
        if method.rows not in schema.resources or (method.rows != method.resource.name and method.kind not in ("list", "read", "feed")):
            raise SchemaError(f"method {method.name}: `rows` names no resource, or it is neither list nor read")
        if method.rows != method.resource.name:
            method.result = schema.resources[method.rows].type
    for method in schema.methods + schema.agent_methods:
        for name in (method.parameters, method.result):
            if name not in schema.types:
                raise SchemaError(f"method {method.name}: unknown type {name}")
    served_by_root = {method.name for method in schema.agent_methods if method.is_root}
    for method in schema.methods:
        if method.host_local and method.host_local not in served_by_root:
            raise SchemaError(f"method {method.name}: `host_local` names no agent method that is marked `root`")
    for noun in schema.nouns:
        if noun not in schema.resources:
            raise SchemaError(f"nouns: unknown resource {noun}")
    with_methods = {method.resource.name for method in schema.methods}
    schema.nouns += [name for name in schema.resources if name not in schema.nouns and name in with_methods]
    for noun, rows in schema.examples.items():
        if noun not in schema.resources and noun != "lodge" or not all(row.get("run") and row.get("doc") for row in rows):
            raise SchemaError(f"examples: {noun} is no noun, or run or doc is missing")
    unknown = set(schema.candidates) - {method.name for method in schema.methods}
    if unknown:
        raise SchemaError(f"candidates: unknown method {', '.join(sorted(unknown))}")
    for driver, modes in schema.modes.items():
        if not set(modes) <= schema.enums["vm_mode"].values.keys() - {"auto"}:
            raise SchemaError(f"modes: {driver} has one that vm_mode has not")
    for name, option in schema.options.items():
        if option.get("with") not in (None, *CONCERNS):
            raise SchemaError(f"option {name}: `with` must be one of {', '.join(CONCERNS)}")
    schema.type_order()


def load(folder):
    schema, tables = Schema(), []
    for path in sorted(pathlib.Path(folder).rglob("*.toml")):
        with open(path, "rb") as file:
            tables.append(tomllib.load(file))
    mixins = {name: data for table in tables for name, data in table.get("mixin", {}).items()}
    for table in tables:
        schema.modes.update(table.get("modes", {}))
    for table in tables:
        for name, data in table.get("ability", {}).items():
            schema.abilities[name] = Ability(name, data, schema.modes)
    for table in tables:
        schema.errors.update(table.get("error", {}))
        schema.roles.update(table.get("roles", {}))
        schema.options.update(table.get("option", {}))
        schema.commands.update(table.get("command", {}))
        schema.examples.update(table.get("examples", {}))
        schema.candidates.update(table.get("candidates", {}))
        schema.nouns += table.get("nouns", {}).get("order", [])
        for name, data in table.get("enum", {}).items():
            schema.enums[name] = Enum(name, data)
        for name, data in table.get("type", {}).items():
            if name in schema.types:
                raise SchemaError(f"type {name} is declared twice")
            schema.types[name] = Type(name, data, mixins, schema.abilities)
        for name, data in table.get("resource", {}).items():
            schema.resources[name] = Resource(name, data)
    for table in tables:
        for resource, methods in table.get("method", {}).items():
            for name, data in methods.items():
                schema.methods.append(Method(schema.resources[resource], name, data))
        for name, data in table.get("agent", {}).items():
            schema.agent_methods.append(AgentMethod(name, data))
    _check(schema)
    return schema
