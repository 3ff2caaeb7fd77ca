"""Numbers of made-up runs."""

from collections.abc import Callable

import pytest

from reluformer.comparison.rows import Result

Make = Callable[..., Result]


@pytest.fixture
def result() -> Make:
    """result(label, seed, bleu, **numbers)"""

    def make(label: str, seed: int, bleu: float, **numbers: float) -> Result:
        values = {"bleu": bleu, "chrf": bleu + 20, "bleu_bootstrap": 1.5, **numbers}
        curves = {"nll": {10: 5.0 - seed, 20: 4.0 - seed}, "bleu": {10: 1.0, 20: bleu}}
        return Result(label, seed, values, {"bleu_signature": "nrefs:1"}, curves)

    return make
