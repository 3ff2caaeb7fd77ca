"""The command line: Hydra's options, and `key=value` pairs made safe for Hydra's grammar.

Hydra reads values by a grammar in which commas make a sweep, and `=`, brackets and letters outside
ASCII are errors. File names and sentences are full of these, so: the value of a text setting is
taken literally, and any other value that the grammar refuses is quoted as a whole. What is already
quoted stays as it is, and with `-m` a comma still separates the jobs of a sweep.
"""

import argparse
import dataclasses
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from reluformer.config.names import nearest
from reluformer.errors import UserError

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


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A command line taken apart."""

    overrides: list[str]  # key=value, readable by Hydra
    options: list[str]  # --cfg job and the like, as they came
    help: bool
    multirun: bool
    config_dir: str | None

    def line(self, job_name: str) -> list[str]:
        """The arguments for Hydra, with our choices for Hydra itself where the user made none."""
        keys = {override.lstrip("+").partition("=")[0] for override in self.overrides}
        chosen = {**HYDRA_DEFAULTS, "hydra.job.name": job_name.replace("/", "-")}
        ours = [f"{key}={value}" for key, value in chosen.items() if key not in keys]
        return ours + self.overrides + self.options


def parse_arguments(arguments: list[str], schema: type) -> Arguments:
    """Take a command line apart; raise UserError at an option or a word that means nothing."""
    parser = get_args_parser()
    parser.exit_on_error = False
    parser.error = _refuse  # type: ignore[method-assign]
    try:
        known, unknown = parser.parse_known_intermixed_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        raise UserError(f"there is no option {unknown[0]}{nearest(unknown[0], flags)}")
    modes = (known.run, known.multirun, known.cfg, known.info, known.shell_completion)
    if sum(map(bool, modes)) > 1:
        raise UserError(
            "only one of --run, --multirun, --cfg, --info, --shell-completion at a time"
        )
    if known.resolve and not known.cfg:
        raise UserError("--resolve goes with --cfg: --cfg job --resolve")
    if known.config_dir is not None and not _is_folder(known.config_dir):
        raise UserError(f"--config-dir {known.config_dir}: there is no such folder")
    options = list(arguments)
    for override in known.overrides:
        options.remove(override)
        if "=" not in override and not override.startswith("~"):
            raise UserError(f"`{override}` is no setting: write key=value (--help lists the keys)")
    overrides = [quote_override(one, schema, known.multirun) for one in known.overrides]
    if {"model", "train"} <= get_type_hints(schema).keys():
        from reluformer.config.sites import at_all_sites  # with PyTorch, which others do without

        overrides = at_all_sites(overrides, known.multirun)
    return Arguments(
        overrides=overrides,
        options=options,
        help=known.help,
        multirun=known.multirun,
        config_dir=known.config_dir,
    )


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # such as for a name that is too long
        return False


def _refuse(message: str) -> NoReturn:
    raise UserError(message)


def quote_override(override: str, schema: type, multirun: bool = False) -> str:
    """`key=value` in a form that Hydra reads as that value."""
    match = OVERRIDE.fullmatch(override)
    if match is None:
        return override
    sign, key, value = match["sign"], match["key"], match["value"]
    quoted = f"{sign}{key}={quote(value)}"
    if not is_readable(override):
        return quoted
    literal = is_text(schema, key) and not multirun
    if not literal or value in ("", "null", "???") or value[0] in "'\"" or "${" in value:
        return override
    return quoted


def quote(value: str) -> str:
    """The value in single quotes; backslashes count only before a quote, where they are doubled."""
    body = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    return f"'{body}'"


def is_readable(override: str) -> bool:
    """Whether Hydra's grammar accepts the override."""
    try:
        OverridesParser.create().parse_override(override)
    except (HydraException, ValueError):  # ValueError: a number that Python refuses
        return False
    return True


def is_text(schema: type, key: str) -> bool:
    """Whether the dataclass (or one nested in it) declares this dotted key as text or a path."""
    kind: Any = schema
    for part in key.split("."):
        if not dataclasses.is_dataclass(kind):
            return False
        kind = get_type_hints(kind).get(part)
        if get_origin(kind) in (Union, UnionType):
            kind = next(option for option in get_args(kind) if option is not NoneType)
    return kind is str or kind is Path


def as_given(override: str, schema: type) -> str:
    """An override without the quotes that were put around it for Hydra, if they come back."""
    key, equals, _ = override.partition("=")
    value = OverridesParser.create().parse_override(override).value()
    bare = f"{key}{equals}{value}"
    return bare if parse_arguments([bare], schema).overrides == [override] else override
