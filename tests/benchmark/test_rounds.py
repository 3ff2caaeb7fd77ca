"""Every task runs once in each round, each begins one; the first round is not counted."""

import torch

from reluformer.benchmark.rounds import time_rounds


def test_tasks_take_turns():
    ran: list[str] = []
    tasks = {name: lambda name=name: ran.append(name) for name in "abc"}
    rates = time_rounds(tasks, 10.0, rounds=3, device=torch.device("cpu"))
    assert ["".join(ran[i : i + 3]) for i in range(0, len(ran), 3)] == ["abc", "bca", "cab", "abc"]
    assert list(rates) == ["a", "b", "c"]
    assert all(len(found) == 3 and min(found) > 0 for found in rates.values())
