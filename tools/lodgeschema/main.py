"""Command line of the schema compiler."""
import argparse
import pathlib
import sys

from . import abilities, c_cli, c_errors, c_methods, c_types, load, man, openapi, typescript

KINDS = {
    "abilities": abilities.write,
    "errors": c_errors.write,
    "cli": c_cli.write,
    "man": man.write,
    "model": lambda schema: c_types.write(schema) | c_methods.write(schema),
    "openapi": openapi.write,
    "typescript": typescript.write,
}


def run(arguments):
    parser = argparse.ArgumentParser(prog="generate")
    parser.add_argument("kind", choices=sorted([*KINDS, "docs"]))
    parser.add_argument("--schema", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--docs", help="with `docs`: the folder of the pages that have tables made from the schema")
    options = parser.parse_args(arguments)
    try:
        schema = load.load(options.schema)
        files = abilities.write_docs(schema, options.docs) if options.kind == "docs" else KINDS[options.kind](schema)
    except load.SchemaError as error:
        print(f"schema: {error}", file=sys.stderr)
        return 1
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    return 0
