"""What each setting means, read from the comments beside it in the dataclasses and yaml files."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

from hydra.types import RunMode

from reluformer.cli.catalogue import Catalogue

FIELD = re.compile(r" {4}(\w+):.*?  # (.*)")
YAML_KEY = re.compile(r"(?P<indent> *)(?P<key>\w+):(?:.*?\s#\s*(?P<comment>.*))?")


def meanings(catalogue: Catalogue, schema: type, overrides: list[str]) -> dict[str, str]:
    """Full setting name -> its comment; a dataclass's comment goes before a yaml's."""
    found: dict[str, str] = {}
    defaults = catalogue.loader.compute_defaults_list(catalogue.name, overrides, RunMode.MULTIRUN)
    for default in defaults.defaults:
        path = catalogue.file(str(default.config_path))
        if path is not None:
            package = f"{default.package}." if default.package else ""
            found.update((package + key, comment) for key, comment in yaml_comments(path))
    found.update(field_comments(schema))
    return found


def field_comments(schema: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The comments behind the fields of a dataclass and of those nested in it."""
    for line in inspect.getsource(schema).split("\n"):
        if match := FIELD.fullmatch(line):
            yield prefix + match[1], match[2]
    for name, kind in get_type_hints(schema).items():
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from field_comments(kind, f"{prefix}{name}.")


def yaml_comments(path: Path) -> Iterator[tuple[str, str]]:
    """The comments behind the keys of a yaml file, with the keys in full."""
    above: list[tuple[int, str]] = []  # the keys that enclose the line, with their indents
    for line in path.read_text(encoding="utf-8").split("\n"):
        match = YAML_KEY.fullmatch(line)
        if match is None:
            continue
        indent = len(match["indent"])
        above = [(column, key) for column, key in above if column < indent]
        above.append((indent, match["key"]))
        if match["comment"]:
            yield ".".join(key for _, key in above), match["comment"].strip()


def headline(path: Path | None) -> str:
    """The first comment of a yaml file, which says what the option is; empty if there is none."""
    if path is None:
        return ""
    lines = path.read_text(encoding="utf-8").split("\n")
    comments = [line[1:].strip() for line in lines if line.startswith("#")]
    return next((comment for comment in comments if not comment.startswith("@package")), "")
