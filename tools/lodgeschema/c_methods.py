"""methods.h and methods.c: resources, REST methods, agent methods and roles as tables."""
from .text import HEADER, c_string, lower, upper


def _flag(value):
    return "true" if value else "false"


def _columns(columns):
    rows = [f"{{{c_string(c['title'])}, {c_string(c['path'])}}}" for c in columns] + ["{NULL, NULL}"]
    return "(const ColumnDescriptor[]){" + ", ".join(rows) + "}"


def _resources(schema):
    lines = ["const ResourceDescriptor resources[RESOURCE_MAX] = {"]
    for resource in schema.resources.values():
        lines.append(f"    [RESOURCE_{upper(resource.name)}] = {{.name = {c_string(resource.name)}, .plural = {c_string(resource.plural)}, "
                     f".doc = {c_string(resource.doc)}, .type = &{lower(resource.type)}_type, .is_singleton = {_flag(resource.is_singleton)}, "
                     f".columns = {_columns(resource.columns)}, .wide = {_columns(resource.wide)}}},")
    return lines + ["};", ""]


def _methods(schema):
    lines = ["const MethodDescriptor methods[METHOD_MAX] = {"]
    for m in schema.methods:
        cli = m.cli != "none"
        lines.append(f"    [METHOD_{upper(m.name)}] = {{.name = {c_string(m.name)}, .resource = RESOURCE_{upper(m.resource.name)}, .rows = RESOURCE_{upper(m.rows)}, .verb = {c_string(m.verb)}, "
                     f".kind = METHOD_KIND_{upper(m.kind)}, .http = {c_string(m.http)}, .path = {c_string(m.path)}, .doc = {c_string(m.doc)}, "
                     f".parameters = &{lower(m.parameters)}_type, .result = &{lower(m.result)}_type, .permission = {c_string(m.permission)}, "
                     f".is_job = {_flag(m.is_job)}, .has_dry_run = {_flag(m.has_dry_run)}, .needs_confirmation = {_flag(m.needs_confirmation)}, "
                     f".confirm_for = {c_string(m.confirm_for) if m.confirm_for else 'NULL'}, .is_upload = {_flag(m.is_upload)}, .is_in_cli = {_flag(cli)}, "
                     f".host_local = AGENT_METHOD_{upper(m.host_local or 'max')}}},")
    return lines + ["};", ""]


def _agent_methods(schema):
    lines = ["const AgentMethodDescriptor agent_methods[AGENT_METHOD_MAX] = {"]
    for m in schema.agent_methods:
        lines.append(f"    [AGENT_METHOD_{upper(m.name)}] = {{.name = {c_string(m.name)}, .doc = {c_string(m.doc)}, .parameters = &{lower(m.parameters)}_type, "
                     f".result = &{lower(m.result)}_type, .is_free = {_flag(m.is_free)}, .is_local = {_flag(m.is_local)}, .is_root = {_flag(m.is_root)}, .is_peer = {_flag(m.is_peer)}, .is_change = {_flag(m.is_change)}, "
                     f".object = {c_string(m.object) if m.object else 'NULL'}}},")
    return lines + ["};", ""]


def _roles(schema):
    lines = ["const RoleDescriptor role_permissions[ROLE_MAX] = {"]
    for name, patterns in schema.roles.items():
        items = ", ".join([c_string(pattern) for pattern in patterns] + ["NULL"])
        lines.append(f"    [ROLE_{upper(name)}] = {{(const char *const[]){{{items}}}}},")
    return lines + ["};", ""]


def write(schema):
    header = [HEADER, "#pragma once", '#include "types.h"', ""]
    for kind, prefix, names in (
        ("ResourceId", "RESOURCE", list(schema.resources)),
        ("MethodId", "METHOD", [m.name for m in schema.methods]),
        ("AgentMethodId", "AGENT_METHOD", [m.name for m in schema.agent_methods]),
    ):
        header += [f"typedef enum {kind} {{"] + [f"    {prefix}_{upper(name)}," for name in names] + [f"    {prefix}_MAX,", f"}} {kind};", ""]
    source = [HEADER, '#include "model/method.h"', ""] + _resources(schema) + _methods(schema) + _agent_methods(schema) + _roles(schema)
    return {"methods.h": "\n".join(header), "methods.c": "\n".join(source)}
