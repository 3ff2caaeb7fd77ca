"""A benchmark's outcome as a table for the terminal, as Markdown and as JSON."""

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Protocol

import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table

from reluformer import __version__
from reluformer.data.processes import available_cores


@dataclass(frozen=True)
class Machine:
    """Where it was measured; taken beforehand, so that the load is that of others."""

    processor: str
    cores: int
    threads: int
    load: float
    torch: str
    python: str
    reluformer: str = __version__
    accelerator: str | None = None

    @classmethod
    def here(cls, device: torch.device) -> "Machine":
        return cls(
            processor=processor_name(),
            accelerator=accelerator_name(device) if device.type == "cuda" else None,
            cores=available_cores(),
            threads=torch.get_num_threads(),
            load=round(os.getloadavg()[0], 2),
            torch=torch.__version__,
            python=platform.python_version(),
        )

    def __str__(self) -> str:
        chips = [self.accelerator] if self.accelerator else []
        chips.append(f"{self.processor}, {self.cores} cores of which {self.threads} used")
        return (
            f"{', '.join(chips)}, load before {self.load}; PyTorch {self.torch}, "
            f"Python {self.python}, reluformer {self.reluformer}"
        )


@dataclass(frozen=True)
class Outcome:
    """What one benchmark measured, of every system by name: `rates`, in `unit`, one a round.

    The systems are compared with the last of them. `parameters` are those of models, `memory_mb`
    is what the forward pass of one batch keeps for the backward pass, `peak_mb` what a GPU needs
    at most in a round beside what stays (weights, optimiser), where they are measured.
    """

    title: str
    unit: str
    conditions: str
    rates: dict[str, list[float]]
    parameters: dict[str, int] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        columns = [self.unit, "lowest to highest", "times the last"]
        sizes = ["parameters"] if self.parameters else []
        memory = ["MB for backward"] if self.memory_mb else []
        peak = ["MB a round adds"] if self.peak_mb else []
        return ["system", *sizes, *columns, *memory, *peak]

    def rows(self) -> Iterator[list[str]]:
        """The cells of each system: medians over rounds, the ratio's of ratios within a round."""
        *_, last = self.rates.values()
        for system, rates in self.rates.items():
            ratios = [own / other for own, other in zip(rates, last, strict=True)]
            yield [
                system,
                *([f"{self.parameters[system]:,}"] if self.parameters else []),
                rate(median(rates)),
                f"{rate(min(rates))} to {rate(max(rates))}",
                f"{median(ratios):.2f}",
                *([f"{self.memory_mb[system]:,.0f}"] if self.memory_mb else []),
                *([f"{self.peak_mb[system]:,.0f}"] if self.peak_mb else []),
            ]


class Tabular(Protocol):
    """What a benchmark found: the first column names things, the others hold numbers."""

    @property
    def title(self) -> str: ...
    @property
    def conditions(self) -> str: ...
    @property
    def columns(self) -> list[str]: ...
    def rows(self) -> Iterator[list[str]]: ...


@dataclass(frozen=True)
class Report:
    """An outcome with all that one needs to measure again."""

    outcome: Tabular
    model: str
    machine: Machine
    command: str
    date: str


def rate(value: float) -> str:
    """At least three digits, and all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def console_table(outcome: Tabular) -> Table:
    table = Table(title=outcome.title, title_justify="left", box=SIMPLE_HEAD)
    for name in outcome.columns:
        table.add_column(name, justify="left" if name == outcome.columns[0] else "right")
    for row in outcome.rows():
        table.add_row(*row)
    return table


def markdown(report: Report) -> str:
    """A section: the table, then what it was measured on and how."""
    columns = report.outcome.columns
    aligned = ["---", *["---:"] * (len(columns) - 1)]
    table = [columns, aligned, *report.outcome.rows()]
    lines = [
        f"## {report.outcome.title}",
        "",
        *(f"| {' | '.join(cells)} |" for cells in table),
        "",
        *([f"- model: {report.model}"] if report.model else []),
        f"- work: {report.outcome.conditions}",
        f"- machine: {report.machine}",
        f"- {report.date}: `{report.command}`",
    ]
    return "\n".join(lines) + "\n"


def append_report(report: Report, path: Path) -> None:
    """Add the section to the Markdown file, and the numbers as a line to the .jsonl beside it."""
    begun = path.exists() and path.stat().st_size > 0
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(("\n" if begun else "# Speed\n\n") + markdown(report))
    with path.with_suffix(".jsonl").open("a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(asdict(report), ensure_ascii=False) + "\n")


def accelerator_name(device: torch.device) -> str:
    """With the versions of what its kernels are compiled by."""
    compilers = f"CUDA {torch.version.cuda}"
    if find_spec("triton") is not None:
        compilers += f", Triton {import_module('triton').__version__}"
    return f"{torch.cuda.get_device_name(device)} ({compilers})"


def processor_name() -> str:
    """As Linux names it, else as Python does."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").split("\n"):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
