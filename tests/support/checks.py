"""Checks of reliability: which tests prove them, and on how many trials.

A test marked `check("A5")` proves part of a check of `CHECKS`. Its fixture `trials` chooses between
few trials, in every run of the tests, and all of them, with --all-trials, as scripts/torture.sh
does; a test that does not ask counts as one trial.
"""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from reluformer.benchmark.report import processor_name

CHECKS = {
    "A1": "killed (SIGKILL) at any moment, training ends with the same bits",
    "A2": "training continues from its start, an epoch's end, its end, and again and again",
    "A3": "the order of sentences depends on the seed alone",
    "A4": "signals: saved within one update, and the exit code says so",
    "A5": "whatever call of the checkpoint writer fails, whole states remain",
    "A6": "a full disk ends training in one line and damages nothing",
    "A7": "every damage of a checkpoint is found before it is used",
    "A8": "losses that are not finite: skipped, gone back from once, then exit code 3",
    "A9": "out of memory: done again in halves, counted; then a `train.max_tokens` that fits",
    "A10": "one process trains in a folder, whoever starts there",
    "A11": "another corpus or other settings are not continued",
    "A12": "checkpoints of every format there has been are read",
    "A13": "a process that hangs or dies is named, and the run continues",
    "B1": "files of unequal length are refused before any work",
    "B2": "damaged and odd encodings: lines stay aligned, or file, line and byte are named",
    "B3": "empty lines, files without lines or without their last line end",
    "B4": "endless lines take bounded time and memory",
    "B5": "every damage of a corpus is found",
    "B6": "no input brings out anything but our own errors",
    "B7": "preprocessing that was killed is continued to the same bytes",
    "B8": "a translation does not depend on its batch",
    "C1": "nothing is unpickled, evaluated or executed",
    "C2": "hostile safetensors files",
    "C3": "hostile archives",
    "C4": "hostile configurations",
    "C5": "damaged vocabularies",
    "C6": "hostile names, paths and texts",
    "C7": "no network but for downloads that were asked for",
    "C8": "no secrets are recorded",
    "precision": "every mechanism stays finite on adversarial input in fp32, bf16 and fp16",
    "determinism": "the same seed gives the same bits",
}

PAGE = """# What was tried to break it

Each check is a mark on tests (`@pytest.mark.check("A1")`), which run with all others; here they ran
with all their trials. A test without trials of its own counts as one. What a user sees in each case
is in [failures.md](../failures.md). Written on {date}, on {machine}, by

    scripts/torture.sh

"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-trials", action="store_true", help="tests of reliability with all of their trials"
    )
    parser.addoption(
        "--check-table", metavar="FILE", help="write check, trials and failures to this file"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "check(name): proves part of that check of reliability")


def pytest_itemcollected(item: pytest.Item) -> None:
    for marker in item.iter_markers("check"):
        (name,) = marker.args
        if name not in CHECKS:
            raise pytest.UsageError(f"{item.nodeid}: there is no check {name!r}")
        item.user_properties.append(("check", name))


Trials = Callable[[int, int], int]


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> Trials:
    """trials(5, 50): how many to do, 50 with --all-trials; they are counted."""

    def chosen(few: int, many: int) -> int:
        count = many if request.config.getoption("--all-trials") else few
        request.node.user_properties.append(("trials", count))
        return count

    return chosen


class Tally:
    """Of one check, over its tests."""

    def __init__(self) -> None:
        self.tests = self.trials = self.failures = self.skipped = 0
        self.seconds = 0.0

    def add(self, report: pytest.TestReport) -> None:
        self.seconds += report.duration
        if report.when == "call" or report.outcome != "passed":
            self.tests += 1
            self.skipped += report.skipped
            self.failures += report.failed
            counts = [count for key, count in report.user_properties if key == "trials"]
            self.trials += 0 if report.skipped else sum(counts) or 1


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    tallies = {name: Tally() for name in CHECKS}
    for reports in list(terminalreporter.stats.values()):
        for report in reports:
            if isinstance(report, pytest.TestReport):
                for key, name in report.user_properties:
                    if key == "check":
                        tallies[name].add(report)
    lines = table(tallies)
    if config.getoption("--check-table"):
        terminalreporter.write_sep("=", "checks of reliability")
        terminalreporter.write("\n".join(lines) + "\n")
    if path := config.getoption("--check-table"):
        when = time.strftime("%Y-%m-%d", time.gmtime())
        page = PAGE.format(date=when, machine=machine())
        Path(path).write_text(page + "\n".join(lines) + "\n", encoding="utf-8")


def machine() -> str:
    python, system = platform.python_version(), platform.system()
    cores = f"{os.cpu_count()} cores of {processor_name()}"
    return f"{cores}, {system}, Python {python}, PyTorch {torch.__version__}"


def table(tallies: dict[str, Tally]) -> list[str]:
    lines = [
        "| check | | tests | trials | failures | skipped | seconds |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, tally in tallies.items():
        counts = [tally.tests, tally.trials, tally.failures, tally.skipped]
        numbers = [f"{number:,}" for number in counts]
        cells = [name, CHECKS[name], *numbers, f"{tally.seconds:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
