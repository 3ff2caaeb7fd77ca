"""Output that gets its name when it is whole, and can be continued where it stopped."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reluformer.console import console
from reluformer.errors import UserError

Notes = dict[str, Any]  # what the writer wants to know of the part that is done, if it continues
Write = Callable[[str, int, Notes], None]  # text of whole lines, the number of inputs done by then


@contextmanager
def destination(output: Path | None, identity: str | None) -> Iterator[tuple[Write, int, Notes]]:
    """Where translations go: standard output, or a `PartialFile`; what is done, and its notes."""
    if output is None:
        yield _write_stdout, 0, {}
        return
    partial = PartialFile(output, identity)
    with partial.locked():
        done, notes = partial.open()
        try:
            yield partial.write, done, notes
        except BaseException:
            partial.leave()
            raise
        partial.publish()


def _write_stdout(text: str, done: int, notes: Notes) -> None:
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


class PartialFile:
    """<output>.partial, and beside it <output>.partial.json: how much of it is certain, and whose.

    `identity` tells the work from any other; None means that it can never be continued.
    """

    def __init__(self, output: Path, identity: str | None) -> None:
        if output.is_dir():
            raise UserError(f"`output` {output} is a folder: name a file")
        output.parent.mkdir(parents=True, exist_ok=True)
        self.output = output
        self.identity = identity
        self.path = output.with_name(output.name + ".partial")
        self.state_path = output.with_name(output.name + ".partial.json")
        self.lock_path = output.with_name(output.name + ".partial.lock")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second command from writing to the same output."""
        lock = FileLock(self.lock_path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self.output} is being written by another command") from None
        try:
            yield
        finally:
            with suppress(OSError):  # a system may refuse to delete what is open
                self.lock_path.unlink()
            lock.release()

    def open(self) -> tuple[int, Notes]:
        """Open for writing, behind what is certain: the number of inputs done, and the notes."""
        state = self._read_state()
        self._digest = hashlib.sha256()
        if state:
            with self.path.open("rb") as file:
                self._digest.update(file.read(state["bytes"]))
            if self._digest.hexdigest() != state.get("sha256"):
                raise UserError(
                    f"{self.path} is not as it was written, so that nothing can go on behind it: "
                    f"delete it and {self.state_path.name} to begin anew"
                )
        self._file = self.path.open("r+b" if state else "wb")
        self._file.truncate(state.get("bytes", 0))
        self._file.seek(0, os.SEEK_END)
        return int(state.get("done", 0)), dict(state.get("notes", {}))

    def _read_state(self) -> dict[str, Any]:
        if not (self.state_path.exists() and self.path.exists()):
            return {}
        try:
            state = json.loads(self.state_path.read_text(encoding="utf-8"))
            ours = state["identity"] == self.identity
            ours = ours and self.path.stat().st_size >= state["bytes"]
        except (ValueError, KeyError, TypeError):
            ours = False
        if not ours:
            raise UserError(
                f"{self.path} belongs to another command (other input, model or settings) that "
                "was stopped: run that one again to finish it, or delete the file"
            )
        return dict(state)

    def write(self, text: str, done: int, notes: Notes) -> None:
        """Append, and note that so many inputs are done once that is on the disk."""
        try:
            self._file.write(text.encode())
            self._digest.update(text.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None
        if self.identity is not None:
            state = {"identity": self.identity, "done": done, "bytes": self._file.tell()}
            state |= {"sha256": self._digest.hexdigest(), "notes": notes}
            new = self.state_path.with_name(self.state_path.name + ".new")
            new.write_text(json.dumps(state), encoding="utf-8")
            new.replace(self.state_path)

    def leave(self) -> None:
        """Stop before the end: keep what is certain and say so, or leave nothing behind."""
        self._file.close()
        if self.path.stat().st_size == 0:
            self.path.unlink()
        elif self.identity is not None:
            said = f"{self.path} has what is done; the same command goes on from there"
            console.print(said, markup=False)

    def publish(self) -> None:
        """Give the finished file its name."""
        self._file.close()
        self.path.replace(self.output)
        self.state_path.unlink(missing_ok=True)
