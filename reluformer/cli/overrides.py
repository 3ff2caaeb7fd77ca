"""The command line's `key=value` pairs, made safe for Hydra's grammar.

Hydra reads values by a grammar in which commas make a sweep, and `=`, brackets and letters outside
ASCII are errors. File names and sentences are full of these, so: the value of a text setting is
taken literally, and any other value that the grammar refuses is quoted as a whole. What is already
quoted stays as it is, and with `-m` a comma still separates the jobs of a sweep.
"""

import dataclasses
import re
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

# A command writes only what it announces: no run folders, log files or change of folder by Hydra.
HYDRA_DEFAULTS = {
    "hydra.run.dir": ".",
    "hydra.output_subdir": "null",
    "hydra.job.chdir": "false",
    "hydra.sweep.dir": "runs/multirun",
    "hydra.sweep.subdir": ".",
    "hydra/job_logging": "none",
    "hydra/hydra_logging": "none",
}
OVERRIDE = re.compile(r"(?P<sign>\+{0,2})(?P<key>[\w./@:-]+)=(?P<value>.*)", re.DOTALL)


def with_defaults(arguments: list[str], job_name: str) -> list[str]:
    """The arguments behind our choices for Hydra itself, each of which the user may override."""
    keys = {argument.lstrip("+").partition("=")[0] for argument in arguments}
    chosen = {**HYDRA_DEFAULTS, "hydra.job.name": job_name.replace("/", "-")}
    return [f"{key}={value}" for key, value in chosen.items() if key not in keys] + arguments


def quote_overrides(arguments: list[str], schema: type, multirun: bool = False) -> list[str]:
    """The arguments with each value that Hydra would misread in quotes; options untouched."""
    return [
        argument if argument.startswith("-") else quote_override(argument, schema, multirun)
        for argument in arguments
    ]


def quote_override(argument: str, schema: type, multirun: bool) -> str:
    """`key=value` in a form that Hydra reads as that value."""
    match = OVERRIDE.fullmatch(argument)
    if match is None:
        return argument
    sign, key, value = match["sign"], match["key"], match["value"]
    quoted = f"{sign}{key}={quote(value)}"
    if not is_readable(argument):
        return quoted
    literal = is_text(schema, key) and not multirun
    if not literal or value in ("", "null", "???") or value[0] in "'\"" or "${" in value:
        return argument
    return quoted


def quote(value: str) -> str:
    """The value in single quotes; backslashes count only before a quote, where they are doubled."""
    body = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    return f"'{body}'"


def is_readable(argument: str) -> bool:
    """Whether Hydra's grammar accepts the override."""
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True


def is_text(schema: type, key: str) -> bool:
    """Whether the dataclass (or one nested in it) declares this dotted key as text or a path."""
    kind: Any = schema
    for part in key.split("."):
        if not dataclasses.is_dataclass(kind):
            return False
        kind = get_type_hints(kind).get(part)
        kind = next((option for option in get_args(kind) if option is not NoneType), kind)
    return kind is str or kind is Path
