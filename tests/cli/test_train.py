"""Training that begins with the weights of another."""

import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from commands import Run
from reversal import COMMAND_SETTINGS, make_corpus
from safetensors.torch import load_file

from reluformer.cli.average import main as average
from reluformer.cli.train import main
from reluformer.config.run import load_run
from reluformer.data.vocabulary import Vocabulary
from reluformer.training.checkpoint import checkpoint_path

pytestmark = pytest.mark.unchecked

LONGEST = 12  # pieces of a line of the corpus
FEW = ["train.max_updates=2", "train.valid_interval=2", "train.valid_sentences=0"]
FEW += ["train.save_interval=1", "train.best_metric=loss"]


@pytest.fixture
def settings(reversal_folder: Path) -> list[str]:
    return [*COMMAND_SETTINGS, *FEW, f"data.binary={reversal_folder}"]


@pytest.fixture
def first(run: Run, settings: list[str]) -> Path:
    assert run(main, *settings, "run=first").code == 0
    return Path("first")


def weights(run: str, name: str) -> dict[str, torch.Tensor]:
    return load_file(checkpoint_path(Path(run), name))


def test_it_begins_with_them_and_continues_with_its_own(run: Run, settings: list[str]) -> None:
    """At next to no rate it keeps what it began with; continued, it needs the other run no more."""
    settings = [*settings, "attention.gamma_mode=calibrated"]
    assert run(main, *settings, "run=first").code == 0
    still = [*settings, "optim.learning_rate=1e-30", "initial_weights=first", "seed=3"]
    still += ["run=second"]
    ended = run(main, *still)
    assert ended.code == 0, ended.err
    assert "begins with the weights of first" in ended.err
    begun, now = weights("first", "best"), weights("second", "1")
    torch.testing.assert_close(now, begun, rtol=0, atol=1e-20)

    Path("first").rename("elsewhere")
    ended = run(main, *still, "train.max_updates=3")
    assert ended.code == 0, ended.err


def test_a_checkpoint_can_be_named(run: Run, settings: list[str], first: Path) -> None:
    path = checkpoint_path(first, "1")
    named = [*settings, f"initial_weights={path}", "optim.learning_rate=1e-30", "run=second"]
    assert run(main, *named).code == 0
    begun, now = weights("first", "1"), weights("second", "2")
    torch.testing.assert_close(now, begun, rtol=0, atol=1e-20)


def test_killed_before_its_first_checkpoint_it_begins_with_them_again(
    run: Run, settings: list[str], first: Path
) -> None:
    still = [*settings, f"initial_weights={first}", "optim.learning_rate=1e-30", "run=second"]
    assert run(main, *still).code == 0
    left = Path("second/checkpoints")
    for path in left.iterdir():
        path.unlink()
    (left / "checkpoint_last.safetensors.tmp").touch()
    assert run(main, *still).code == 0
    torch.testing.assert_close(weights("second", "1"), weights("first", "best"), rtol=0, atol=1e-20)


@pytest.mark.check("A1")
def test_killed_within_its_first_save_it_begins_again(
    run: Run, settings: list[str], first: Path
) -> None:
    """When a numbered checkpoint is there, and none yet to continue from."""
    noted = json.loads((first / "environment.json").read_text())["vocabularies"]
    assert noted == {
        side: Vocabulary.load(first / f"vocabulary.{side}.model").digest for side in noted
    }
    whole = weights("first", "2")
    for name in ("last", "previous", "best", "2"):
        checkpoint_path(first, name).unlink(missing_ok=True)
    assert [path.name for path in (first / "checkpoints").iterdir()] == ["checkpoint_1.safetensors"]
    ended = run(main, *settings, "run=first")
    assert ended.code == 0, ended.err
    again = weights("first", "2")
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


@pytest.mark.check("A11")
def test_a_run_without_its_settings_is_not_continued(
    run: Run, settings: list[str], first: Path
) -> None:
    (first / "config.yaml").unlink()
    said = run(main, *settings, "run=first").error()
    assert "has checkpoints and metrics.jsonl and summary.json but no config.yaml" in said
    assert "`run` is empty" in run(main, *settings, "run=").error()


def test_fewer_updates_than_were_done(run: Run, settings: list[str], first: Path) -> None:
    before = (first / "config.yaml").read_bytes()
    said = run(main, *settings, "run=first", "train.max_updates=1").error()
    assert "has done 2 updates, but `train.max_updates` is 1" in said
    assert (first / "config.yaml").read_bytes() == before


