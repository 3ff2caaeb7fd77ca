"""A continued run equals the uninterrupted one, bit for bit; so do its logs."""

from pathlib import Path

import pytest
import torch
from trainings import make_training, metrics

from reluformer.data.batching import BatchStream
from reluformer.data.corpus import Corpus
from reluformer.data.stages import Stages
from reluformer.errors import TrainingFailedError, UserError
from reluformer.training.checkpoint import (
    checkpoint_path,
    load_weights,
    numbered_checkpoints,
    read_tensors,
)
from reluformer.training.loop import Training
from reluformer.training.metrics import MetricsLog, drop_lines_after

pytestmark = pytest.mark.unchecked


@pytest.mark.check("A2")
@pytest.mark.parametrize(
    "stops",
    [
        pytest.param((1,), marks=pytest.mark.slow),
        (4, 5, 7),
        pytest.param((11,), marks=pytest.mark.slow),
    ],
)
def test_stopping_and_continuing_changes_no_bit(
    stops: tuple[int, ...], tmp_path: Path, reversal: Corpus
) -> None:
    """At update 1, three times in an epoch around a save and a validation, and across its end."""
    straight = make_training(tmp_path / "straight", reversal, 12)
    straight.fit()
    assert straight.progress.stream["epoch"] > 0
    for stop in (*stops, 12):
        training = make_training(tmp_path / "stopped", reversal, stop)
        training.resume()
        # A stop is not an end: what runs at the end of training must not run at a stop.
        training.options.max_updates = 12
        while training.progress.update < stop:
            log = MetricsLog(training.run, training.progress.update)
            training._update(training.criterion, log)
            training._validate_and_save(log)
            log.close()
        training._save_last()
    for ours, theirs in zip(training.model.parameters(), straight.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        for key, value in straight.optimiser.state[theirs].items():
            torch.testing.assert_close(training.optimiser.state[ours][key], value, rtol=0, atol=0)
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "straight")


@pytest.mark.check("C2")
@pytest.mark.parametrize("stream", [{}, {"epoch": -1, "offset": 0}, {"epoch": 0, "offset": "3"}])
def test_a_position_that_is_none_is_refused(
    tmp_path: Path, reversal: Corpus, stream: dict[str, object]
) -> None:
    training = make_training(tmp_path, reversal, 1)
    training.fit()
    kept = {name: value for name, value in training.progress.stream.items() if name not in stream}
    training.progress.stream = {**kept, **stream} if stream else {}
    training._save_last()
    with pytest.raises(UserError, match=r"checkpoint_last.* none of this|was 0 and is"):
        make_training(tmp_path, reversal, 2).resume()


