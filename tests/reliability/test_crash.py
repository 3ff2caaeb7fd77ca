"""Training that is killed, stopped, started twice or out of space ends with the same bits."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from checks import Trials
from killing import Moment, flat, run, said, start, state
from reversal import COMMAND_SETTINGS, make_corpus

from reluformer.durable import SPARE_BYTES
from reluformer.training.checkpoint import checkpoint_path, numbered_checkpoints

TIMING = ("tokens_per_second", "memory_mb", "training_seconds")


@pytest.fixture(scope="module")
def updates(request: pytest.FixtureRequest) -> int:
    return 200 if request.config.getoption("--all-trials") else 60


@pytest.fixture(scope="module")
def settings(reversal_folder: Path, updates: int) -> list[str]:
    return [*COMMAND_SETTINGS, f"data.binary={reversal_folder}", f"train.max_updates={updates}"]


@pytest.fixture(scope="module")
def straight(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("straight")
    assert run(folder, [*settings, "run=run"]) == 0, said(folder)
    return folder / "run"


def differing_bits(ours: Path, theirs: Path) -> list[str]:
    """What differs between two runs: tensors of their last and best states, progress, metrics."""
    numbered = [sorted(path.name for path in numbered_checkpoints(run)) for run in (ours, theirs)]
    different = [] if numbered[0] == numbered[1] else ["numbered checkpoints"]
    for name in ("last", "best"):
        (tensors, described), (wanted, as_wanted) = (
            state(checkpoint_path(run, name)) for run in (ours, theirs)
        )
        different += [
            f"{name} {tensor}"
            for tensor in wanted.keys() | tensors.keys()
            if not torch.equal(tensors[tensor], wanted[tensor])
        ]
        progress, as_progress = (
            untimed(json.loads(one["progress"])) for one in (described, as_wanted)
        )
        different += [f"{name} {key}" for key in as_progress if progress[key] != as_progress[key]]
    lines, as_lines = (metrics(run) for run in (ours, theirs))
    different += [] if lines == as_lines else ["metrics.jsonl"]
    return different


def untimed(entry: dict) -> dict:
    return {
        key: untimed(value) if isinstance(value, dict) else value
        for key, value in entry.items()
        if key not in (*TIMING, "seconds")
    }


def metrics(run: Path) -> list[dict]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [untimed(json.loads(line)) for line in lines]


# Of all kills, those of each kind; they are drawn until so many have struck.
SHARES = {"save": 0.2, "half": 0.14, "validation": 0.14, "step": 0.22, "time": 0.3}


def drawn(chance: random.Random, kind: str) -> Moment:
    if kind == "time":
        return Moment(kind, 0, chance.uniform(0.0, 3.0))
    calls = {"save": 12, "half": 4, "validation": 2, "step": 25}[kind]
    return Moment(kind, chance.randint(1, calls))


@pytest.mark.check("A1")
def test_killed_at_any_moment_it_ends_with_the_same_bits(
    tmp_path: Path, settings: list[str], straight: Path, trials: Trials
) -> None:
    """As often as asked for, in one run after another: each is continued until it is done.

    Of 50 kills 17 are inside a save and 7 inside a validation; and now and then it is stopped.
    """
    chance = random.Random(7)
    wanted = trials(2, 50)
    struck = dict.fromkeys(SHARES, 0)
    runs = 0
    while (kills := sum(struck.values())) < wanted:
        runs += 1
        folder = tmp_path / str(runs)
        folder.mkdir()
        status = -1
        while status:
            kind = max(SHARES, key=lambda kind: SHARES[kind] * wanted - struck[kind])
            moment = drawn(chance, kind)
            if kills % 5 == 4 and status != 130:
                moment = Moment("validation", 1, number=signal.SIGTERM)
            kills = sum(struck.values())
            status = run(folder, [*settings, "run=run"], moment if kills < wanted else None)
            assert status in (0, 130, -signal.SIGKILL), said(folder)
            struck[kind] += status == -signal.SIGKILL
        assert differing_bits(folder / "run", straight) == []
        assert not list((folder / "run").rglob("*.tmp"))
        shutil.rmtree(folder)


@pytest.mark.check("A2")
def test_a_finished_run_trains_nothing(
    tmp_path: Path, settings: list[str], updates: int, straight: Path
) -> None:
    shutil.copytree(straight, tmp_path / "run")
    before = checkpoint_path(tmp_path / "run", "last").read_bytes()
    assert run(tmp_path, [*settings, "run=run"]) == 0
    assert f"finished (max_updates) at update {updates}" in flat(said(tmp_path))
    assert checkpoint_path(tmp_path / "run", "last").read_bytes() == before


@pytest.mark.check("A3")
@pytest.mark.slow
@pytest.mark.parametrize("interval", [1, 7, 50])
def test_how_often_it_is_saved_changes_nothing(
    tmp_path: Path, settings: list[str], straight: Path, interval: int, trials: Trials
) -> None:
    if not trials(interval == 7, 1):
        pytest.skip("only with --all-trials")
    often = [*settings, f"train.save_interval={interval}", "run=run"]
    assert run(tmp_path, often, Moment("step", 30)) == -signal.SIGKILL
    assert run(tmp_path, often) == 0
    assert differing_bits(tmp_path / "run", straight) in ([], ["numbered checkpoints"])


@pytest.mark.check("A4")
def test_a_signal_saves_and_says_so(
    tmp_path: Path, settings: list[str], straight: Path, trials: Trials
) -> None:
    """At every kind of moment: exit code 130, saved at the update of then, and the same end."""
    chance = random.Random(3)
    kinds = ["validation", "opening", "save", "step"]
    numbers = [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT]
    for trial in range(trials(2, 20)):
        kind, number = kinds[trial % 4], numbers[trial % 3]
        calls = {"step": 50, "validation": 3, "save": 15, "opening": 1}[kind]
        folder = tmp_path / str(trial)
        folder.mkdir()
        moment = Moment(kind, chance.randint(1, calls), number=number)
        assert run(folder, [*settings, "run=run"], moment) == 130, said(folder)
        assert "the same command continues from there" in flat(said(folder))
        stopped_at = int(re.search(r"stopped at update (\d+)", said(folder))[1])  # type: ignore[index]
        _, described = state(checkpoint_path(folder / "run", "last"))
        assert json.loads(described["progress"])["update"] == stopped_at
        if kind == "step":
            assert stopped_at == moment.call
        assert run(folder, [*settings, "run=run"]) == 0
        assert differing_bits(folder / "run", straight) == []


@pytest.mark.check("A4")
@pytest.mark.slow
def test_a_second_signal_leaves_at_once(tmp_path: Path, settings: list[str]) -> None:
    """Without damage: the same command continues."""
    process = start(tmp_path, [*settings, "train.max_updates=1000000", "run=run"])
    lines = tmp_path / "run" / "metrics.jsonl"
    while process.is_alive() and not (lines.exists() and len(metrics(tmp_path / "run")) > 15):
        time.sleep(0.05)
    began = time.monotonic()
    while process.is_alive() and time.monotonic() < began + 60:
        os.kill(process.pid, signal.SIGINT)
        process.join(0.01)
    assert process.exitcode == 130
    assert time.monotonic() < began + 10
    assert run(tmp_path, [*settings, "train.max_updates=30", "run=run"]) == 0, said(tmp_path)


@pytest.mark.check("A6")
def test_a_full_disk_ends_training_in_one_line(
    tmp_path: Path, settings: list[str], trials: Trials
) -> None:
    """20 MB, of which others take so much that it is full within the next updates.

    Once with a look at the space before each write, and once, as if someone else had filled it just
    then, without; then there is space again, and training continues.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        for trial in range(trials(1, 20)):
            place, checked = disk / "run", trial % 2 == 0
            folder = tmp_path / str(trial)
            folder.mkdir()
            begun = [*settings, f"run={place}"]
            assert run(folder, [*begun, "train.max_updates=20"]) == 0, said(folder)
            ballast = disk / "ballast"
            left = 1_000 + 9_000 * (trial // 2) + checked * SPARE_BYTES
            ballast.write_bytes(bytes(shutil.disk_usage(disk).free - left))
            moment = None if checked else Moment("unchecked", 0)
            assert run(folder, [*begun, "train.max_updates=60"], moment) == 2, said(folder)
            errors = [line for line in said(folder).splitlines() if line.startswith("error: ")]
            assert len(errors) == 1, said(folder)
            assert "defect" not in said(folder)
            found = (
                "bytes are needed and .* are free" if checked else "could not be written|No space"
            )
            assert re.search(found, errors[0]), errors
            _, described = state(checkpoint_path(place, "last"))
            assert json.loads(described["progress"])["update"] >= 20
            ballast.unlink()
            assert run(folder, [*begun, "train.max_updates=60"]) == 0, said(folder)
            updates = [line["update"] for line in metrics(place)]
            assert updates == sorted(updates)
            assert updates[-1] == 60
            shutil.rmtree(place)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.check("A10")
def test_of_many_starts_one_trains(tmp_path: Path, settings: list[str], trials: Trials) -> None:
    """The others end with status 2 and name the process that trains, until that one is killed."""
    count = trials(3, 20)
    endless = [*settings, "train.max_updates=1000000", "run=run"]
    processes = [start(tmp_path, endless) for _ in range(count)]
    until = time.monotonic() + 200
    while sum(process.is_alive() for process in processes) > 1 and time.monotonic() < until:
        time.sleep(0.1)
    (holder,) = [process for process in processes if process.is_alive()]  # the others have ended
    assert all(process.exitcode == 2 for process in processes if process is not holder)
    assert flat(said(tmp_path)).count(f"is in use by process {holder.pid} on ") == count - 1
    holder.kill()
    holder.join()
    assert run(tmp_path, endless, Moment("step", 3, number=signal.SIGTERM)) == 130


@pytest.mark.check("A11")
def test_another_corpus_in_the_same_place_is_refused(tmp_path: Path, reversal_folder: Path) -> None:
    binary = tmp_path / "binary"
    shutil.copytree(reversal_folder, binary)
    few = [*COMMAND_SETTINGS, f"data.binary={binary}", "run=run"]
    assert run(tmp_path, [*few, "train.max_updates=2"]) == 0, said(tmp_path)
    shutil.rmtree(binary)
    shutil.copytree(make_corpus(tmp_path / "other", 500), binary)
    assert run(tmp_path, [*few, "train.max_updates=4"]) == 2
    assert f"corpus {binary}: its content is not what it was" in flat(said(tmp_path))
