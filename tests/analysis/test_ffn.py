"""Feed-forward statistics against numbers worked out by hand."""

import math

import pytest
import torch
from small_models import make_model

from reluformer.analysis.ffn import anisotropy, concentration, measure_ffn
from reluformer.data.batch import Batch


def test_concentration() -> None:
    """Of 20 slots, 10% are two and 1% none. A position without weight does not count."""
    slots = torch.zeros(3, 20)
    slots[0, :4] = torch.tensor([4.0, -3.0, 2.0, 1.0])
    slots[1] = 1.0
    found = concentration(slots)
    assert found["top_10%"].mean == pytest.approx((0.7 + 0.1) / 2)
    assert math.isnan(found["top_1%"].mean)


def test_anisotropy() -> None:
    """Of three unit values two are equal and the third is orthogonal: one pair of three."""
    assert anisotropy(torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 1.0]])) == pytest.approx(1 / 3)
    values = torch.randn(5, 7)
    cosines = torch.nn.functional.cosine_similarity(values[:, None], values[None], dim=-1)
    assert anisotropy(values) == pytest.approx(
        float(cosines[~torch.eye(5).bool()].mean()), rel=1e-4
    )
    assert math.isnan(anisotropy(torch.ones(1, 4)))


def batch(padding: int) -> Batch:
    """Two sentences, and so many columns of padding that nobody may notice."""
    tokens = torch.tensor([[4, 5, 6, 7], [8, 9, 10, 0]])
    tokens = torch.nn.functional.pad(tokens, (0, padding))
    lengths = torch.tensor([4, 3])
    return Batch(tokens, lengths, tokens, tokens, lengths, torch.arange(2).numpy(), 7, 7)


def test_each_site_is_measured_without_its_padding() -> None:
    model = make_model("softmax").train()
    found, padded = measure_ffn(model, [batch(0)]), measure_ffn(model, [batch(3)])
    assert model.training
    assert len(found) == 2 * 5
    assert found == pytest.approx(padded, nan_ok=True)
    assert 0 < found["encoder_ffn/top_10%"] <= 1
    assert found["decoder_ffn/variance_ratio"] > 0


def test_twice_the_output_is_four_times_the_ratio() -> None:
    """In the one layer of each stack, whose input does not depend on it."""
    model = make_model("softmax", encoder_layers=1, decoder_layers=1, pre_norm=True)
    before = measure_ffn(model, [batch(0)])["encoder_ffn/variance_ratio"]
    ffn = model.encoder_stack[0].ffn
    with torch.no_grad():
        ffn.values.weight.mul_(2)
        ffn.values.bias.mul_(2)
    after = measure_ffn(model, [batch(0)])["encoder_ffn/variance_ratio"]
    assert after == pytest.approx(4 * before)
