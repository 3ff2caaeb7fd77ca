"""Every operator's time is counted once, under the kind of work that it is part of."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from reluformer.benchmark.profile import ALL, BETWEEN, REST, draw_profile, profile_work, profiled
from reluformer.benchmark.rounds import Work
from reluformer.kernels.attention import pointwise_attention
from reluformer.visibility import Visibility

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (lambda x: torch.nn.functional.linear(x, x), "linear layers"),
        (lambda x: torch.bmm(x[None], x[None]), "attention"),
        (lambda x: np.matmul(x.numpy(), x.numpy()), "attention"),
        (lambda x: torch.nn.functional.layer_norm(x, x.shape[1:]), "layer norms"),
        (lambda x: x.topk(5), "search"),
        (lambda x: x.clone(), "copies"),
        (lambda x: x.exp(), REST),
    ],
)
def test_most_time_is_that_of_the_operator(run, kind):
    x = torch.ones(700, 700)
    found = profiled(lambda: run(x), CPU)
    assert max(set(found) - {BETWEEN}, key=found.__getitem__) == kind
    assert set(found) == set(ALL)


def test_what_attention_runs_is_attention():
    """Its products and elementwise operators included; Python's time is apart."""
    q = torch.ones(2, 2, 200, 32)

    def attend() -> None:
        time.sleep(0.05)
        pointwise_attention(
            q, q, q, Visibility(200, 200), activation="relu", gain=torch.ones(2), alpha=0.5, scale=1
        )

    found = profiled(attend, CPU)
    assert found["attention"] > 0.5 * (sum(found.values()) - found[BETWEEN])
    assert found[BETWEEN] >= 50
    assert found["linear layers"] == 0


def test_table_and_picture(tmp_path: Path):
    x = torch.ones(200, 200)
    tasks = {"small": lambda: x @ x, "large": lambda: [x @ x for _ in range(20)]}
    found = profile_work(Work("Training", "of a test", "runs", 1, tasks), CPU)
    rows = list(found.rows())
    assert found.columns == ["ms (share)", "small", "large"]
    assert rows[-1][0] == "all"
    assert "linear layers" in [row[0] for row in rows]
    draw_profile(found, tmp_path / "profile.png")
    assert (tmp_path / "profile.png").stat().st_size > 5000
