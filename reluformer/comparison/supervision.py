"""One process that starts the jobs by a launcher, tells of their ends, and stops them cleanly.

<output>/jobs/plan.json     the jobs
<output>/jobs/<job>.json    how each ended
<output>/jobs/log.txt       what the launcher said
<output>/jobs/stop          there as long as nothing new is to be begun
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import torch
from filelock import FileLock, Timeout

from reluformer.comparison.jobs import FAILED, POLL, Job, Outcome, read_json
from reluformer.console import console
from reluformer.data.processes import available_cores
from reluformer.durable import write_json
from reluformer.errors import UserError
from reluformer.training.signals import StopRequest

PATIENCE = 60  # seconds that trainings whose launcher has died get to save


class Supervisor:
    """Holds the output folder for one comparison, and the way in which its jobs see that it lives.

    Jobs on the same machine stop by themselves when the comparison's process is gone, however it
    ended: then nobody holds the lock.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output / "jobs"
        self.stop = self.folder / "stop"
        self._lock = FileLock(self.folder / "lock")
        self._host = self.folder / "host"

    def __enter__(self) -> "Supervisor":
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"`output` {self.output} is in use by another comparison: wait for it, stop "
                "it, or name another folder"
            ) from None
        self._host.write_text(socket.gethostname(), encoding="utf-8")
        self.stop.unlink(missing_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        self.stop.touch()
        self._lock.release()

    def stopped(self) -> bool:
        """What a job asks, in a process of its own: whether it should stop."""
        if self.stop.exists():
            return True
        if self._host.read_text(encoding="utf-8") != socket.gethostname():
            return False
        try:
            with self._lock.acquire(timeout=0):
                return True
        except Timeout:
            return False

    def report(self, outcome: Outcome) -> None:
        write_json(self._outcome(outcome.job), asdict(outcome))

    def _outcome(self, job: str) -> Path:
        return self.folder / f"{job}.json"

    def run(self, command: list[str], jobs: list[Job]) -> dict[str, Outcome]:
        """Run the launcher to its end, saying how each job ended; the outcomes by job.

        Raises KeyboardInterrupt where Ctrl-C or SIGTERM has stopped it, after all have stopped.
        """
        for job in jobs:
            self._outcome(job.title).unlink(missing_ok=True)
        log = self.folder / "log.txt"
        outcomes: dict[str, Outcome] = {}
        with log.open("wb") as file, StopRequest() as request:
            process = start_group(command, file)
            try:
                while process.poll() is None:
                    if request.wanted:
                        self.stop.touch()
                    self._tell(jobs, outcomes)
                    time.sleep(POLL)
            finally:
                self.stop.touch()
                end_group(process)
        if request.wanted:
            console.print("stopped; the same command continues from there")
            raise KeyboardInterrupt
        self._tell(jobs, outcomes)
        for job in jobs:
            lost = Outcome(job.title, FAILED, f"its process ended early, see {log}")
            outcomes.setdefault(job.title, lost)
        return outcomes

    def _tell(self, jobs: list[Job], outcomes: dict[str, Outcome]) -> None:
        """Take note of the jobs that have ended since."""
        for job in jobs:
            if job.title in outcomes or not (found := read_json(self._outcome(job.title))):
                continue
            outcomes[job.title] = outcome = Outcome(**found)
            said = f": {outcome.message}" if outcome.message else ""
            place = f"{len(outcomes)} of {len(jobs)}"
            console.print(f"{job.title}: {outcome.status} ({place}){said}", markup=False)


def start_group(command: list[str], log: BinaryIO) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own: a Ctrl-C at the terminal is ours to pass on."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of a session behind: ask what is there to stop, and give it time to save."""
    orderly = process.poll() == 0
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        until = time.monotonic() + (0 if orderly else PATIENCE)
        while time.monotonic() < until:
            os.killpg(process.pid, 0)
            time.sleep(POLL)


def share_of_cores(jobs: int) -> int:
    """Threads for each of so many jobs."""
    return max(1, available_cores() // jobs)


def free_gb(device: str) -> float:
    """Memory that a new process could have: the accelerator's where one is used."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] / 2**30
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="utf-8").split("\n"):
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 2**20
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def at_once(jobs: int, memory_gb: float | None, free_gb: Callable[[], float]) -> int:
    """How many of `jobs` fit into the free memory, one at least."""
    if memory_gb is None:
        return jobs
    return max(1, min(jobs, int(free_gb() / memory_gb)))
