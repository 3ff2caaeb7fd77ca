"""The commands; each module's `main` is one."""

import sys
from types import TracebackType


def _end_quietly(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Say nothing of Ctrl-C: most of a command's first seconds are imports, which it may hit."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _end_quietly