@pytest.mark.check("determinism")
def test_operators_that_a_gpu_repeats_give_a_cpus_bits(
    run: Run, settings: list[str], first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    try:
        assert run(main, *settings, "run=again", "train.deterministic=true").code == 0
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
    whole, again = weights(str(first), "last"), weights("again", "last")
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


def test_the_best_is_missed(run: Run, settings: list[str], first: Path) -> None:
    checkpoint_path(first, "best").unlink()
    assert "checkpoint_best is missing" in run(main, *settings, "run=first").err


@pytest.mark.check("A6")
def test_messages_that_cannot_be_written(
    run: Run, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log on a full disk is no reason to lose the training."""
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert run(main, *settings, "run=unsaid").code == 0
        with suppress(OSError):  # what is left in its buffer
            full.close()
    assert json.loads(Path("unsaid/summary.json").read_text())["updates"] == 2


def test_averaging_what_is_not_what_its_name_says(
    run: Run, settings: list[str], first: Path
) -> None:
    one, two = (checkpoint_path(first, name) for name in ("1", "2"))
    assert run(average, "run=first", "last=2").code == 0
    shutil.copy(one, two)
    assert "holds update 1, another than its" in run(average, "run=first", "last=2").error()
    one.unlink()
    os.mkfifo(one)
    two.unlink()
    assert "no file but a folder, a pipe" in run(average, "run=first", "last=1").error()
    assert "there is no folder nix" in run(average, "run=nix").error()


def test_settings_of_ones_own_that_are_no_yaml(run: Run, settings: list[str]) -> None:
    broken = Path("mine/attention/broken.yaml").absolute()
    broken.parent.mkdir(parents=True)
    broken.write_text("a: [1\n")
    said = run(main, *settings, "--config-dir", "mine", "attention=broken").error()
    assert said.startswith("a file of settings is not YAML")
    assert str(broken) in said


def test_what_it_began_with_is_recorded(run: Run, settings: list[str], first: Path) -> None:
    """By content; and how long a sequence the other was trained on counts for this one, too."""
    own = [*settings, f"initial_weights={first}", "run=second", "train.max_updates=1"]
    assert run(main, *own).code == 0
    environment = json.loads(Path("second/environment.json").read_text())
    recorded = environment["initial_weights"]
    assert recorded["trained_length"] == environment["longest_sentence"] == LONGEST
    assert load_run("second").trained_length == 256  # of preprocessing


@pytest.mark.parametrize("checkpoints", ["kept", "lost"])
def test_it_goes_on_only_from_what_it_began_with(
    checkpoints: str, run: Run, settings: list[str], first: Path
) -> None:
    own = [*settings, "run=second", "train.max_updates=1"]
    assert run(main, *own, f"initial_weights={first}").code == 0
    assert "initial_weights: first -> None" in run(main, *own).error()
    shutil.copytree(first, "third")
    error = run(main, *own, "initial_weights=third").error()
    assert "initial_weights: first -> third" in error
    if checkpoints == "lost":
        shutil.rmtree("second/checkpoints")
    shutil.copyfile(checkpoint_path(first, "1"), checkpoint_path(first, "best"))
    error = run(main, *own, f"initial_weights={first}").error()
    assert "is not the checkpoint that second began with" in error
    settings_then = Path("second/config.yaml").read_text()
    assert "initial_weights: first\n" in settings_then


@pytest.mark.parametrize("terms", ["attention.entropy_c=0.5", "attention.gamma=2"])
def test_what_is_no_part_of_the_weights_may_differ(
    terms: str, run: Run, settings: list[str], first: Path
) -> None:
    assert run(main, *settings, terms, f"initial_weights={first}", "run=second").code == 0


@pytest.mark.parametrize("content", [b"", b"\x10" * 4000])
def test_a_damaged_checkpoint_leaves_nothing(
    content: bytes, run: Run, settings: list[str], first: Path
) -> None:
    path = checkpoint_path(first, "best")
    whole = path.read_bytes()
    path.write_bytes(content or whole[: len(whole) // 2])
    again = [*settings, f"initial_weights={first}", "run=second"]
    assert str(path) in run(main, *again).error()
    assert not Path("second/config.yaml").exists()
    path.write_bytes(whole)
    assert run(main, *again).code == 0


def test_what_does_not_fit_is_refused_and_leaves_nothing(
    run: Run, settings: list[str], first: Path, tmp_path: Path
) -> None:
    other = make_corpus(tmp_path / "other", 20, "stuvwxyz")
    cases = {
        "'nowhere' is no run with nowhere": ["initial_weights=nowhere"],
        "'' is no run": ["initial_weights="],
        "'first' is no run with checkpoint_best.safetensors": ["initial_weights=first"],
        "copy.safetensors is not in a run's folder": ["initial_weights=copy.safetensors"],
        "gamma_mode` is learned there and fixed here; and 3 more": [
            "model.pre_norm=true",
            "model.num_heads=2",
            "model.ffn_dim=72",
            "attention.gamma_mode=fixed",
            f"initial_weights={checkpoint_path(first, '2')}",
        ],
        "`model.num_heads` is 4 there and 2 here": [
            "model.num_heads=2",
            f"initial_weights={checkpoint_path(first, '2')}",
        ],
        "gamma_mode` is learned there and fixed here": [
            "attention.gamma_mode=fixed",
            f"initial_weights={checkpoint_path(first, '2')}",
        ],
        f"first has another source vocabulary than {other}": [
            f"initial_weights={checkpoint_path(first, '2')}",
            f"data.binary={other}",
        ],
    }
    checkpoint_path(first, "best").rename("copy.safetensors")
    for message, changes in cases.items():
        error = run(main, *settings, *changes, "run=second").error()
        assert message in error
        assert not Path("second/config.yaml").exists()
