"""What a run reports: metrics.jsonl, TensorBoard and a line for the person watching."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from reluformer.console import console
from reluformer.durable import require_space, write_whole
from reluformer.errors import UserError


class MetricsLog:
    """Appends to metrics.jsonl and tensorboard/; a resumed run first drops what it will repeat."""

    def __init__(self, run: Path, resume_at: int, validation_due: bool = False) -> None:
        self._path = run / "metrics.jsonl"
        drop_lines_after(self._path, resume_at, validation_due)
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=resume_at + 1)

    def write(self, kind: str, update: int, values: Mapping[str, float]) -> None:
        """One JSON line (null for NaN and infinity), and TensorBoard's <kind>/<name> by update.

        Raises UserError where that cannot be written.
        """
        require_space(self._path.parent, 0)
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        try:
            with self._path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps({"kind": kind, "update": update, **finite}) + "\n")
            for name, value in values.items():
                if math.isfinite(value):
                    self._board.add_scalar(f"{kind}/{name}", value, update)
        except OSError as error:
            raise UserError(
                f"{self._path} or tensorboard/ beside it could not be written ({error.strerror}); "
                "the same command continues from the newest checkpoint"
            ) from None

    def close(self) -> None:
        with suppress(OSError):  # it has been said where training ended for it
            self._board.close()


def drop_lines_after(path: Path, update: int, validation_due: bool = False) -> None:
    """Rewrite a metrics file without later updates and without a half-written last line.

    With `validation_due` the validation of `update` itself is later, too.
    """
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line)
            due = validation_due and entry["kind"] == "valid"
            if entry["update"] < update + (not due):
                kept.append(line + b"\n")
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    write_whole(path, b"".join(kept))


def read_metrics(run: Path, kind: str) -> list[dict[str, Any]]:
    """All lines of one kind, in order."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            entry = json.loads(line or b"{}")
            values = [entry[name] for name in entry if name != "kind"]
            if line and not (entry["kind"] and isinstance(entry["update"], int)):
                raise ValueError
            if not all(value is None or isinstance(value, int | float) for value in values):
                raise ValueError
        except (KeyError, TypeError, ValueError, RecursionError):
            raise UserError(
                f"{path}, line {number}, is damaged, or was not written by training: mend it"
            ) from None
        if entry.get("kind") == kind:
            found.append(entry)
    return found


def say(update: int, values: dict[str, float]) -> None:
    """One line for the person watching."""
    shown = "  ".join(f"{name} {_short(value)}" for name, value in values.items())
    console.print(f"[bold]{update:>7}[/bold]  {shown}", markup=True)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
