"""Command line of the schema compiler."""
import argparse
import pathlib
import sys

from . import c_cli, c_errors, c_methods, c_types, load, man, openapi, typescript

KINDS = {
    "errors": c_errors.write,
    "cli": c_cli.write,
    "man": man.write,
    "model": lambda schema: c_types.write(schema) | c_methods.write(schema),
    "openapi": openapi.write,
    "typescript": typescript.write,
}


def run(arguments):
    parser = argparse.ArgumentParser(prog="generate")
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--schema", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args(arguments)
    try:
        files = KINDS[options.kind](load.load(options.schema))
    except load.SchemaError as error:
        print(f"schema: {error}", file=sys.stderr)
        return 1
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    return 0
