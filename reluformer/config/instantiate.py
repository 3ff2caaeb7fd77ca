"""Objects from `_target_` nodes, and configuration files that may not be trusted.

A configuration can name classes to build, and so could run anything. Here it can only name classes
of this package, or of modules that the person at the command line has allowed, and only of the
expected kind (a layer, by default); a file read from a run folder is plain data, in which nothing
is interpolated.
"""

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from torch import nn

from reluformer.config.names import nearest
from reluformer.errors import UserError

PACKAGE = "reluformer"
# Of a stored configuration, which has 4 KB in 5 levels.
LARGEST_BYTES = 64 << 10
DEEPEST = 20
FORBIDDEN = re.compile("\\$\\{|[\0\ud800-\udfff]")  # however they are spelt: "\\x24{"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where PyYAML was built with it
TARGET = "_target_"
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


def instantiate(
    node: Any, *, allow: tuple[str, ...] = (), base: type = nn.Module, **kwargs: Any
) -> Any:
    """The object that a node describes: `_target_` is its class, the other keys its parameters.

    `kwargs` are parameters that the program sets, not the configuration. `allow` names modules
    (with all they contain) outside this package whose classes may be built too. Nodes within the
    node that have a `_target_` become objects first. Every class must be a subclass of `base`.
    """
    if not isinstance(node, Mapping) or not isinstance(node.get(TARGET), str):
        raise UserError(f"a setting with a `{TARGET}` (the class to build) is needed, not {node!r}")
    name = node[TARGET]
    settings = {str(key): value for key, value in node.items() if key != TARGET}
    cls = find_class(name, allow, base)
    check_parameters(cls, settings, kwargs)
    values = {key: _nested(value, allow, base) for key, value in settings.items()}
    try:
        return cls(**values, **kwargs)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error


def _nested(value: Any, allow: tuple[str, ...], base: type) -> Any:
    if isinstance(value, Mapping):
        if TARGET in value:
            return instantiate(value, allow=allow, base=base)
        return {key: _nested(item, allow, base) for key, item in value.items()}
    if isinstance(value, list):
        return [_nested(item, allow, base) for item in value]
    return value


def find_class(name: str, allow: tuple[str, ...], base: type) -> type:
    """The class of this dotted name, if it is one that may be built.

    The class must also have been defined in an allowed module: a module's imports are not its own.
    """
    module_name, _, class_name = name.rpartition(".")
    if not _is_allowed(module_name, allow):
        allowed = ", ".join((PACKAGE, *allow))
        raise UserError(
            f"`{TARGET}` may only name classes of {allowed}, but is {name!r}; if you trust that"
            " module, allow it by name on the command line"
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and fails to import something else
        raise UserError(f"`{TARGET}` {name!r}: there is no module {error.name!r}") from error
    classes = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and _is_allowed(value.__module__, allow)
    }
    if class_name not in classes:
        raise UserError(
            f"`{TARGET}` {name!r}: {module_name} has no {base.__name__} of that name"
            f"{nearest(class_name, classes)}"
        )
    return classes[class_name]


def _is_allowed(module_name: str, allow: tuple[str, ...]) -> bool:
    return any(f"{module_name}.".startswith(f"{prefix}.") for prefix in (PACKAGE, *allow))


def check_parameters(cls: type, settings: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
    """Raise UserError unless the settings are those that the class needs beside `kwargs`."""
    parameters = list(inspect.signature(cls).parameters.values())
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    valid = [p.name for p in named if p.name not in kwargs]
    listed = ", ".join(valid) or "none"
    for key in settings:
        if key in kwargs:
            raise UserError(f"`{key}` of {cls.__name__} is set by the model, not at this place")
        if key not in valid and not open_ended:
            known = f"{nearest(key, valid)} (its settings: {listed})"
            raise UserError(f"{cls.__name__} has no setting `{key}`{known}")
    check_types(cls, settings)
    for parameter in named:
        given = parameter.name in settings or parameter.name in kwargs
        if not given and parameter.default is parameter.empty:
            raise UserError(
                f"{cls.__name__} needs the setting `{parameter.name}` (its settings: {listed})"
            )
    unused = [key for key in kwargs if key not in {p.name for p in named}]
    if unused and not open_ended:
        raise UserError(f"{cls.__name__} must accept the parameter `{unused[0]}`, but does not")


def check_types(cls: type, settings: Mapping[str, Any]) -> None:
    """Raise UserError for a value that is not of the plain type that the class declares for it.

    Otherwise a word for "no", such as off, would be as good as yes.
    """
    try:
        parameters = inspect.signature(cls, eval_str=True).parameters
    except NameError:  # names that are known to type checkers only
        return
    for key, value in settings.items():
        declared = parameters[key].annotation if key in parameters else None
        kinds = get_args(declared) or (declared,)
        wanted = [name for kind, name in KINDS.items() if kind in kinds]
        if not wanted or (value is None and type(None) in kinds):
            continue
        if float in kinds and isinstance(value, int) and not isinstance(value, bool):
            continue
        if type(value) not in kinds:
            rule = f"must be {' or '.join(wanted)}, but is {value!r}"
            raise UserError(f"`{key}` of {cls.__name__} {rule}")


def load_plain(path: Path) -> dict[str, Any]:
    """A configuration file as plain data: no objects, and no `${...}`, which could run code."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise UserError(
                f"{path} is too large for a configuration: over {LARGEST_BYTES:,} bytes"
            )
        text = content.decode("utf-8")
        _refuse_expansion(path, text)
        data = LOADER(text).get_single_data()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (yaml.YAMLError, ValueError) as error:  # also numbers and dates that Python has not
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if "${" in text:
        line = text[: text.index("${")].count("\n") + 1
        raise UserError(f"{path}, line {line}: `${{` is not allowed in a stored configuration")
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold settings (key: value), but holds {type(data).__name__}")
    for word in _words(data):
        if FORBIDDEN.search(word):
            raise UserError(f"{path}: {word!r:.60} is not allowed in a stored configuration")
    return data


def _refuse_expansion(path: Path, text: str) -> None:
    """Raise UserError for a text that would become far more than it is, or nested without end."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise UserError(f"{path}, line {line}: aliases (`*`) are not allowed; write values out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UserError(f"{path}, line {line}: settings within settings, over {DEEPEST} levels")


def _words(value: Any) -> Iterator[str]:
    """All keys and values that are text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _words(key)
            yield from _words(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _words(item)
