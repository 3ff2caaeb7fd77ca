"""What a command tells the person in front of it: messages and progress, on standard error.

Standard output is left to results (translations, scores), so that commands can be piped.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeVar, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")


class Forgiving:
    """A file, of which a write that fails is lost: on a full disk, or a terminal that is gone."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with ignored_failures():
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with ignored_failures():
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def ignored_failures() -> Iterator[None]:
    """Pass over what the system refuses; a closed pipe is told apart, for rich ends its output."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        pass


class StandardError(Console):
    """Goes on in silence when nobody reads it any more: messages are no reason to lose work."""

    @property  # type: ignore[misc]  # nobody sets it
    def file(self) -> IO[str]:
        return cast("IO[str]", Forgiving(super().file))

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


# Names of files may look like markup: whoever means it says so.
console = StandardError(stderr=True, highlight=False, soft_wrap=True, markup=False)


def progress_bar(transient: bool = True) -> Progress:
    """A bar with count, time spent and time left; silent when standard error is no terminal."""
    return Progress(
        TextColumn("{task.description}", style="bold", markup=False),  # it may name a file
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=transient,
        disable=not console.is_terminal,
    )


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Pass the items on unchanged while a progress bar counts them."""
    with progress_bar() as bar:
        yield from bar.track(items, description=description, total=total)
