"""The commands; each module's `main` is one."""

import sys
from pathlib import Path
from types import TracebackType

try:
    Path.cwd()
except FileNotFoundError:  # libraries that are imported next say this less clearly
    sys.stderr.write("error: the current folder is gone: go to one that is there\n")
    sys.exit(2)


_previous = sys.excepthook


def _end_quietly(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Say nothing of Ctrl-C: most of a command's first seconds are imports, which it may hit."""
    if not issubclass(kind, KeyboardInterrupt):
        _previous(kind, error, traceback)


sys.excepthook = _end_quietly
