"""The text of `--help`."""

from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import DictConfig

from reluformer.cli.arguments import Arguments
from reluformer.cli.catalogue import Catalogue, choices, open_catalogue, settings
from reluformer.cli.examples import description_and_examples, program
from reluformer.cli.meanings import headline, meanings

COLUMN = 34  # where explanations start

CLOSING = """\
Options:
  -m, --multirun                  run once for each of several values: seed=1,2,3
  --cfg job [--resolve]           print the settings that would be used, and do nothing
  --info defaults                 print which files the settings come from
  --config-dir FOLDER             find options of groups in this folder, too
  --hydra-help, --version         Hydra's own options; the version

Values of text settings are taken as they are, but for `${...}`, which is filled in: spaces, commas
and `=` need no quotes beyond the shell's. `key=null` means none. Paths are relative to the folder
where the command is run.

Exit codes: 0 done, 1 a defect of reluformer, 2 a wrong setting or wrong input (one line says what
to change; nothing is overwritten), 130 interrupted."""


def help_text(
    name: str, schema: type, function: Callable[[Any], None], arguments: Arguments
) -> str:
    """What the command does, its groups and settings as chosen, examples and exit codes."""
    description, examples = description_and_examples(function)
    usage = f"Usage: {program(name)} [group=option ...] [key=value ...]"
    catalogue = open_catalogue(name, arguments.config_dir)
    config = catalogue.compose(arguments.overrides)
    explained = meanings(catalogue, schema, arguments.overrides)
    sections = [
        description,
        usage,
        indented("Examples:", examples.split("\n")),
        indented("Groups (group=option; * is in use):", groups(catalogue, config)),
        indented("Settings (key=value):", lines_of_settings(config, explained)),
        CLOSING,
    ]
    return "\n\n".join(section for section in sections if section)


def indented(title: str, lines: Iterator[str] | list[str]) -> str:
    """A section of the help; nothing if it has no lines."""
    body = "\n".join(f"  {line}" for line in lines if line)
    return f"{title}\n{body}" if body else ""


def groups(catalogue: Catalogue, config: DictConfig) -> Iterator[str]:
    """Each group that the command uses, where it is used, and its options."""
    places: dict[str, list[str]] = {}
    for key in choices(config):
        places.setdefault(key.partition("@")[0], []).append(key)
    for group, keys in places.items():
        if group not in catalogue.groups:
            continue
        everywhere = [group] if len(keys) > 1 and all("@model." in key for key in keys) else []
        yield ", ".join(everywhere + keys)
        used = {choices(config)[key] for key in keys}
        for option in catalogue.groups[group]:
            mark = "* " if option in used else "  "
            yield entry(mark + option, headline(catalogue.file(f"{group}/{option}")))


def lines_of_settings(config: DictConfig, explained: dict[str, str]) -> Iterator[str]:
    """Each setting with its value and meaning."""
    for key, value in settings(config).items():
        if not key.endswith("_target_"):
            yield entry(f"{key}={written(value)}", explained.get(key, ""))


def written(value: object) -> str:
    """A value as one would type it."""
    if value == "???":
        return "(must be given)"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def entry(name: str, meaning: str) -> str:
    """A name and its meaning in two columns, or in two lines if the name is long."""
    if not meaning:
        return name
    if len(name) < COLUMN - 2:
        return f"{name:{COLUMN - 2}}{meaning}"
    return f"{name}\n{'':{COLUMN}}{meaning}"
