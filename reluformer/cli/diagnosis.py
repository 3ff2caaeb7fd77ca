"""One line for every way in which a command line or a configuration can be wrong."""

import re
from collections.abc import Callable
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigTypeError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from reluformer.cli.arguments import Arguments
from reluformer.cli.catalogue import Catalogue, choices, open_catalogue, parse, settings
from reluformer.cli.examples import example_of, program
from reluformer.cli.launchers import check_launcher
from reluformer.config.names import nearest

# OmegaConf's messages, and what it wanted.
WRONG_TYPES = {
    r"Value '(.*)' of type '\w+' could not be converted to Integer": "a whole number",
    r"Value '(.*)' of type '\w+' could not be converted to Float": "a number",
    r"Value '(.*)' is not a valid bool \(type \w+\)": "true or false",
}


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
    if isinstance(error.__cause__, ValidationError | ConfigTypeError):
        return explain_value(error.__cause__)
    try:
        return explain_overrides(name, function, arguments) or one_line(error)
    except HydraException:  # a file does not fit, whatever was chosen
        return one_line(error)


def explain_overrides(
    name: str, function: Callable[[Any], None], arguments: Arguments
) -> str | None:
    """What is wrong with the first override that cannot be applied, if it is one of those."""
    catalogue = open_catalogue(name, arguments.config_dir)
    parsed = [parse(override) for override in arguments.overrides]
    for override in parsed:
        if override.key_or_group == "hydra/launcher":
            check_launcher(str(override.value()))
    overrides = [one for one in parsed if not one.key_or_group.startswith(("hydra.", "hydra/"))]
    groups = [override for override in overrides if override.key_or_group in catalogue.groups]
    values = [override for override in overrides if override not in groups]
    return (
        (None if arguments.multirun else explain_sweep(overrides))
        or explain_option(catalogue, groups)
        or explain_misfit(catalogue, groups)
        or explain_key(catalogue, groups, values)
        or explain_choice(catalogue, groups, function)
    )


def explain_sweep(overrides: list[Override]) -> str | None:
    """Several values for one run."""
    for override in overrides:
        if override.is_sweep_override():
            return (
                f"`{override.input_line}` gives several values: add -m to run once for each, write"
                " key=[a,b] for a list, or quote the value to take it as it is"
            )
    return None


def explain_option(catalogue: Catalogue, groups: list[Override]) -> str | None:
    """A misspelt option of a group: the nearest ones, or all."""
    for override in groups:
        group = override.key_or_group
        options = catalogue.groups[group]
        for option in options_of(override):
            if option is not None and option not in options:
                hint = nearest(option, options) or f"; it has {', '.join(options)}"
                return f"group `{group}` has no option `{option}`{hint}"
    return None


def options_of(override: Override) -> list[str | None]:
    """The options that one override names; several in a sweep."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    return [None if value is None else str(value)]


def explain_misfit(catalogue: Catalogue, groups: list[Override]) -> str | None:
    """An option whose file sets what this command does not have, as another command's would."""
    chosen = choices(catalogue.compose([]))
    for override in (one for one in groups if key_of(one) in chosen):
        try:
            compose_chosen(catalogue, [override])
        except HydraException as error:
            reason = f"{error}".partition("composing config:\n")[2].partition("\n")[0] or error
            return f"`{override.input_line}` does not fit {program(catalogue.name)}: {reason}"
    return None


def explain_key(catalogue: Catalogue, groups: list[Override], values: list[Override]) -> str | None:
    """A misspelt key, of a setting or of the place where a group is used."""
    command = program(catalogue.name)
    chosen = choices(catalogue.compose([]))
    for key in map(key_of, groups):
        if key not in chosen:
            return f"{command} has no group `{key}`{nearest_key(key, list(chosen))}"
    known = settings(compose_chosen(catalogue, groups))
    for override in values:
        key = key_of(override)
        mapping, _, inner = key.partition(".")
        if mapping == "grid" and "." in inner:  # to Hydra a path, to us the name of a setting
            given = str(override.input_line).partition("=")[2]
            return f"`{key}`: write '++grid={{{inner}: {given}}}'"
        if known.get(key) in ({}, "???") and isinstance(override.value(), dict):
            given = str(override.input_line).partition("=")[2]
            return f"`{key}`: write '++{key}={given}'"
        if known.get(key.rpartition(".")[0]) == {}:
            return f"{command} has no setting `{key}` yet: add it as +{key}=..."
        if not any(one == key or one.startswith(f"{key}.") for one in known):
            return f"{command} has no setting `{key}`{nearest_key(key, [*chosen, *known])}"
    return None


def explain_choice(
    catalogue: Catalogue, groups: list[Override], function: Callable[[Any], None]
) -> str | None:
    """A group in which something must be chosen and was not."""
    for key, option in choices(compose_chosen(catalogue, groups)).items():
        if option == "???":
            options = ", ".join(catalogue.groups.get(key.partition("@")[0], []))
            return f"{missing(key, function)}; one of {options}"
    return None


def compose_chosen(catalogue: Catalogue, groups: list[Override]) -> DictConfig:
    """The configuration with these groups; of a sweep, the first option."""
    return catalogue.compose(
        [f"{key_of(group)}={options_of(group)[0] or 'null'}" for group in groups]
    )


def key_of(override: Override) -> str:
    """The key with its package but without a sign: attention@model.cross_attention."""
    return override.get_key_element().lstrip("+~")


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
    for pattern, kind in WRONG_TYPES.items():
        if match := re.fullmatch(pattern, first):
            first = f"must be {kind}, but is {match[1]!r}"
            break
    if "is not a ListConfig" in first:
        first = "must be a list: [a,b]"
    elif re.match(r"Cannot (assign \w+ to Dict|merge DictConfig with)", first):
        key = error.full_key or "key"
        first = f'must name its parts, and text in quotes: \'++{key}={{a: "...", b: "..."}}\''
    elif match := re.fullmatch(r"Interpolation key '(.*)' not found", first):
        first = f"refers to `{match[1]}`, which is no setting, or was taken out"
    elif first.endswith("is not Optional"):
        first = "must have a value, but is null"
    return f"`{error.full_key}` {first}" if error.full_key else first


def one_line(error: Exception) -> str:
    """The whole of a message whose kind is not known, in one line."""
    return " ".join(f"{error} {error.__cause__ or ''}".split())
