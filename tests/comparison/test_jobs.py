"""When a step is done again, how jobs end, and who may use an output folder."""

import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from reluformer.comparison.jobs import (
    Job,
    Outcome,
    Step,
    is_current,
    job_of,
    last_line,
    note,
    run_job,
)
from reluformer.comparison.supervision import Supervisor, at_once
from reluformer.errors import UserError


@pytest.fixture
def step(tmp_path: Path) -> Step:
    """A finished step: its input is a second older than its output."""
    source, output = tmp_path / "source", tmp_path / "output"
    for path, age in ((source, 2), (output, 1)):
        path.write_text("x")
        os.utime(path, (time.time() - age,) * 2)
    made = Step("score", [], ["samples=1"], [str(source)], str(output))
    note(tmp_path, made, finished=True)
    return made


def test_a_finished_step_is_not_done_again(step: Step, tmp_path: Path) -> None:
    assert is_current(step, tmp_path)


def test_a_step_is_done_again_when_something_has_changed(step: Step, tmp_path: Path) -> None:
    assert not is_current(replace(step, settings=["samples=2"]), tmp_path)
    assert not is_current(step, tmp_path / "elsewhere")
    assert not is_current(replace(step, inputs=[str(tmp_path / "missing")]), tmp_path)
    Path(step.inputs[0]).touch()
    assert not is_current(step, tmp_path)
    os.utime(step.inputs[0], (0, 0))
    assert is_current(step, tmp_path)
    Path(step.output).unlink()
    assert not is_current(step, tmp_path)


def test_what_was_begun_again_does_not_count(step: Step, tmp_path: Path) -> None:
    note(tmp_path, step, finished=False)
    assert not is_current(step, tmp_path)


def job(folder: Path, *steps: Step) -> Job:
    measure = Step("measure", [], None, [], str(folder / "measures.json"))
    return Job("relu", 1, str(folder), str(folder), "best", list(steps), measure)


def test_a_job_survives_being_written_down(step: Step, tmp_path: Path) -> None:
    assert job_of(asdict(job(tmp_path, step))) == job(tmp_path, step)


def test_a_failure_is_told_by_its_last_line(tmp_path: Path) -> None:
    wrong = Step("score", ["hypothesis=no.en", "reference=no.en"], [], [], str(tmp_path / "no"))
    outcome = run_job(job(tmp_path, wrong), lambda: False, lambda job: {})
    assert (outcome.job, outcome.status) == ("relu-seed1", "failed")
    assert outcome.message == "score: cannot read no.en: No such file or directory (exit code 2)"
    assert not is_current(wrong, tmp_path)
    assert (tmp_path / "log.txt").read_text().startswith("$ reluformer-score hypothesis=no.en")


def test_a_job_that_is_told_to_stop_begins_nothing(tmp_path: Path) -> None:
    wrong = Step("score", [], [], [], str(tmp_path / "no"))
    stopped = run_job(job(tmp_path, wrong), lambda: True, lambda job: {})
    assert stopped == Outcome("relu-seed1", "stopped")
    assert not (tmp_path / "log.txt").exists()


def test_measuring_comes_last_and_is_done_once(step: Step, tmp_path: Path) -> None:
    calls: list[Job] = []

    def measure(job: Job) -> dict[str, float]:
        calls.append(job)
        return {"bleu": 1.0}

    one = job(tmp_path, step)
    assert not one.is_finished
    for _ in range(2):
        assert run_job(one, lambda: False, measure).status == "done"
    assert len(calls) == 1
    assert one.is_finished


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a\nerror: it broke\n\n")
    assert last_line(tmp_path / "log") == "it broke"


def test_two_comparisons_do_not_share_a_folder(tmp_path: Path) -> None:
    with Supervisor(tmp_path), pytest.raises(UserError, match="in use by another comparison"):
        Supervisor(tmp_path).__enter__()


def test_jobs_stop_when_told_and_when_their_comparison_is_gone(tmp_path: Path) -> None:
    of_the_job = Supervisor(tmp_path)
    with Supervisor(tmp_path) as supervisor:
        assert not of_the_job.stopped()
        supervisor.stop.touch()
        assert of_the_job.stopped()
        supervisor.stop.unlink()
    supervisor.stop.unlink()
    assert of_the_job.stopped()


def test_jobs_of_another_machine_cannot_ask_for_the_lock(tmp_path: Path) -> None:
    with Supervisor(tmp_path):
        pass
    (tmp_path / "jobs/stop").unlink()
    (tmp_path / "jobs/host").write_text("another.machine")
    assert not Supervisor(tmp_path).stopped()


@pytest.mark.parametrize(
    ("jobs", "memory", "fit"), [(4, None, 4), (4, 2.0, 3), (2, 2.0, 2), (4, 9.0, 1)]
)
def test_as_many_at_once_as_fit(jobs: int, memory: float | None, fit: int) -> None:
    assert at_once(jobs, memory, lambda: 7.9) == fit
