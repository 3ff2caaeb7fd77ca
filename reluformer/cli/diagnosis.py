"""One line for every way in which a command line or a configuration can be wrong."""

import re
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from reluformer.cli.arguments import Arguments
from reluformer.cli.catalogue import Catalogue, choices, open_catalogue, parse, settings
from reluformer.cli.examples import example_of, program
from reluformer.config.names import nearest

KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def explain(
    error: Exception, name: str, function: Callable[[Any], None], arguments: Arguments
) -> str:
    """The error of Hydra or OmegaConf in one line, with the nearest names to what was misspelt."""
    if isinstance(error, OverrideParseException):
        return f"`{error.override}` cannot be read: quote the value, as in key='value'"
    if isinstance(error, MissingMandatoryValue):
        return missing(str(error.full_key), function)
    if isinstance(error, OmegaConfBaseException):
        return explain_value(error)
    with open_catalogue(name, arguments.config_dir) as catalogue:
        return (
            explain_overrides(catalogue, arguments)
            or explain_choice(catalogue, arguments, function)
            or one_line(error)
        )


def explain_overrides(catalogue: Catalogue, arguments: Arguments) -> str | None:
    """What is wrong with the first override, groups before values, that cannot be applied."""
    accepted: list[str] = []
    config = catalogue.compose(accepted)
    for override in sorted(arguments.overrides, key=lambda one: not is_group(catalogue, one)):
        parsed = parse(override)
        if parsed.is_sweep_override() and not arguments.multirun:
            return (
                f"`{override}` gives several values: add -m to run once for each, write"
                " key=[a,b] for a list, or quote the value to take it as it is"
            )
        values = parsed.sweep_string_iterator() if parsed.is_sweep_override() else [None]
        key = parsed.get_key_element()
        for value in values:
            single = override if value is None else f"{key}={value}"
            try:
                composed = catalogue.compose([*accepted, single])
            except HydraException as error:
                return explain_override(catalogue, config, single, error)
        accepted.append(single)
        config = composed
    return None


def is_group(catalogue: Catalogue, override: str) -> bool:
    return parse(override).key_or_group in catalogue.groups


def explain_override(
    catalogue: Catalogue, config: DictConfig, override: str, error: HydraException
) -> str:
    """Why this override does not fit onto this configuration."""
    parsed = parse(override)
    key = parsed.get_key_element().lstrip("+~")
    chosen, known = choices(config), settings(config)
    group, option = parsed.key_or_group, parsed.value()
    command = program(catalogue.name)
    if group in catalogue.groups:
        if key in chosen and option not in catalogue.groups[group]:
            return unknown_option(group, str(option), catalogue.groups[group])
        if key not in chosen:
            return f"{command} has no group `{key}`{nearest_key(key, list(chosen))}"
    elif not any(one == key or one.startswith(f"{key}.") for one in known):
        return f"{command} has no setting `{key}`{nearest_key(key, [*chosen, *known])}"
    cause = error.__cause__
    return explain_value(cause) if isinstance(cause, OmegaConfBaseException) else one_line(error)


def explain_choice(
    catalogue: Catalogue, arguments: Arguments, function: Callable[[Any], None]
) -> str | None:
    """A group in which something must be chosen and was not."""
    for key, option in choices(catalogue.compose(arguments.overrides)).items():
        if option == "???":
            options = ", ".join(catalogue.groups.get(key.partition("@")[0], []))
            return f"{missing(key, function)}; one of {options}"
    return None


def unknown_option(group: str, option: str, options: list[str]) -> str:
    """A misspelt option: the nearest ones, or all."""
    hint = nearest(option, options) or f"; it has {', '.join(options)}"
    return f"group `{group}` has no option `{option}`{hint}"


def nearest_key(key: str, known: list[str]) -> str:
    """The known keys of the same last part at another place, or else those spelt most alike."""
    last = re.split(r"[.@]", key)[-1]
    same = [one for one in known if key in re.split(r"[.@]", one) or one.endswith(f".{last}")]
    if same:
        return f"; did you mean {' or '.join(same[:3])}?"
    return nearest(key, known) or " (--help lists them)"


def missing(key: str, function: Callable[[Any], None]) -> str:
    """A setting without a default that was not given."""
    return f"`{key}` must be given, for example {example_of(key, function)}"


def explain_value(error: OmegaConfBaseException) -> str:
    """A value of the wrong type, or a reference to a setting that is not there."""
    first = str(error).partition("\n")[0]
    match = re.fullmatch(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", first)
    if match:
        first = f"must be {KINDS.get(match[2], match[2])}, but is {match[1]!r}"
    elif "is not a ListConfig" in first:
        first = "must be a list: [a,b]"
    elif first.endswith("is not Optional"):
        first = "must have a value, but is null"
    return f"`{error.full_key}` {first}" if error.full_key else first


def one_line(error: Exception) -> str:
    """The whole of a message whose kind is not known, in one line."""
    return " ".join(f"{error} {error.__cause__ or ''}".split())
