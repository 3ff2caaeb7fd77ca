"""Timing systems against each other on a machine whose speed wanders."""

import time
from collections.abc import Callable, Mapping

import torch

from reluformer.console import console


def time_rounds(
    tasks: Mapping[str, Callable[[], object]], work: float, rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Rates of each task, `work` units a run, in `rounds` rounds.

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
            rates[name].append(work / (finish(device) - began))
        heading = f"round {number} of {rounds}" if number else "warm-up"
        latest = "  ".join(f"{name} {rates[name][-1]:.4g}" for name in names)
        console.print(f"{heading}:  {latest}")
    return {name: measured[1:] for name, measured in rates.items()}


def finish(device: torch.device) -> float:
    """The time once all that the device was given to do is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
