"""Numbers of made-up runs, and the settings of real ones."""

from collections.abc import Callable

import pytest

from reluformer.cli import train
from reluformer.cli.app import compose
from reluformer.comparison.rows import Result
from reluformer.config.training import TrainConfig
from reluformer.data.corpus import Corpus

Make = Callable[..., Result]


@pytest.fixture
def result() -> Make:
    """result(label, seed, bleu, **numbers)"""

    def make(label: str, seed: int, bleu: float, **numbers: float) -> Result:
        values = {"bleu": bleu, "chrf": bleu + 20, "bleu_bootstrap": 1.5, **numbers}
        curves = {"nll": {10: 5.0 - seed, 20: 4.0 - seed}, "bleu": {10: 1.0, 20: bleu}}
        return Result(label, seed, values, {"bleu_signature": "nrefs:1"}, curves)

    return make


@pytest.fixture
def training(reversal: Corpus) -> TrainConfig:
    """The settings of a training on the small corpus."""
    text, binary = reversal.folder.parent / "text", reversal.folder
    names = ["data.name=reversal", "data.source_lang=aa", "data.target_lang=bb"]
    folders = [f"data.text={text}", f"data.binary={binary}"]
    overrides = ["data=custom", *names, *folders]
    return compose("train", train.main, TrainConfig, overrides)