@pytest.mark.check("A2")
def test_continuing_at_the_end_of_an_epoch_changes_no_bit(tmp_path: Path, reversal: Corpus) -> None:
    first = make_training(tmp_path / "stopped", reversal, 1, update_freq=1)
    first.options.max_updates = first.stream.batches_in_epoch
    first.fit()
    for name in ("stopped", "straight"):
        training = make_training(tmp_path / name, reversal, 1, update_freq=1)
        training.options.max_updates = first.options.max_updates + 3
        assert training.resume() == (name == "stopped")
        training.fit()
        assert training.progress.stream["epoch"] == 1
    ours, theirs = (
        read_tensors(checkpoint_path(tmp_path / name, "last"))[0]
        for name in ("stopped", "straight")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_half_written_and_later_lines_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = ['{"kind": "train", "update": 1}', '{"kind": "train", "update": 3}', '{"kind": "tr']
    path.write_text("\n".join(lines), encoding="utf-8")
    drop_lines_after(path, 2)
    assert path.read_text(encoding="utf-8") == lines[0] + "\n"


def test_early_stopping_and_best_checkpoint(tmp_path: Path, reversal: Corpus) -> None:
    """A rate of 1 destroys the model: an early validation stays the best, patience runs out."""
    training = make_training(tmp_path, reversal, 40, patience=2, valid_interval=2)
    training.optim.learning_rate = 1.0
    assert training.fit() == "patience"
    valid = [entry for entry in metrics(tmp_path) if entry["kind"] == "valid"]
    best = min(valid, key=lambda entry: entry["loss"])
    assert training.progress.best_update == best["update"]
    assert valid[-1]["update"] == valid[valid.index(best) + 2]["update"]
    progress = load_weights(checkpoint_path(tmp_path, "best"), training.model)
    assert progress.update == best["update"]
    again = make_training(tmp_path, reversal, 40, patience=2, valid_interval=2)
    again.resume()
    assert again.fit() == "patience"  # finished: nothing is trained any more


def test_patience_begins_behind_the_first_stage(tmp_path: Path, reversal: Corpus) -> None:
    """Nothing gets better, but the first ten updates are of another stage than the rest."""
    training = make_training(tmp_path, reversal, 40, patience=2, valid_interval=2)
    streams = [BatchStream(reversal.split("train"), 256, seed=1) for _ in range(2)]
    staged = Training(
        tmp_path,
        training.criterion,
        Stages([(streams[0], 10 * training.micro_batches)], streams[1]),
        training.validation,
        training.processes,
        training.options,
        training.optim,
        training.loss,
        seed=1,
        stop=training.stop,
    )
    staged.optim.learning_rate = 1.0
    assert staged.fit() == "patience"
    best = staged.progress.best_update
    assert best > 10
    assert staged.progress.update == best + 4


def test_a_run_that_diverges_ends_with_advice(tmp_path: Path, reversal: Corpus) -> None:
    training = make_training(tmp_path, reversal, 40)
    with torch.no_grad():
        training.model.encoder_layers[0].ffn.keys.weight.fill_(torch.nan)
    with pytest.raises(TrainingFailedError, match=r"not finite for 5 updates in a row.*lower"):
        training.fit()


@pytest.mark.check("A11")
def test_other_data_or_batches_are_not_continued(tmp_path: Path, reversal: Corpus) -> None:
    training = make_training(tmp_path, reversal, 1)
    training.fit()
    with pytest.raises(UserError, match="`max_tokens` was 256 and is 128"):
        make_training(tmp_path, reversal, 2, max_tokens=128).resume()


def test_a_finished_run_goes_on_to_a_later_end(tmp_path: Path, reversal: Corpus) -> None:
    """max_updates counts all updates: raising it trains the rest, as if never finished."""
    for end in (4, 9, 12):
        training = make_training(tmp_path / "grown", reversal, end, valid_interval=4)
        training.resume()
        assert training.fit() == "max_updates"
        assert training.progress.update == end
    straight = make_training(tmp_path / "straight", reversal, 12, valid_interval=4)
    straight.fit()
    for ours, theirs in zip(training.model.parameters(), straight.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_numbered_checkpoints_come_at_their_interval_and_old_ones_go(
    tmp_path: Path, reversal: Corpus
) -> None:
    make_training(tmp_path, reversal, 11, save_interval=3, keep_checkpoints=2).fit()
    names = [path.name for path in numbered_checkpoints(tmp_path)]
    assert names == ["checkpoint_6.safetensors", "checkpoint_9.safetensors"]


def test_more_patience_trains_on(tmp_path: Path, reversal: Corpus) -> None:
    training = make_training(tmp_path, reversal, 40, patience=1, valid_interval=2)
    training.optim.learning_rate = 1.0
    assert training.fit() == "patience"
    ended = training.progress.update
    again = make_training(tmp_path, reversal, ended + 2, patience=9, valid_interval=2)
    again.resume()
    assert again.fit() == "max_updates"
    assert again.progress.update == ended + 2


def test_a_lost_last_checkpoint_is_not_overwritten_by_a_new_start(
    tmp_path: Path, reversal: Corpus
) -> None:
    make_training(tmp_path, reversal, 5).fit()
    for name in ("last", "previous"):
        checkpoint_path(tmp_path, name).unlink()
    with pytest.raises(UserError, match=r"is missing, but checkpoint_4.safetensors is there"):
        make_training(tmp_path, reversal, 8).resume()


@pytest.mark.check("A11")
def test_another_number_of_micro_batches_is_refused(tmp_path: Path, reversal: Corpus) -> None:
    make_training(tmp_path, reversal, 1).fit()
    with pytest.raises(UserError, match="had 2 micro-batches and would have 1"):
        make_training(tmp_path, reversal, 2, update_freq=1).resume()


@pytest.mark.check("A7")
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
    tmp_path: Path, reversal: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end is the same, bit for bit; the damaged one is kept, and the one before with it."""
    straight = make_training(tmp_path / "straight", reversal, 12)
    straight.fit()
    run = tmp_path / "damaged"
    make_training(run, reversal, 9).fit()
    last, previous = checkpoint_path(run, "last"), checkpoint_path(run, "previous")
    damage(last)
    training = make_training(run, reversal, 12)
    training.resume()
    assert training.progress.update == 8
    said = " ".join(capsys.readouterr().err.split())
    assert "digest is not that of its content: kept as checkpoint_damaged" in said
    assert "going on from checkpoint_previous.safetensors, update 8" in said
    assert sorted(path.stem for path in last.parent.glob("*_[dlp]*")) == [
        "checkpoint_damaged",
        "checkpoint_previous",
    ]
    training.fit()
    for ours, theirs in zip(training.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    damage(last)
    damage(previous)
    with pytest.raises(UserError, match=r"_last.*: damaged.*_previous.*: damaged.*: put one"):
        make_training(run, reversal, 14).resume()


@pytest.mark.check("A7")
def test_a_lost_newest_checkpoint_is_replaced_by_the_one_before(
    tmp_path: Path, reversal: Corpus
) -> None:
    make_training(tmp_path, reversal, 9).fit()
    checkpoint_path(tmp_path, "last").unlink()
    training = make_training(tmp_path, reversal, 12)
    assert training.resume()
    assert training.progress.update == 8


def test_a_checkpoint_that_cannot_be_read_is_not_given_up(tmp_path: Path, reversal: Corpus) -> None:
    """As on a disk that fails for a moment."""
    make_training(tmp_path, reversal, 9).fit()
    last = checkpoint_path(tmp_path, "last")
    last.unlink()
    last.mkdir()
    with pytest.raises(UserError, match="checkpoint_last"):
        make_training(tmp_path, reversal, 12).resume()
    assert last.exists()


def test_compiling_is_part_of_training(
    tmp_path: Path, reversal: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr("reluformer.training.loop.compile_layers", compiled.append)
    for compiles in (False, True):
        training = make_training(tmp_path / str(compiles), reversal, 1, compile=compiles)
        training.fit()
    assert compiled == [training.model]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
