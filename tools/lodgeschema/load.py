"""Reads schema/*.toml into one Schema object and refuses what is incomplete."""
import pathlib
import tomllib


class SchemaError(Exception):
    pass


class Schema:
    def __init__(self):
        self.errors = {}


def load(folder):
    schema = Schema()
    for path in sorted(pathlib.Path(folder).rglob("*.toml")):
        with open(path, "rb") as file:
            data = tomllib.load(file)
        schema.errors.update(data.get("error", {}))
    return schema
