"""The training command in processes that die, or get a signal, at a chosen moment.

Processes are forked from one that has imported everything, so that a start takes no seconds.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # which torch imports late, and which takes seconds
from safetensors import safe_open

from reluformer import durable
from reluformer.cli.train import main
from reluformer.data.corpus import Corpus
from reluformer.training import checkpoint, loop, metrics
from reluformer.training.validation import Validation

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["killing"])

# What is called at each kind of moment, and where it is looked up.
CALLS = {
    "step": [(loop, "run_update")],
    "validation": [(Validation, "_batches")],
    "save": [
        (checkpoint, "save_file"),
        (checkpoint, "make_durable"),
        (checkpoint, "put_in_place"),
    ],
    "half": [(checkpoint, "save_file")],  # when half of the file is there
    "opening": [(Corpus, "open")],
}


@dataclass(frozen=True)
class Moment:
    """Before the `call`-th call of a kind (from 1), or after so many seconds where it has none.

    `unchecked` does not strike: the disk's space is not looked at before a write.
    """

    kind: str
    call: int
    seconds: float = 0.0
    number: int = signal.SIGKILL


def start(
    folder: Path,
    arguments: list[str],
    moment: Moment | None = None,
    environment: dict[str, str] | None = None,
) -> Any:
    """reluformer-train in `folder`, a process that is running; train-<pid>.log has what it says."""
    given = (str(folder), arguments, moment, environment or {})
    process = FORKS.Process(target=train, args=given, daemon=True)
    with pytest.MonkeyPatch.context() as here:  # the first start begins the server, which imports
        here.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        process.start()
    return process


def run(folder: Path, arguments: list[str], moment: Moment | None = None) -> int:
    """The same to its end; minus the signal's number where one has ended it."""
    process = start(folder, arguments, moment)
    process.join(300)
    assert process.exitcode is not None, "it hangs"
    return int(process.exitcode)


def said(folder: Path) -> str:
    """What all its processes said, the newest last."""
    logs = sorted(folder.glob("train-*.log"), key=lambda path: path.stat().st_mtime_ns)
    return "".join(path.read_text(encoding="utf-8") for path in logs)


def flat(text: str) -> str:
    return " ".join(text.split())


def train(
    folder: str, arguments: list[str], moment: Moment | None, environment: dict[str, str]
) -> None:
    """What the process does."""
    os.environ.update(environment)
    os.chdir(folder)
    said = os.open(f"train-{os.getpid()}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(said, 2)
    torch.set_num_threads(1)
    sys.argv = ["reluformer-train", *arguments]
    if moment is not None:
        arm(moment)
    main()


def arm(moment: Moment) -> None:
    def strike() -> None:
        os.kill(os.getpid(), moment.number)

    if moment.kind == "unchecked":
        for module in (checkpoint, durable, metrics):
            module.require_space = lambda folder, needed: None  # type: ignore[attr-defined]
        return
    if not moment.call:
        timer = threading.Timer(moment.seconds, strike)
        timer.daemon = True
        timer.start()
        return
    calls = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == moment.call:
                if moment.kind == "half":
                    call(*arguments, **options)
                    os.truncate(arguments[1], Path(arguments[1]).stat().st_size // 2)
                strike()
            return call(*arguments, **options)

        return counting

    for where, name in CALLS[moment.kind]:
        setattr(where, name, counted(getattr(where, name)))


def state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in sorted(file.keys())}, file.metadata()


if __name__ == "__main__":  # by torchrun: process 1 dies before this update, where it is the first
    if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        arm(Moment("step", int(os.environ["DIES_BEFORE"])))
    main()
