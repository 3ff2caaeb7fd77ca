"""Settings of `reluformer-analyze`, and what it measures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reluformer.analysis.capture import captured_attention, read
from reluformer.analysis.statistics import attention_statistics
from reluformer.analysis.variance import VarianceTable, captured_variance
from reluformer.checks import check_choice, check_positive
from reluformer.config.run import Run, load_run
from reluformer.console import track
from reluformer.data.batch import collate
from reluformer.data.batching import padded_widths, plan_batches
from reluformer.data.corpus import Corpus
from reluformer.data.windows import open_windows
from reluformer.errors import UserError

MAX_TOKENS = 2048  # positions of a batch


@dataclass
class AnalyzeConfig:
    """Which run is looked into, on which text."""

    run: str  # the run folder
    checkpoint: str  # best, last, avg_<n> or a number of updates
    split: str  # train | valid | test, of the corpus that it was trained on
    sentences: int  # pairs of that split, spread evenly
    output: str | None  # folder; null: <run>/analysis/<checkpoint>
    device: str
    allow: list[str]

    def __post_init__(self) -> None:
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        check_choice("split", self.split, ("train", "valid", "test"))
        check_positive("sentences", self.sentences)

    @property
    def folder(self) -> Path:
        return Path(self.output or Path(self.run) / "analysis" / self.checkpoint)


@dataclass(frozen=True)
class LayerReport:
    """One attention layer: its statistics, and by visible keys the variance that it adds.

    `statistics` are those of `attention_statistics`; `variance_ratio` is var(update) / var(stream)
    over all positions, and `variance_ratio_by_n` the same by bucket of n, such as `8-15`.
    """

    site: str
    layer: int
    statistics: dict[str, float]
    variance_ratio: float
    variance_ratio_by_n: dict[str, float]


def analyze(config: AnalyzeConfig) -> list[LayerReport]:
    """Every attention layer of the run's model, encoder first, on real text without dropout."""
    run = load_run(config.run, config.checkpoint, config.device, tuple(config.allow))
    corpus = Corpus.open(run.data.binary)
    if config.split not in corpus.manifest.splits:
        splits = ", ".join(corpus.manifest.splits)
        raise UserError(f"`split` must be one of {splits}, but is {config.split!r}")
    tables: dict[tuple[str, int], VarianceTable] = {}
    with captured_attention(run.model) as found:
        for batch in track(_batches(run, corpus, config), "analysing"):
            with captured_variance(run.model, batch, tables):
                read(run.model, [batch])
    return [
        LayerReport(
            *place, attention_statistics(tallies), tables[place].overall, tables[place].ratio
        )
        for place, tallies in found.items()
    ]


def _batches(run: Run, corpus: Corpus, config: AnalyzeConfig) -> list[Any]:
    split = open_windows(corpus, config.split, run.windows)
    count = min(config.sentences, len(split))
    ids = np.unique(np.linspace(0, len(split) - 1, count).round().astype(np.int64))
    source, target = split.source_lengths[ids], split.target_lengths[ids]
    widest = int(padded_widths(source, target).max())
    plan = plan_batches(source, target, max(MAX_TOKENS, widest), 0, 0, shuffle=False)
    device = next(run.model.parameters()).device
    return [collate(split, ids[chosen]).to(device) for chosen in plan]
