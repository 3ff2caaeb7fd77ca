"""Whatever call of the checkpoint writer fails, a whole newest and a whole best state remain."""

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from checks import Trials
from small_models import make_model

from reluformer.errors import UserError
from reluformer.training import checkpoint
from reluformer.training.checkpoint import (
    DamagedCheckpointError,
    Progress,
    checkpoint_path,
    load_training_state,
    load_weights,
    save_checkpoint,
    save_last,
)

pytestmark = pytest.mark.unchecked

CALLS = [
    (io, "open"),
    (os, "open"),
    (os, "fsync"),
    (os, "unlink"),
    (os, "replace"),
    (checkpoint, "save_file"),
]


class Faults:
    """Counts the calls of the file system; the one at `place` fails with `code`."""

    def __init__(self, place: int | None, code: int) -> None:
        self.place, self.code = place, code
        self.calls = 0

    def around(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def failing(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls != self.place:
                return call(*arguments, **options)
            if name == "save_file":  # as on a full disk: half of it is there
                call(*arguments, **options)
                os.truncate(arguments[1], 100)
            raise OSError(self.code, os.strerror(self.code))

        return failing


@contextmanager
def failing(place: int | None, code: int) -> Iterator[Faults]:
    faults = Faults(place, code)
    with pytest.MonkeyPatch.context() as patch:
        for module, name in CALLS:
            patch.setattr(module, name, faults.around(getattr(module, name), name))
        yield faults


class Run:
    """A model whose weights are all its update's number, so that a state says when it was saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = make_model(encoder_layers=1, decoder_layers=1)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), fused=True)
        sum(parameter.sum() for parameter in self.model.parameters()).backward()
        self.optimiser.step()

    def save(self, update: int) -> None:
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.fill_(update)
        progress = Progress(update=update)
        save_checkpoint(checkpoint_path(self.folder, "best"), self.model, progress)
        save_last(self.folder, self.model, progress, self.optimiser)

    def newest(self) -> int:
        """The update of the newest whole state, as resuming finds it."""
        for name in ("last", "previous"):
            path = checkpoint_path(self.folder, name)
            with suppress(DamagedCheckpointError):
                if path.exists():
                    progress = load_training_state(path, self.model, self.optimiser)
                    return self.checked(progress)
        raise AssertionError("no state is left")

    def best(self) -> int:
        return self.checked(load_weights(checkpoint_path(self.folder, "best"), self.model))

    def checked(self, progress: Progress) -> int:
        assert all((p == progress.update).all() for p in self.model.parameters())
        return progress.update


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.check("A5")
def test_every_failing_call_leaves_whole_states(tmp_path: Path, code: int, trials: Trials) -> None:
    """The next save succeeds, and leaves no temporary file."""
    run = Run(tmp_path)
    run.save(1)
    with failing(None, code) as faults:
        run.save(2)
    calls = trials(faults.calls, faults.calls)
    assert calls > 10
    refused = []
    for place in range(1, calls + 1):
        before, update = 2 * place, 2 * place + 1
        run.save(before)
        with failing(place, code):
            try:
                run.save(update)
            except UserError as error:
                refused.append(str(error))
        assert run.newest() in (before, update)
        assert run.best() in (before, update)
        run.save(update)
        assert (run.newest(), run.best()) == (update, update)
        assert not list(tmp_path.rglob("*.tmp"))
    assert len(refused) == calls
    assert all(os.strerror(code) in message for message in refused)


def test_the_previous_state_is_the_one_before(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for update in (1, 2, 3):
        run.save(update)
    checkpoint_path(tmp_path, "last").unlink()
    assert run.newest() == 2
