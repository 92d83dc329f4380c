"""man pages: lodge(1) and one page for each noun, lodge-NOUN(1)."""
INPUT_FORMS = {
    "bool": "", "int": "N", "size": "SIZE", "time": "TIME", "object": "JSON", "json": "JSON", "uuid": "ID", "mac": "MAC", "path": "PATH",
    "ref": "NAME", "tag": "TAG",
}


def _escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    # groff reads one byte a character unless it is told otherwise: groff_char(7).
    text = "".join(char if ord(char) < 128 else f"\\[u{ord(char):04X}]" for char in text)
    return "\\&" + text if text.startswith((".", "'")) else text


def _size(number):
    """As `lodge help` writes sizes."""
    power = 0
    while power < 6 and number >> (10 * (power + 1)):
        power += 1
    if power == 0:
        return f"{number} B"
    return f"{number / 1024**power:.1f}".removesuffix(".0") + f" {'KMGTPE'[power - 1]}iB"


def _only(schema, name, option):
    """For which commands an option is."""
    if option.get("with") == "dry-run":
        verbs = [f"{method.resource.name} {method.verb}" for method in schema.methods if method.has_dry_run and method.cli != "none"]
        return f" Only for {', '.join(verbs)}."
    if option.get("with") == "host-local":
        verbs = [f"{method.resource.name} {method.verb}" for method in schema.methods if method.host_local]
        return f" Only for {', '.join(verbs)}."
    kinds = {"result": " Of no use with console and backup.", "job": " Only for verbs that start a job.", "confirm": " For verbs that ask first."}
    if "for" not in option:
        return kinds.get(option.get("with"), "")
    words = [f"lodge {word}" if word in schema.commands else f"the verb {word}" for word in option["for"]]
    return f" Only for {' and '.join(words)}."


def _examples(schema, noun):
    lines = []
    for row in schema.examples.get(noun, []):
        lines += [".TP", f"\\fB{_escape(row['run'])}\\fR", _escape(row["doc"])]
    return [".SH EXAMPLES"] + lines if lines else []


def _option(schema, name, option):
    short = f"\\fB\\-{option['short']}\\fR, " if "short" in option else ""
    value = f" \\fI{_escape(option['value'])}\\fR" if "value" in option else ""
    values = f" One of {', '.join(option['values'])}." if "values" in option else ""
    return [".TP", f"{short}\\fB\\-\\-{_escape(name)}\\fR{value}", _escape(option["doc"] + values + _only(schema, name, option))]


def _positional(method):
    """Names of the words behind the verb."""
    words = [method.resource.name.upper()] if "{id}" in method.path else []
    for field in method.parameters_type.fields:
        if field.cli == "positional" or (method.kind == "create" and field.name == "name"):
            words.append(f"[{field.name.upper()}...]" if field.is_list else field.name.upper())
        elif field.cli == "positional-upload":
            words.append("[FILE|URL]")
    is_file = method.kind == "download" or (method.is_upload and not method.parameters_type.fields)
    return words + (["FILE"] if is_file else [])


def _is_flag(method, field):
    if field.read_only or field.cli in ("none", "positional", "positional-upload"):
        return False
    if method.kind == "list" or (method.kind == "update" and field.create_only):
        return False
    return not (method.kind == "create" and field.name == "name")


def _field(schema, field):
    name = (field.cli or field.name).replace("_", "-")
    form = "FILE" if field.cli_file else INPUT_FORMS.get(field.kind, "TEXT")
    if field.secret and not field.typed and not field.cli_file:
        name, form = name + "-file", "FILE"
    text = field.doc
    if field.kind == "enum":
        form = "VALUE"
        text += " One of " + ", ".join(schema.enums[field.of].values) + "."
    if field.is_list:
        text += " May be repeated."
    if field.default is not None:
        is_size, is_bool = field.kind == "size", isinstance(field.default, bool)
        text += f" Default: {_size(field.default) if is_size else str(field.default).lower() if is_bool else field.default}."
    return [".TP", f"\\fB\\-\\-{_escape(name)}\\fR" + (f" \\fI{form}\\fR" if form else ""), _escape(text)]


def _noun(schema, resource):
    title = f"lodge-{resource.name}"
    lines = [f'.TH "{title.upper()}" 1', ".SH NAME", f"{_escape(title)} \\- {_escape(resource.doc.rstrip('.'))}", ".SH SYNOPSIS",
             f"\\fBlodge {resource.name}\\fR \\fIVERB\\fR [\\fIOPTIONS\\fR]", ".SH VERBS"]
    for method in schema.methods:
        if method.resource is not resource or method.cli == "none":
            continue
        method.parameters_type = schema.types[method.parameters]
        words = "".join(f" \\fI{_escape(word)}\\fR" for word in _positional(method))
        lines += [".SS", f"\\fBlodge {resource.name} {_escape(method.verb)}\\fR{words}", _escape(method.doc)]
        for field in method.parameters_type.fields:
            if _is_flag(method, field):
                lines += _field(schema, field)
    lines += _examples(schema, resource.name)
    return "\n".join(lines + [".SH SEE ALSO", ".BR lodge (1)", ""])


def write(schema):
    lines = ['.TH "LODGE" 1', ".SH NAME", "lodge \\- manage virtual machines", ".SH SYNOPSIS",
             "\\fBlodge\\fR \\fINOUN VERB\\fR [\\fINAME\\fR] [\\fIOPTIONS\\fR]", ".SH NOUNS"]
    for resource in (schema.resources[noun] for noun in schema.nouns):
        lines += [".TP", f"\\fB{resource.name}\\fR", f"{_escape(resource.doc)} See", f".BR lodge\\-{resource.name} (1)."]
    lines.append(".SH COMMANDS")
    for name, command in schema.commands.items():
        lines += [".TP", f"\\fB{name}\\fR \\fI{_escape(command['arguments'])}\\fR", _escape(command["doc"])]
    lines.append(".SH OPTIONS")
    for name, option in schema.options.items():
        lines += _option(schema, name, option)
    lines += [".SH EXIT STATUS", "0 done, 1 failed, 2 wrong usage or a local file that cannot be used, 3 not found, 4 conflict, 5 denied, 6 unreachable, 7 timed out.",
              ".SH ENVIRONMENT", ".TP", "\\fBLODGE_SERVER\\fR, \\fBLODGE_TOKEN_FILE\\fR", "As the options of the same names.",
              ".TP", "\\fBLODGE_INSTANCE\\fR", "Which instance of this machine to talk to; lodge when absent.",
              ".TP", "\\fBLODGE_AGENT_SOCKET\\fR, \\fBLODGE_AGENT\\fR", "For \\-\\-host\\-local: the agent's socket when it is not the instance's, and another program to speak with it than lodge\\-agent of the same prefix.",
              ".SH FILES", ".TP", "\\fI~/.config/lodge/config.json\\fR", "Servers and tokens that lodge login keeps."]
    lines += _examples(schema, "lodge") + [".SH SEE ALSO", ".BR lodged (8),", ".BR lodge\\-agent (8)", ""]
    pages = {"lodge.1": "\n".join(lines)}
    for resource in (schema.resources[noun] for noun in schema.nouns):
        pages[f"lodge-{resource.name}.1"] = _noun(schema, resource)
    return pages
