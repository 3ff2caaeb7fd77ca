"""Hydra's launchers: which of our extras installs one, and whether it is there."""

from importlib.util import find_spec

from reluformer.errors import UserError

EXTRAS = {"joblib": "parallel", "submitit_local": "slurm", "submitit_slurm": "slurm"}


def check_launcher(name: str) -> None:
    """Raise UserError, with the command that helps, if this launcher is not installed."""
    if name in EXTRAS and not _is_installed(name.partition("_")[0]):
        raise UserError(
            f"`hydra/launcher={name}` needs a package that is not installed: "
            f"pip install 'reluformer[{EXTRAS[name]}]'"
        )


def _is_installed(kind: str) -> bool:
    try:
        return find_spec(f"hydra_plugins.hydra_{kind}_launcher") is not None
    except ModuleNotFoundError:  # there is no plugin of any kind
        return False
