"""Where the configuration files are."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def config_dir() -> Path:
    """The folder conf/: inside the package in a wheel, beside it in a checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"
