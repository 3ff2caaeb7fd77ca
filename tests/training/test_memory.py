"""What training keeps in memory, counted in bytes that wait for the backward pass."""

import pytest
import torch
from small_models import VOCAB, model_config

from reluformer.config.build import build_model
from reluformer.model.transformer import Transformer
from reluformer.training.memory import attention_cost, bytes_kept
from reluformer.training.update import autocast

CPU = torch.device("cpu")


def model_of(attention: str) -> Transformer:
    return build_model(model_config(attention, max_positions=200), VOCAB, VOCAB, True)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_cost_of_attention_predicts_other_lengths(precision: str) -> None:
    """What weights need in another precision is there at any length, and told apart."""
    model = model_of("rela_g")
    cost = attention_cost(model, CPU, precision, with_penalty=True)
    assert cost > 0.001
    widths = (32, 64, 192)
    with autocast(CPU, precision):
        found = [kept_of(model, width) for width in widths]
    expected = [width + cost * width**2 for width in widths]
    ratio = (expected[2] - expected[1]) / (expected[1] - expected[0])
    assert (found[2] - found[1]) / (found[1] - found[0]) == pytest.approx(ratio, rel=0.02)
    assert model.training


def test_few_positions_are_enough_to_measure_on() -> None:
    small = build_model(model_config("rela_g", max_positions=40), VOCAB, VOCAB, True)
    assert attention_cost(small, CPU, "fp32", with_penalty=False) > 0.001


@pytest.mark.parametrize("attention", ["softmax", "relu", "relu_centered", "pointwise"])
@pytest.mark.parametrize("num_heads", [1, 4])
def test_fused_attention_costs_nothing_more_for_long_sentences(
    attention: str, num_heads: int
) -> None:
    """Heads of 64 and of 16: of few keys, up to 128 and 32, weights are kept all the same."""
    config = model_config(attention, max_positions=200, d_model=64, num_heads=num_heads)
    model = build_model(config, VOCAB, VOCAB, True)
    before = kept_of(model, 20)
    assert attention_cost(model, CPU, "fp32", with_penalty=True) < 1e-4
    assert kept_of(model, 20) == before


@pytest.mark.parametrize("attention", ["relu_centered", "softmax", "rela_g"])
def test_recomputing_keeps_less_and_changes_no_gradient(attention: str) -> None:
    """Dropout included."""
    model = model_of(attention)
    tokens = torch.randint(4, VOCAB, (3, 30))
    lengths = torch.tensor([30, 12, 1])
    gradients = []
    for model.recompute in (False, True):
        torch.manual_seed(7)
        output = model(tokens, lengths, tokens, lengths, with_penalty=True)
        penalties = [p.entropy for site in output.penalties.values() for p in site if p.entropy]
        (model.logits(output.states).square().sum() + sum(penalties)).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
        model.zero_grad()
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name
    whole, less = (bytes_kept_with(model, recompute) for recompute in (False, True))
    assert less < whole / 4


def bytes_kept_with(model: Transformer, recompute: bool) -> int:
    model.recompute = recompute
    return kept_of(model, 64)


def kept_of(model: Transformer, width: int) -> int:
    """Bytes kept of one sentence of so many positions."""
    tokens, lengths = torch.full((1, width), 4), torch.tensor([width])
    return bytes_kept(model, lambda: model(tokens, lengths, tokens, lengths, with_penalty=True))
