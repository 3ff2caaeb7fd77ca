"""Timing systems against each other on a machine whose speed wanders."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from reluformer.benchmark.report import Outcome
from reluformer.console import console


@dataclass(frozen=True)
class Work:
    """What is to be measured: the same work for each system by name, `amount` units of it a run.

    `parameters` are those of models, `memory_mb` is what the forward pass of one batch keeps for
    the backward pass, where it is of interest; `peak_mb` what a GPU needs at most in a run
    beside what stays from one to the next.
    """

    title: str
    conditions: str
    unit: str
    amount: float
    tasks: Mapping[str, Callable[[], object]]
    parameters: dict[str, int] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)


def time_work(work: Work, rounds: int, device: torch.device) -> Outcome:
    """Units a second of each system, in `rounds` rounds."""
    return Outcome(
        work.title,
        f"{work.unit}/s",
        work.conditions,
        time_rounds(work.tasks, work.amount, rounds, device),
        work.parameters,
        work.memory_mb,
        work.peak_mb,
    )


def time_rounds(
    tasks: Mapping[str, Callable[[], object]], amount: float, rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Rates of each task, `amount` units a run, in `rounds` rounds.

    Every task runs once in each round, so that a slower minute of the machine meets all of them,
    and each round begins with another one. A round before the first warms up and is not counted.
    """
    rates: dict[str, list[float]] = {name: [] for name in tasks}
    names = list(tasks)
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            began = finish(device)
            tasks[name]()
            rates[name].append(amount / (finish(device) - began))
        heading = f"round {number} of {rounds}" if number else "warm-up"
        latest = "  ".join(f"{name} {rates[name][-1]:.4g}" for name in names)
        console.print(f"{heading}:  {latest}")
    return {name: measured[1:] for name, measured in rates.items()}


def finish(device: torch.device) -> float:
    """The time once all that the device was given to do is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
