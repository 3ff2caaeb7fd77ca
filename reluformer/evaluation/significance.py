"""Whether two systems' scores differ by more than chance: sacreBLEU's paired tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest, Result

from reluformer.evaluation.scores import check_lines

TESTS = {"bootstrap": "bs", "randomisation": "ar"}
Metrics = Mapping[str, BLEU | CHRF]


@dataclass(frozen=True)
class Comparison:
    """One system's score by one metric, beside a baseline's.

    `p` is the probability of a difference this large if the two were equally good, and 1 where
    there is none. By the bootstrap there are also the `mean` over resamples and half the width of
    its 95% interval.
    """

    system: str
    metric: str
    score: float
    baseline_score: float
    p: float
    mean: float | None
    interval: float | None
    signature: str


@dataclass(frozen=True)
class Estimate:
    """A score, and half the width of its 95% interval over resamples of the test set."""

    score: float
    interval: float
    signature: str


def bootstrap(
    hypotheses: Sequence[str], references: Sequence[str], metric: BLEU | CHRF, samples: int
) -> Estimate:
    """One system's score with its interval (Koehn 2004), by as many resamples; seed as below."""
    check_lines(hypotheses, references)
    found = metric.corpus_score(hypotheses, [references], n_bootstrap=samples)
    return Estimate(float(found.score), float(found._ci), str(metric.get_signature()))


def compare(
    systems: Mapping[str, Sequence[str]],
    baseline: Sequence[str],
    references: Sequence[str],
    metrics: Metrics,
    test: str = "bootstrap",
    samples: int = 0,
) -> list[Comparison]:
    """Each system against the baseline, by each metric.

    `test`: bootstrap (paired, Koehn 2004; 1,000 resamples) or randomisation (approximate,
    Riezler and Maxwell 2005; 10,000 trials); `samples` replaces these numbers unless 0. The seed
    is sacreBLEU's (12345, or SACREBLEU_SEED), so the same texts always give the same p.
    """
    for lines in (baseline, *systems.values()):
        check_lines(lines, references)
    paired = PairedTest(
        [("baseline", baseline), *systems.items()],
        metrics,
        [references],
        test_type=TESTS[test],
        n_samples=samples,
    )
    signatures, results = paired()
    return [
        _comparison(name, metric, cast(Result, found), cast(Result, base), str(signatures[metric]))
        for metric, (base, *others) in results.items()
        if metric != "System"
        for name, found in zip(systems, others, strict=True)
    ]


def _comparison(
    system: str, metric: str, found: Result, base: Result, signature: str
) -> Comparison:
    # sacreBLEU counts resamples with a larger difference than the real one: none, if that is 0
    # in all of them.
    p = 1.0 if found.score == base.score else float(cast(float, found.p_value))
    return Comparison(
        system=system,
        metric=metric,
        score=float(found.score),
        baseline_score=float(base.score),
        p=p,
        mean=None if found.mean is None else float(found.mean),
        interval=None if found.ci is None else float(found.ci),
        signature=signature,
    )
