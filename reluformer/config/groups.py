"""The options of one configuration group by name, for commands that run over many of them."""

from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf

from reluformer.config.names import nearest
from reluformer.config.paths import config_dir
from reluformer.errors import UserError


def group_options(group: str) -> list[str]:
    """The yaml files of a group, in conf/ and in the folder that --config-dir names."""
    if not GlobalHydra.instance().is_initialized():
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return group_options(group)
    loader = GlobalHydra.instance().config_loader()
    return sorted(loader.get_group_options(group, results_filter=ObjectType.CONFIG))


def group_node(group: str, name: str) -> dict[str, Any]:
    """What one option of a group sets, with everything that it includes.

    Raises UserError where there is no option of that name.
    """
    if not GlobalHydra.instance().is_initialized():
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return group_node(group, name)
    options = group_options(group)
    if name not in options:
        raise UserError(
            f"there is no {group} {name!r}{nearest(name, options)} ({group} has: "
            f"{', '.join(options)})"
        )
    config = compose(overrides=[f"+{group}={name}"])
    node = OmegaConf.to_container(config[group], resolve=True)
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items()}
