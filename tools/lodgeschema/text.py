"""Small helpers for writing source text."""


def c_string(text):
    """A C string literal; non-ASCII bytes as octal escapes, so that any compiler reads the same."""
    out = []
    for byte in text.encode("utf-8"):
        char = chr(byte)
        if char in '"\\':
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        elif 32 <= byte < 127 and char != "?":
            out.append(char)
        else:
            out.append("\\%03o" % byte)
    return '"' + "".join(out) + '"'


def upper(name):
    return name.replace("-", "_").replace(".", "_").upper()


def lower(name):
    return name.replace("-", "_").replace(".", "_")


def camel(name):
    return "".join(part.capitalize() for part in lower(name).split("_"))


HEADER = "/* Generated from schema/ by tools/generate. Do not edit. */\n"
