"""What can be set: the groups with their options, and the settings that a choice of them gives."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from reluformer.config.paths import config_dir


@dataclass(frozen=True)
class Catalogue:
    """One command's configuration files as Hydra's loader sees them."""

    loader: ConfigLoaderImpl
    name: str
    folders: tuple[Path, ...]  # our own, and that of --config-dir, if it was given

    def file(self, name: str) -> Path | None:
        """The yaml file of this name, such as attention/relu; None if there is none."""
        paths = (folder / f"{name}.yaml" for folder in self.folders)
        return next((path for path in paths if path.is_file()), None)

    def compose(self, overrides: list[str]) -> DictConfig:
        """The configuration, where groups and values that must be given may still be missing."""
        with hydra_refusals():
            return self.loader.load_configuration(
                config_name=self.name,
                overrides=["hydra.job.name=any", *overrides],
                run_mode=RunMode.MULTIRUN,
                validate_sweep_overrides=False,
            )

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """All groups but Hydra's own, with their options."""
        names = [name for name in self.loader.list_groups("") if name != "hydra"]
        return {name: self._options(name) for name in names}

    def _options(self, group: str) -> list[str]:
        """`embedded/reluformer` is the option of group `experiment` in experiment/embedded/."""
        options = self.loader.repository.get_group_options(group, results_filter=ObjectType.CONFIG)
        for folder in self.loader.repository.get_group_options(
            group, results_filter=ObjectType.GROUP
        ):
            options += [f"{folder}/{option}" for option in self._options(f"{group}/{folder}")]
        return sorted(option for option in options if not option.endswith("_schema"))


def open_catalogue(name: str, added_folder: str | None = None) -> Catalogue:
    """The catalogue of a command; `added_folder` is what --config-dir names."""
    version.setbase("1.3")
    folders = [config_dir()]
    search_path = create_config_search_path(str(config_dir()))
    if added_folder is not None:
        folders.append(Path(added_folder).resolve())
        before_schema = SearchPathQuery(provider="schema")
        search_path.prepend("command-line", f"file://{folders[1]}", before_schema)
    return Catalogue(ConfigLoaderImpl(search_path), name, tuple(folders))


def choices(config: DictConfig) -> dict[str, str | None]:
    """The option chosen in each group: `attention@model.cross_attention` -> `relu`."""
    chosen = OmegaConf.to_container(config.hydra.runtime.choices)
    assert isinstance(chosen, Mapping)
    keys = [str(key) for key in reversed(list(chosen))]  # now in the order of the defaults
    return {key: chosen[key] for key in keys if not key.startswith("hydra/")}


def settings(config: DictConfig) -> dict[str, object]:
    """Every setting by its full name, unresolved: `optim.lr` -> 0.0005."""
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, Mapping)
    return {key: value for key, value in _flatten(tree, "") if not key.startswith("hydra.")}


def _flatten(node: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def parse(override: str) -> Override:
    with hydra_refusals():
        return OverridesParser.create().parse_override(override)


@contextmanager
def hydra_refusals() -> Iterator[None]:
    """What Hydra says of odd overrides by errors of Python's own, such as a group's number."""
    try:
        yield
    except (ValueError, AssertionError, OSError) as error:
        raise HydraException(str(error) or "a setting without a name") from error
