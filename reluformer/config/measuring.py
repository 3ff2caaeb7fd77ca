"""What is measured on a translated run, beyond what its commands report themselves."""

from pathlib import Path

import numpy as np

from reluformer.analysis.capture import measure_attention
from reluformer.analysis.ffn import measure_ffn
from reluformer.config.run import Run, load_run
from reluformer.config.test_set import TestSet
from reluformer.data.batch import collate
from reluformer.data.batching import padded_widths, plan_batches
from reluformer.data.corpus import MANIFEST, Corpus, Split
from reluformer.data.windows import open_windows
from reluformer.evaluation.scores import detokenised_metrics, tokenised_metrics
from reluformer.evaluation.significance import Comparison, Metrics, bootstrap, compare

SENTENCES, MAX_TOKENS = 200, 2048  # of the validation set, and positions of a batch of it


def metrics_of(test: TestSet) -> tuple[Metrics, Metrics]:
    """For `Texts.bleu` and for `Texts.chrf`."""
    plain = detokenised_metrics(test.lowercase)
    bleu = tokenised_metrics() if test.as_tokens else {"BLEU": plain["BLEU"]}
    return bleu, {"chrF2": plain["chrF2"]}


def measure_quality(test: TestSet, hypothesis: Path, samples: int) -> dict[str, float | str]:
    """BLEU and chrF, half the widths of their 95% intervals by the bootstrap, their signatures."""
    found, references = test.hypotheses(hypothesis), test.references()
    for_bleu, for_chrf = metrics_of(test)
    bleu = bootstrap(found.bleu, references.bleu, for_bleu["BLEU"], samples)
    chrf = bootstrap(found.chrf, references.chrf, for_chrf["chrF2"], samples)
    return {
        "bleu": bleu.score,
        "bleu_bootstrap": bleu.interval,
        "bleu_signature": bleu.signature,
        "chrf": chrf.score,
        "chrf_bootstrap": chrf.interval,
        "chrf_signature": chrf.signature,
    }


def measure_model(folder: Path, checkpoint: str, device: str, allow: list[str]) -> dict[str, float]:
    """Attention and feed-forward statistics on the validation set, `<site>/<name>`.

    Of up to 200 sentences, spread evenly. Nothing where the corpus is no longer there.
    """
    run = load_run(folder, checkpoint, device, tuple(allow))
    if not (Path(run.data.binary) / MANIFEST).exists():
        return {}
    corpus = Corpus.open(run.data.binary)
    if "valid" not in corpus.manifest.splits:
        return {}
    return measure_split(run, open_windows(corpus, "valid", run.windows))


def measure_split(run: Run, split: Split) -> dict[str, float]:
    ids = np.unique(np.linspace(0, len(split) - 1, min(SENTENCES, len(split))).round().astype(int))
    source, target = split.source_lengths[ids], split.target_lengths[ids]
    widest = max(MAX_TOKENS, int(padded_widths(source, target).max()))
    device = next(run.model.parameters()).device
    plan = plan_batches(source, target, widest, 0, 0, shuffle=False)
    batches = [collate(split, ids[chosen]).to(device) for chosen in plan]
    return measure_attention(run.model, batches) | measure_ffn(run.model, batches)


def compare_texts(
    test: TestSet, hypotheses: dict[str, Path], baseline: str, samples: int
) -> list[Comparison]:
    """Every system against the baseline, by BLEU and by chrF: paired bootstrap."""
    texts = {label: test.hypotheses(path) for label, path in hypotheses.items()}
    others = {label: text for label, text in texts.items() if label != baseline}
    references = test.references()
    for_bleu, for_chrf = metrics_of(test)

    def compared(metrics: Metrics, form: str) -> list[Comparison]:
        return compare(
            {label: getattr(text, form) for label, text in others.items()},
            getattr(texts[baseline], form),
            getattr(references, form),
            metrics,
            samples=samples,
        )

    return [*compared(for_bleu, "bleu"), *compared(for_chrf, "chrf")] if others else []
