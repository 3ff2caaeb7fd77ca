"""The text of `--help`."""

from collections.abc import Callable
from typing import Any


def help_text(
    name: str, schema: type, function: Callable[[Any], None], overrides: list[str]
) -> str:
    """What the command does, its groups and settings, examples and exit codes."""
    return function.__doc__ or name
