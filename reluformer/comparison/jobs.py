"""The work behind one run's numbers: ordinary commands, each done once and done again when needed.

<folder>/log.txt         what the commands said
<folder>/steps.json      the settings that each finished command ran with
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reluformer.durable import write_json
from reluformer.errors import UserError

INTERRUPTED = 130
DONE, FAILED, STOPPED = "done", "failed", "stopped"
POLL = 0.1  # seconds between two looks at a child


@dataclass(frozen=True)
class Step:
    """One command. What it writes is good as long as `settings` and `inputs` stay as they were.

    `settings` are all that the result depends on; `arguments` may hold more, such as threads.
    """

    command: str
    arguments: list[str]
    settings: Any
    inputs: list[str]
    output: str

    @property
    def words(self) -> list[str]:
        """What one would type."""
        return [f"reluformer-{self.command}", *self.arguments]


@dataclass(frozen=True)
class Job:
    """One run of one system, from training (unless that is done) to its numbers in `folder`.

    `measure` comes after the steps and is no command: it runs in the job's own process.
    """

    label: str
    seed: int
    run: str
    folder: str
    checkpoint: str
    steps: list[Step]
    measure: Step

    @property
    def title(self) -> str:
        return f"{self.label}-seed{self.seed}"

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return all(is_current(step, Path(self.folder)) for step in [*self.steps, self.measure])


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and the last line of its log if that was early."""

    job: str
    status: str
    message: str = ""


def read_json(path: Path) -> dict[str, Any]:
    """What the file holds; nothing where there is none. UserError where that is no JSON object."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged, or was not written by reluformer: delete it")
    return values


def job_of(values: dict[str, Any]) -> Job:
    """A job that was written as JSON."""
    steps = [Step(**step) for step in values["steps"]]
    return Job(**{**values, "steps": steps, "measure": Step(**values["measure"])})


def is_current(step: Step, folder: Path) -> bool:
    """Whether the step was finished with these settings, after the last change of its inputs."""
    output = Path(step.output)
    if read_json(folder / "steps.json").get(step.command) != step.settings or not output.exists():
        return False
    inputs = [Path(name) for name in step.inputs]
    written = output.stat().st_mtime_ns
    return all(one.exists() and one.stat().st_mtime_ns <= written for one in inputs)


def note(folder: Path, step: Step, finished: bool) -> None:
    """Remember that a step is finished, or that what it left is not to be relied on."""
    done = read_json(folder / "steps.json")
    done.pop(step.command, None)
    if finished:
        done[step.command] = step.settings
    write_json(folder / "steps.json", done)


def run_job(
    job: Job, stopped: Callable[[], bool], measure: Callable[[Job], dict[str, Any]]
) -> Outcome:
    """Do what is not current, and last write what `measure` finds; a failure ends the job."""
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    for step in job.steps:
        if stopped():
            return Outcome(job.title, STOPPED)
        if is_current(step, folder):
            continue
        note(folder, step, finished=False)
        code = run_step(step, log, stopped)
        if code == INTERRUPTED or (code and stopped()):
            return Outcome(job.title, STOPPED)
        if code:
            return Outcome(job.title, FAILED, f"{step.command}: {last_line(log)} ({ended(code)})")
        note(folder, step, finished=True)
    if not is_current(job.measure, folder):
        write_json(Path(job.measure.output), measure(job))
        note(folder, job.measure, finished=True)
    return Outcome(job.title, DONE)


def run_step(step: Step, log: Path, stopped: Callable[[], bool]) -> int:
    """The command's exit code, once it has ended; it is told to stop when `stopped`."""
    with log.open("ab") as file:
        file.write(f"$ {' '.join(step.words)}\n".encode())
        file.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", f"reluformer.cli.{step.command}", *step.arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
        told = False
        while True:
            try:
                return process.wait(timeout=POLL)
            except subprocess.TimeoutExpired:
                if not told and stopped():
                    process.terminate()
                    told = True


def ended(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"killed by signal {-code}"


def last_line(log: Path) -> str:
    """The end of a log, which is the error where a command has failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("error: ") if said else ""


def write_plan(path: Path, jobs: list[Job], settings: dict[str, Any]) -> None:
    """All that the processes of the jobs have to know."""
    write_json(path, {"settings": settings, "jobs": [asdict(job) for job in jobs]})
