"""Learning rates against the formulas."""

import math

import pytest

from reluformer.errors import UserError
from reluformer.training.options import OptimOptions
from reluformer.training.schedule import learning_rate, regulariser_weight


def options(schedule: str, **changes: float) -> OptimOptions:
    values = {
        "learning_rate": 5e-4,
        "warmup_updates": 4000,
        "min_learning_rate": 0.0,
        "beta1": 0.9,
        "beta2": 0.98,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
        "clip_norm": 0.0,
    }
    return OptimOptions(schedule=schedule, **{**values, **changes})


@pytest.mark.parametrize("schedule", ["inverse_sqrt", "cosine", "constant"])
def test_warm_up_is_linear_from_zero(schedule: str) -> None:
    rates = [learning_rate(options(schedule), update, 10_000) for update in (1, 1000, 4000)]
    assert rates == pytest.approx([5e-4 / 4000, 5e-4 / 4, 5e-4])


def test_after_the_warm_up() -> None:
    assert learning_rate(options("inverse_sqrt"), 16_000, 20_000) == pytest.approx(2.5e-4)
    assert learning_rate(options("constant"), 16_000, 20_000) == 5e-4
    cosine = options("cosine", min_learning_rate=1e-4)
    assert learning_rate(cosine, 7000, 10_000) == pytest.approx(3e-4)
    assert learning_rate(cosine, 10_000, 10_000) == pytest.approx(1e-4)
    assert learning_rate(cosine, 5500, 10_000) == pytest.approx(
        1e-4 + 4e-4 * (1 + math.cos(math.pi / 4)) / 2
    )


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(options("inverse_sqrt", warmup_updates=0), 1, 10) == 5e-4


def test_lambda_rises_linearly() -> None:
    assert [regulariser_weight(0.1, 4, u) for u in (1, 2, 4, 9)] == [0.025, 0.05, 0.1, 0.1]
    assert regulariser_weight(0.1, 0, 1) == 0.1


def test_wrong_values_are_named() -> None:
    with pytest.raises(
        UserError, match=r"`optim\.learning_rate` must be greater than 0, but is -1"
    ):
        options("constant", learning_rate=-1.0)
    with pytest.raises(UserError, match=r"`optim\.schedule` must be one of inverse_sqrt, cosine"):
        options("linear")
