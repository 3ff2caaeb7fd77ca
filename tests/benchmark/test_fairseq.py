"""The rival by name is our softmax model: with the same weights it does the same."""

import sys

import pytest
import torch
from torch import nn

from reluformer.benchmark.fairseq import FairseqCriterion, FairseqTransformer, generate
from reluformer.benchmark.synthetic import synthetic_sources
from reluformer.config.bench import build_systems, run_benchmark
from reluformer.data.batch import collate_sources
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.errors import UserError
from reluformer.model.transformer import Transformer, count_parameters
from reluformer.training.loss import Criterion, Totals
from reluformer.training.options import OptimOptions

VARIANTS = [
    {"pre_norm": pre_norm, "share_embeddings": shared}
    for pre_norm in (False, True)
    for shared in ("none", "target", "all")
]

one_variant = pytest.mark.parametrize("twins", VARIANTS[:1], indirect=True)


def copy_weights(ours: Transformer, rival: FairseqTransformer) -> None:
    encoder, decoder = rival.model.encoder, rival.model.decoder
    pairs = [
        (ours.source_embedding.tokens, encoder.embed_tokens),
        (ours.target_embedding.tokens, decoder.embed_tokens),
        (ours.output_projection, decoder.output_projection),
    ]
    for stack in (encoder, decoder):  # which counts positions from 1, with a padding of 0
        stack.embed_positions.weights[1:257] = ours.source_embedding.positions
    if encoder.layer_norm is not None:
        pairs += [(ours.encoder_norm, encoder.layer_norm), (ours.decoder_norm, decoder.layer_norm)]
    for own, other in zip(
        [*ours.encoder_layers, *ours.decoder_layers],
        [*encoder.layers, *decoder.layers],
        strict=True,
    ):
        copy_attention(own.self_attention, other.self_attn)
        pairs += [
            (own.self_attention_residual.norm, other.self_attn_layer_norm),
            (own.ffn.keys, other.fc1),
            (own.ffn.values, other.fc2),
            (own.ffn_residual.norm, other.final_layer_norm),
        ]
    for own, other in zip(ours.decoder_layers, decoder.layers, strict=True):
        copy_attention(own.cross_attention, other.encoder_attn)
        pairs.append((own.cross_attention_residual.norm, other.encoder_attn_layer_norm))
    for own, other in pairs:
        other.load_state_dict(own.state_dict())


def copy_attention(own: nn.Module, other: nn.Module) -> None:
    inputs = [other.q_proj, other.k_proj, other.v_proj]
    weights, biases = own.input_projection.weight.chunk(3), own.input_projection.bias.chunk(3)
    for linear, weight, bias in zip(inputs, weights, biases, strict=True):
        linear.load_state_dict({"weight": weight, "bias": bias})
    other.out_proj.load_state_dict(own.output_projection.state_dict())


@pytest.fixture(params=VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))
def twins(request, bench_config):
    """Our softmax model and fairseq's, with equal weights that are all random."""
    pytest.importorskip(
        "fairseq", reason="needs fairseq, which must be built: reluformer/benchmark/fairseq.py"
    )
    config = bench_config(systems=["softmax", "fairseq"], model=request.param)
    ours, rival = build_systems(config).values()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for parameter in rival.parameters():
            parameter.fill_(torch.nan)  # whatever is not copied shows
    copy_weights(ours, rival)
    return ours, rival


def test_same_parameter_count(twins):
    ours, rival = twins
    assert count_parameters(ours) == count_parameters(rival)


def test_same_states_on_real_positions(twins, batch):
    ours, rival = (model.eval() for model in twins)
    real = batch.target != 0
    inputs = batch.src_tokens, batch.src_lengths, batch.prev_output_tokens
    torch.testing.assert_close(
        rival(*inputs)[real], ours(*inputs, batch.tgt_lengths).states[real], rtol=1e-4, atol=1e-5
    )


def test_same_loss_and_gradient(twins, batch):
    ours, rival = twins
    totals = Totals(batch.num_source_tokens, batch.num_target_tokens)
    expected = Criterion(ours, 0.1)(batch, totals, 0.0)
    found = FairseqCriterion(rival, 0.1)(batch, totals, 0.0)
    torch.testing.assert_close(found, expected)
    expected.total.backward()
    found.total.backward()
    torch.testing.assert_close(
        rival.model.decoder.output_projection.weight.grad, ours.output_projection.weight.grad
    )


@one_variant
def test_same_update(twins):
    """fairseq's Adam is AdamW, as ours is."""
    _, rival = twins
    options = OptimOptions(1e-3, "constant", 0, 0.0, 0.9, 0.98, 1e-8, 1e-2, 1.0)
    expected = torch.optim.AdamW(
        [own := nn.Parameter(torch.ones(3))],
        lr=1e-3,
        betas=(0.9, 0.98),
        eps=1e-8,
        weight_decay=1e-2,
    )
    optimiser = rival.adam(options)
    weight = rival.model.decoder.layers[0].fc1.bias
    with torch.no_grad():
        weight.fill_(1.0)
    weight.grad, own.grad = torch.full_like(weight, 0.3), torch.full((3,), 0.3)
    optimiser.step()
    expected.step()
    torch.testing.assert_close(weight[:3].data, own.data)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_same_translations(twins, beam_size):
    ours, rival = (model.eval() for model in twins)
    sources = synthetic_sources(5, mean_length=6, vocab_size=40, seed=4)
    options = DecodeOptions(beam_size=beam_size, min_length=7, max_len_a=0.0, max_len_b=7)
    expected = translate_batch(ours, *collate_sources(sources), options)
    found = generate(rival.generator(beam_size, 7), sources, torch.device("cpu"))
    assert [one[0] for one in found] == [one[0].tokens for one in expected]


@one_variant
@pytest.mark.parametrize("what", ["train", "windows", "translate"])
def test_it_runs_beside_ours(twins, bench_config, what):
    config = bench_config(what=what, systems=["relu", "fairseq"])
    for report in run_benchmark(config, "command"):
        assert list(report.outcome.rates) == ["relu", "fairseq"]


def test_without_its_package_it_says_how_to_install_it(bench_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "fairseq.models.transformer", None)
    with pytest.raises(UserError, match=r"fairseq needs its package.*pip install"):
        build_systems(bench_config(systems=["fairseq"]))


def test_what_it_cannot_do(bench_config):
    with pytest.raises(UserError, match="knows no int8"):
        bench_config(what="translate", systems=["fairseq"], precision="int8")
    with pytest.raises(UserError, match="what=train, windows or translate"):
        bench_config(what="attention", systems=["fairseq"])
