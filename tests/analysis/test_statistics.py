"""Statistics of attention on weights that can be counted by hand."""

import math

import numpy as np
import pytest
import torch
from mechanisms import MECHANISMS, load_mechanism
from small_models import model_config, relu_attention

from reluformer.analysis import statistics
from reluformer.analysis.capture import attention_modules, measure_attention
from reluformer.analysis.ffn import measure_ffn
from reluformer.analysis.statistics import (
    Tally,
    add_tallies,
    attention_statistics,
    mean_by_name,
    tally_attention,
)
from reluformer.config.build import build_model
from reluformer.data.batch import collate
from reluformer.data.corpus import Corpus
from reluformer.visibility import Visibility


def test_counted_by_hand() -> None:
    """D = 1, so scores are products: rows (2, 0, 2), (-1, ...) dead, and a padded row ignored."""
    q = torch.tensor([1.0, -1.0, 5.0]).view(1, 1, 3, 1)
    k = torch.tensor([2.0, 0.0, 2.0]).view(1, 1, 3, 1)
    visibility = Visibility(3, 3, query_lengths=torch.tensor([2]))
    tallies = tally_attention(relu_attention(head_dim=1), q, k, visibility)
    found = attention_statistics(tallies)
    assert found["entropy"] == pytest.approx(math.log(2))
    assert found["sparsity"] == pytest.approx(4 / 6)
    assert found["dead_rows"] == pytest.approx(1 / 2)
    assert found["row_sum"] == pytest.approx(4 / math.sqrt(1.5) / 2)
    scores = torch.tensor([2.0, 0.0, 2.0, -2.0, 0.0, -2.0])
    assert found["score_deviation"] == pytest.approx(float(scores.std(correction=0)))
    assert attention_statistics(add_tallies(tallies, tallies)) == pytest.approx(found)


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("causal", [False, True])
def test_queries_are_tallied_some_at_a_time(
    name: str, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With padding, whatever the mechanism's weights depend on."""
    q, k = torch.randn(2, 2, 2, 7, 4, dtype=torch.float64)
    lengths = torch.tensor([7, 3])
    visibility = Visibility(7, 7, lengths, lengths, causal)
    mechanism = load_mechanism(name, num_heads=2, head_dim=4)
    with torch.no_grad():
        whole = tally_attention(mechanism, q, k, visibility)
        monkeypatch.setattr(statistics, "MOST_SCORES", 2 * 2 * 7 * 3)
        parts = tally_attention(mechanism, q, k, visibility)
    assert parts.keys() == whole.keys()
    for key, tally in whole.items():
        assert (tally.count, tally.total) == pytest.approx((parts[key].count, parts[key].total))
        assert tally.squares == pytest.approx(parts[key].squares)


def test_mean_ignores_what_a_layer_cannot_say() -> None:
    nan = float("nan")
    assert mean_by_name([{"a": 1.0, "b": nan}, {"a": 3.0, "b": 4.0}]) == {"a": 2.0, "b": 4.0}


def test_a_tally_of_parts_is_that_of_the_whole() -> None:
    values = torch.randn(100) + 3
    parts = Tally.of(values[:7]) + Tally.of(values[7:]) + Tally.of(values[:0])
    assert parts.mean == pytest.approx(float(values.mean()))
    assert parts.variance == pytest.approx(float(values.var(correction=0)))
    assert math.isnan(Tally().mean)
    assert math.isnan(Tally().variance)


@pytest.mark.parametrize("measure", [measure_attention, measure_ffn])
def test_batches_make_no_difference(reversal: Corpus, measure) -> None:
    """A short last batch of long sentences weighs no more than its rows."""
    size = len(reversal.source_vocabulary)
    model = build_model(model_config("relu_centered"), size, size, True)
    split = reversal.split("train")
    ids = np.argsort(split.source_lengths)[-40:]
    whole = measure(model, [collate(split, ids)])
    parts = measure(model, [collate(split, ids[:37]), collate(split, ids[37:])])
    assert parts == pytest.approx(whole, rel=1e-4, nan_ok=True)


def test_measuring_changes_nothing_and_covers_every_site(reversal: Corpus) -> None:
    size = len(reversal.source_vocabulary)
    model = build_model(model_config("relu_centered"), size, size, True).train()
    batch = collate(reversal.split("train"), torch.arange(20).numpy())
    state = torch.random.get_rng_state()
    report = measure_attention(model, [batch])
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert len(attention_modules(model)) == 6
    assert {name.split("/")[0] for name in report} == {
        "encoder_self_attention", "decoder_self_attention", "cross_attention",
    }  # fmt: skip
    assert 0.3 < report["encoder_self_attention/sparsity"] < 0.7
