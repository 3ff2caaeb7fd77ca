"""Commands run in this process."""

from commands import run

__all__ = ["run"]
