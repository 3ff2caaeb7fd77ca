"""What something costs: seconds of the processor, and megabytes at its peak."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROCESS = Path("/proc/self")  # of Linux; elsewhere memory is not measured


@dataclass
class Cost:
    seconds: float = 0.0
    megabytes: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """The cost of the block, once it has ended; other programs on the machine do not count."""
    cost, before = Cost(), memory("VmRSS")
    if PROCESS.exists():
        (PROCESS / "clear_refs").write_text("5")  # the peak starts again from what there is
    start = time.process_time()
    try:
        yield cost
    finally:
        cost.seconds = time.process_time() - start
        cost.megabytes = memory("VmHWM") - before


@contextmanager
def cheap(seconds: float = 1.0, megabytes: float = 200.0) -> Iterator[None]:
    """Fails where the block costs more."""
    with measured() as cost:
        yield
    assert cost.seconds < seconds
    assert cost.megabytes < megabytes


def memory(name: str) -> float:
    if not PROCESS.exists():
        return 0.0
    lines = (PROCESS / "status").read_text().split("\n")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
