"""From the numbers of runs to one row for each system: means, intervals, significance."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist, mean, stdev
from typing import Any

from reluformer.comparison.jobs import Job, read_json
from reluformer.evaluation.probes import BUCKETS, KINDS
from reluformer.model.transformer import SITES
from reluformer.training.metrics import read_metrics

Number = float | None
SIGNIFICANT = 0.05
# What shows whether attention is healthy, and how it is called on a picture.
SIGNALS = {
    "row_sum": "sum of a row's weights",
    "dead_rows": "share of dead rows",
    "score_deviation": "deviation of scores",
}
# The 97.5% points of Student's t for 1, 2, 3, ... degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Result:
    """One finished run.

    `curves`: validation `nll` and `bleu`, and `<site>/<signal>` of SIGNALS, by update.
    `environment`: the code, machine, device and threads that it was trained with.
    """

    label: str
    seed: int
    numbers: dict[str, Number]
    signatures: dict[str, str] = field(default_factory=dict)
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.label}-seed{self.seed}"


@dataclass(frozen=True)
class Difference:
    """One run's BLEU (or chrF) minus that of the baseline with the same seed."""

    label: str
    seed: int
    metric: str
    difference: float
    p: float


@dataclass(frozen=True)
class Row:
    """A system: its label, its seeds, and its numbers by the names of the columns."""

    label: str
    seeds: list[int]
    numbers: dict[str, Number]


def read_result(job: Job, environment: dict[str, Any]) -> Result:
    """Collect what training, translating, scoring and measuring have left."""
    run, folder = Path(job.run), Path(job.folder)
    summary, timing = read_json(run / "summary.json"), read_json(folder / "translation.json")
    (scores,) = read_json(folder / "scores.json")["systems"]
    measures = read_json(folder / "measures.json")
    quality = {key: value for key, value in measures.items() if not isinstance(value, str)}
    kept = ("parameters", "tokens_per_second", "minutes", "updates", "best_update", "memory_mb")
    numbers: dict[str, Number] = {
        **quality,
        "bleu_detokenised": scores["detokenised"]["bleu"],
        "bleu_tokenised": scores["tokenised_lowercased"]["bleu"],
        **{name: summary.get(name) for name in kept},
        "sentences_per_second": timing.get("lines_per_second"),
        **document_numbers(scores, timing.get("windows")),
    }
    signatures = {key: value for key, value in measures.items() if isinstance(value, str)}
    signatures["bleu_detokenised"] = scores["detokenised"]["bleu_signature"]
    signatures["bleu_tokenised"] = scores["tokenised_lowercased"]["bleu_signature"]
    return Result(job.label, job.seed, numbers, signatures, read_curves(run), environment)


def document_numbers(scores: dict[str, Any], windows: dict[str, int] | None) -> dict[str, Number]:
    """What a system of documents has beside its d-BLEU; nothing for one of sentences."""
    numbers: dict[str, Number] = {}
    if scores.get("documents"):
        numbers["sentence_bleu"] = scores["detokenised"]["bleu"]
    if windows and windows["windows"]:
        numbers["window_length"] = windows["length"]
        numbers["windows"] = windows["windows"]
        numbers["repaired"] = windows["repaired"] / windows["windows"]
    for name in ("all", *KINDS, *BUCKETS):
        probes = scores.get("probes", [])
        wanted = [one for one in probes if name in ("all", one["kind"], one.get("words"))]
        right, wrong, neither = (
            sum(one[answer] for one in wanted) for answer in ("right", "wrong", "neither")
        )
        if total := right + wrong + neither:
            numbers[f"probes_right/{name}"] = right / total
            numbers[f"probes_neither/{name}"] = neither / total
            numbers[f"probes/{name}"] = total
    return numbers


def read_curves(run: Path) -> dict[str, dict[int, float]]:
    """Validation loss (nats a token, no label smoothing), BLEU and attention by update."""
    signals = [f"{site}/{signal}" for site in SITES for signal in SIGNALS]
    kinds = {"valid": ["nll", "bleu"], "attention": signals}
    return {
        name: {entry["update"]: entry[name] for entry in entries if entry.get(name) is not None}
        for kind, names in kinds.items()
        for entries in [read_metrics(run, kind)]
        for name in names
    }


def rows_of(
    results: Sequence[Result], differences: Sequence[Difference], baseline: str | None
) -> list[Row]:
    """One row for each label, in the order of the results."""
    rows = []
    for label in dict.fromkeys(result.label for result in results):
        runs = [result for result in results if result.label == label]
        numbers = average([run.numbers for run in runs])
        shares = [name for name in numbers if name.startswith("probes_right/")]
        for metric in ("bleu", "chrf", *shares):
            values = [run.numbers.get(metric) for run in runs]
            numbers[f"{metric}_seeds"] = seed_interval([one for one in values if one is not None])
        if label != baseline:
            numbers |= significance([one for one in differences if one.label == label])
        rows.append(Row(label, [run.seed for run in runs], numbers))
    return rows


def average(entries: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """The mean of each number over the runs that have it."""
    means: dict[str, Number] = {}
    for name in dict.fromkeys(name for entry in entries for name in entry):
        values = [value for entry in entries if (value := entry.get(name)) is not None]
        means[name] = mean(values) if values else None
    return means


def seed_interval(values: Sequence[float]) -> Number:
    """Half the width of the 95% interval of the mean over seeds, by Student's t; None of one."""
    if len(values) < 2:
        return None
    return student(len(values) - 1) * stdev(values) / math.sqrt(len(values))


def student(freedom: int) -> float:
    """The 97.5% point of Student's t; above ten degrees of freedom by Cornish and Fisher."""
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def significance(differences: Sequence[Difference]) -> dict[str, Number]:
    """Over the pairs with the same seed: the mean difference, the largest p, how many are below."""
    found: dict[str, Number] = {}
    for metric in ("bleu", "chrf"):
        pairs = [one for one in differences if one.metric == metric]
        if pairs:
            found[f"{metric}_difference"] = mean(one.difference for one in pairs)
            found[f"{metric}_p"] = max(one.p for one in pairs)
            found[f"{metric}_significant"] = sum(one.p < SIGNIFICANT for one in pairs)
            found[f"{metric}_pairs"] = len(pairs)
    return found


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with None for NaN and infinity, which JSON does not have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def results_json(
    results: Sequence[Result], rows: Sequence[Row], differences: Sequence[Difference]
) -> str:
    """Every number by run, then by system."""
    values = {
        "runs": [vars(result) for result in results],
        "differences": [vars(one) for one in differences],
        "systems": [vars(row) for row in rows],
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
