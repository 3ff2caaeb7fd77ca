"""The rival is our softmax model: with the same weights it says, loses and translates the same."""

import pytest
import torch
from torch import nn

from reluformer.benchmark.pytorch import PyTorchCriterion, PyTorchTransformer
from reluformer.benchmark.synthetic import synthetic_sources
from reluformer.config.bench import PYTORCH_LABEL, build_systems
from reluformer.data.batch import collate_sources
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.model.transformer import Transformer, count_parameters
from reluformer.training.loss import Criterion, Totals

VARIANTS = [
    {"pre_norm": pre_norm, "share_embeddings": shared}
    for pre_norm in (False, True)
    for shared in ("none", "target", "all")
]


def copy_weights(ours: Transformer, rival: PyTorchTransformer) -> None:
    """Give the rival our weights; every one of its parameters is written."""
    pairs = [
        (ours.source_embedding.tokens, rival.source_tokens),
        (ours.target_embedding.tokens, rival.target_tokens),
        (ours.output_projection, rival.output_projection),
    ]
    stacks = rival.transformer.encoder, rival.transformer.decoder
    for norm, stack in zip((ours.encoder_norm, ours.decoder_norm), stacks, strict=True):
        if stack.norm is not None:
            pairs.append((norm, stack.norm))
    for own, other in zip(ours.encoder_layers, rival.transformer.encoder.layers, strict=True):
        copy_attention(own.self_attention, other.self_attn)
        pairs += [
            (own.self_attention_residual.norm, other.norm1),
            (own.ffn.keys, other.linear1),
            (own.ffn.values, other.linear2),
            (own.ffn_residual.norm, other.norm2),
        ]
    for own, other in zip(ours.decoder_layers, rival.transformer.decoder.layers, strict=True):
        copy_attention(own.self_attention, other.self_attn)
        copy_attention(own.cross_attention, other.multihead_attn)
        pairs += [
            (own.self_attention_residual.norm, other.norm1),
            (own.cross_attention_residual.norm, other.norm2),
            (own.ffn.keys, other.linear1),
            (own.ffn.values, other.linear2),
            (own.ffn_residual.norm, other.norm3),
        ]
    for own, other in pairs:
        other.load_state_dict(own.state_dict())


def copy_attention(own: nn.Module, other: nn.MultiheadAttention) -> None:
    other.load_state_dict(
        {
            "in_proj_weight": own.input_projection.weight,
            "in_proj_bias": own.input_projection.bias,
            "out_proj.weight": own.output_projection.weight,
            "out_proj.bias": own.output_projection.bias,
        }
    )


@pytest.fixture(params=VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))
def twins(request, bench_config):
    """Our softmax model and the rival, with equal weights that are all random."""
    systems = build_systems(bench_config(systems=["softmax", "pytorch"], model=request.param))
    ours, rival = systems["softmax"], systems[PYTORCH_LABEL]
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for parameter in rival.parameters():
            parameter.fill_(torch.nan)  # whatever is not copied shows
    copy_weights(ours, rival)
    return ours, rival


def losses_and_gradients(criterion, batch, totals):
    loss = criterion(batch, totals, 0.0).total
    model = criterion.model
    loss.backward()
    return loss.detach(), model.output_projection.weight.grad


def test_same_parameter_count(twins):
    ours, rival = twins
    assert count_parameters(ours) == count_parameters(rival)


def test_same_logits_on_real_positions(twins, batch):
    ours, rival = twins
    real = batch.target != 0
    states = ours(batch.src_tokens, batch.src_lengths, batch.prev_output_tokens, batch.tgt_lengths)
    logits = rival.output_projection(
        rival(batch.src_tokens, batch.src_lengths, batch.prev_output_tokens)
    )
    torch.testing.assert_close(logits[real], ours.logits(states.states)[real])


def test_same_loss_and_gradient(twins, batch):
    ours, rival = twins
    totals = Totals(batch.num_source_tokens, batch.num_target_tokens)
    expected = losses_and_gradients(Criterion(ours, 0.1), batch, totals)
    found = losses_and_gradients(PyTorchCriterion(rival, 0.1), batch, totals)
    torch.testing.assert_close(found, expected)


def test_same_translations(twins):
    ours, rival = (model.eval() for model in twins)
    sources = synthetic_sources(3, mean_length=5, vocab_size=40, seed=4)
    # Sentences of different limits leave the batch one after the other.
    options = DecodeOptions(beam_size=3, n_best=3, max_len_a=1.0, max_len_b=1)
    expected = translate_batch(ours, *collate_sources(sources), options)
    found = translate_batch(rival, *collate_sources(sources), options)
    for own, other in zip(expected, found, strict=True):
        assert [one.tokens for one in own] == [one.tokens for one in other]
        scores = ([one.score for one in own], [one.score for one in other])
        torch.testing.assert_close(*map(torch.tensor, scores))


def test_a_sentence_that_leaves_at_once_takes_its_source_along(twins):
    """Two rows before and two after: those of other sentences."""
    ours, rival = (model.eval() for model in twins)
    sources = [[7, 8], [9, 10, 11, 12, 13, 14, 15, 16, 17]]
    options = DecodeOptions(beam_size=2, max_len_a=0.3, max_len_b=0)
    expected, found = (
        [best.tokens for best, *_ in translate_batch(model, *collate_sources(sources), options)]
        for model in (ours, rival)
    )
    assert found == expected
    assert found[0] == []


def test_dropout_is_where_ours_is(bench_config):
    rates = {"dropout": 0.3, "attention_dropout": 0.2, "activation_dropout": 0.1}
    rival = build_systems(bench_config(systems=["pytorch"], model=rates))[PYTORCH_LABEL]
    assert rival.dropout.p == 0.3
    for layer in [*rival.transformer.encoder.layers, *rival.transformer.decoder.layers]:
        assert layer.dropout1.p == layer.dropout2.p == 0.3
        assert layer.self_attn.dropout == 0.2
        assert layer.dropout.p == 0.1
