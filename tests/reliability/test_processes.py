"""Several training processes: what one that hangs or dies leaves, and what their number changes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import killing
import pytest
from checks import Trials
from killing import Moment, flat, said, start
from reversal import COMMAND_SETTINGS

SETTINGS = [*COMMAND_SETTINGS, "train.save_interval=5", "train.valid_interval=20", "run=run"]


@pytest.fixture
def settings(reversal_folder: Path) -> list[str]:
    return [*SETTINGS, f"data.binary={reversal_folder}", "train.max_updates=30"]


def together(
    folder: Path, settings: list[str], moments: tuple[Moment | None, Moment | None]
) -> list[Any]:
    """Two processes that know of one another as those of torchrun do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    return [
        start(folder, settings, moment, {**address, "WORLD_SIZE": "2", "RANK": str(rank)})
        for rank, moment in enumerate(moments)
    ]


def losses(folder: Path) -> list[float]:
    lines = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["loss"] for line in lines if (entry := json.loads(line))["kind"] == "train"]


@pytest.mark.check("A13")
@pytest.mark.slow
@pytest.mark.parametrize("hangs", [0, 1])
def test_a_process_that_hangs_is_named(
    tmp_path: Path, settings: list[str], hangs: int, trials: Trials
) -> None:
    """The other one ends within its patience (9 seconds) and half a minute, with status 3."""
    if not trials(hangs, 1):
        pytest.skip("only with --all-trials")
    stopped = Moment("step", 5, number=signal.SIGSTOP)
    moments = (stopped, None) if hangs == 0 else (None, stopped)
    processes = together(tmp_path, [*settings, "train.process_timeout=0.15"], moments)
    waits, hanging = processes[1 - hangs], processes[hangs]
    lines = tmp_path / "run" / "metrics.jsonl"
    try:
        while waits.is_alive() and not (lines.exists() and len(losses(tmp_path)) >= 4):
            time.sleep(0.05)
        waits.join(9 + 30)
    finally:
        hanging.kill()  # one that is stopped heeds nothing else
        hanging.join()
    assert waits.exitcode == 3, said(tmp_path)
    assert f"error: process {hangs} of 2 does not answer" in flat(said(tmp_path))
    assert len(losses(tmp_path)) == 4


@pytest.mark.check("A13")
@pytest.mark.slow
def test_torchrun_starts_again_what_has_died(tmp_path: Path, settings: list[str]) -> None:
    """With --max-restarts a killed process costs the updates since the last checkpoint."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = [*launcher, "--max-restarts=1", killing.__file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DIES_BEFORE": "17"}
    command = [sys.executable, *script, *settings, "train.update_freq=1"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert "update 15, 15 to go" in flat(ended.stderr)
    (tmp_path / "one").mkdir()
    one = start(tmp_path / "one", [*settings, "train.update_freq=2"])
    one.join(200)
    assert losses(tmp_path) == pytest.approx(losses(tmp_path / "one"), rel=1e-6)


@pytest.mark.check("A3")
@pytest.mark.slow
def test_the_number_of_processes_changes_no_loss(tmp_path: Path, settings: list[str]) -> None:
    """One process that accumulates, two from update 10, one again from 20: the same losses."""
    one = [*settings, "train.update_freq=2"]
    for name, parts in (("straight", [(1, 30)]), ("changing", [(1, 10), (2, 20), (1, 30)])):
        folder = tmp_path / name
        folder.mkdir()
        for count, end in parts:
            until = f"train.max_updates={end}"
            if count == 1:
                processes = [start(folder, [*one, until])]
            else:
                processes = together(
                    folder, [*settings, "train.update_freq=1", until], (None, None)
                )
            for process in processes:
                process.join(200)
                assert process.exitcode == 0, said(folder)
    straight, changing = (losses(tmp_path / name) for name in ("straight", "changing"))
    assert len(straight) == 30
    assert changing == pytest.approx(straight, rel=1e-6)
