"""The whole model, for each attention mechanism that ships."""

from dataclasses import replace

import pytest
import torch
from small_models import ATTENTIONS, FFN, VOCAB, make_model, model_config

from reluformer.attention.softmax import SoftmaxAttention
from reluformer.config.build import build_model
from reluformer.errors import UserError
from reluformer.model.embedding import sinusoids
from reluformer.model.transformer import ENCODER_SELF, SITES, Transformer, count_parameters


@pytest.fixture(params=[(name, norm) for name in ATTENTIONS for norm in (False, True)], ids=str)
def model(request: pytest.FixtureRequest) -> Transformer:
    attention, pre_norm = request.param
    return make_model(attention, pre_norm=pre_norm)


def random_pairs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three pairs of different lengths: source, its lengths, target so far, its lengths."""
    generator = torch.Generator().manual_seed(3)
    source = torch.randint(4, VOCAB, (3, 7), generator=generator)
    target = torch.randint(4, VOCAB, (3, 6), generator=generator)
    source_lengths, target_lengths = torch.tensor([7, 3, 1]), torch.tensor([4, 6, 1])
    source[torch.arange(7) >= source_lengths[:, None]] = 0
    target[torch.arange(6) >= target_lengths[:, None]] = 0
    return source, source_lengths, target, target_lengths


def test_a_sentence_among_others_gives_what_it_gives_alone(model: Transformer) -> None:
    source, source_lengths, target, target_lengths = random_pairs()
    together = model(source, source_lengths, target, target_lengths).states
    for b, (s, t) in enumerate(zip(source_lengths, target_lengths, strict=True)):
        alone = model(
            source[b : b + 1, :s], source_lengths[b : b + 1], target[b : b + 1, :t],
            target_lengths[b : b + 1],
        ).states  # fmt: skip
        torch.testing.assert_close(alone[0], together[b, :t])


def test_later_target_tokens_do_not_matter_and_earlier_ones_do(model: Transformer) -> None:
    source, source_lengths, target, _ = random_pairs()
    full = torch.full((3,), 6)
    before = model(source, source_lengths, target, full).states
    changed = target.clone()
    changed[:, 3] = 4 + (changed[:, 3] - 3) % (VOCAB - 4)
    after = model(source, source_lengths, changed, full).states
    torch.testing.assert_close(after[:, :3], before[:, :3], rtol=0, atol=0)
    assert not torch.isclose(after[:, 3:], before[:, 3:]).all(-1).any()


@pytest.mark.parametrize("beam_size", [1, 3])
def test_step_by_step_equals_one_pass(model: Transformer, beam_size: int) -> None:
    """With the cache, each row its own beam, and sources of different lengths."""
    source, source_lengths, target, _ = random_pairs()
    rows = target.repeat_interleave(beam_size, 0)
    rows = 4 + (rows + torch.arange(len(rows))[:, None]) % (VOCAB - 4)  # every beam differs
    whole = model(
        source.repeat_interleave(beam_size, 0),
        source_lengths.repeat_interleave(beam_size, 0),
        rows,
        torch.full((len(rows),), 6),
    )
    cache = model.start(model.encode(source, source_lengths))
    sentences = torch.arange(3)
    cache.select(sentences[:, None].expand(-1, beam_size), sentences)
    steps = torch.stack([model.step(rows[:, t], cache) for t in range(6)], dim=1)
    torch.testing.assert_close(steps, model.logits(whole.states))


def test_selected_rows_go_on_as_if_they_had_always_been_there(model: Transformer) -> None:
    """Beams reordered and a sentence dropped in the middle of decoding."""
    source, source_lengths, target, _ = random_pairs()
    rows = target.repeat_interleave(2, 0)
    rows = 4 + (rows + torch.arange(6)[:, None]) % (VOCAB - 4)
    rows[:, 0] = target[:, 0].repeat_interleave(2)  # two beams from one beginning
    cache = model.start(model.encode(source, source_lengths))
    model.step(target[:, 0], cache)
    cache.select(torch.tensor([[0, 0], [1, 1], [2, 2]]), torch.arange(3))
    for t in range(1, 3):
        model.step(rows[:, t], cache)
    keep = torch.tensor([[1, 0], [5, 5]])
    cache.select(keep, torch.tensor([0, 2]))
    keep = keep.flatten()
    after = model.step(rows[keep, 3], cache)
    whole = model(
        source[[0, 0, 2, 2]], source_lengths[[0, 0, 2, 2]], rows[keep, :4], torch.full((4,), 4)
    )
    torch.testing.assert_close(after, model.logits(whole.states[:, 3]))


def test_penalties_come_from_every_layer_of_every_site_or_from_none() -> None:
    pairs = random_pairs()
    found = make_model("relu")(*pairs, with_penalty=True).penalties
    assert {site: len(layers) for site, layers in found.items()} == dict.fromkeys(SITES, 2)
    for kind in ("softmax", "relu"):
        without = make_model(kind)(*pairs, with_penalty=kind == "softmax").penalties
        assert not any(without.values())


def test_penalty_of_a_padded_batch_is_that_of_its_sentences() -> None:
    """Padding adds no row to either term."""
    model = make_model("relu_centered")
    source, source_lengths, target, target_lengths = random_pairs()
    together = model(source, source_lengths, target, target_lengths, True).penalties
    alone = [
        model(
            source[b : b + 1, : source_lengths[b]], source_lengths[b : b + 1],
            target[b : b + 1, : target_lengths[b]], target_lengths[b : b + 1], True,
        ).penalties
        for b in range(3)
    ]  # fmt: skip
    for site in SITES:
        for layer in range(2):
            summed = torch.stack([torch.stack(parts[site][layer]) for parts in alone]).sum(0)
            torch.testing.assert_close(torch.stack(together[site][layer]), summed)


def test_size_of_fairseqs_iwslt_model() -> None:
    """39,469,056 weights with dictionaries of 8,848 and 6,632 types, decoder embeddings tied."""
    config = model_config(
        "softmax",
        encoder_layers=6,
        decoder_layers=6,
        d_model=512,
        ffn_dim=1024,
        share_embeddings="target",
    )
    with torch.device("meta"):
        model = build_model(config, 8848, 6632, False)
    assert count_parameters(model) == 39_469_056


@pytest.mark.parametrize(("shared", "count"), [("none", 3), ("target", 2), ("all", 1)])
def test_embeddings_are_shared_as_asked(shared: str, count: int) -> None:
    model = make_model(share_embeddings=shared)
    matrices = {
        id(model.source_embedding.tokens.weight),
        id(model.target_embedding.tokens.weight),
        id(model.output_projection.weight),
    }
    assert len(matrices) == count


class LooksAhead(SoftmaxAttention):
    """A mechanism that admits it may not stand in a decoder."""

    traits = replace(SoftmaxAttention.traits, causal=False)


@pytest.mark.parametrize("site", SITES)
def test_mechanism_that_looks_ahead_is_refused_in_a_decoder(site: str) -> None:
    node = {"_target_": f"{__name__}.LooksAhead"}
    config = model_config(**{site: node})
    if site == ENCODER_SELF:
        build_model(config, VOCAB, VOCAB, True, allow=(__name__,))
        return
    with pytest.raises(UserError, match=f"`model.{site}` may not be LooksAhead: in a decoder"):
        build_model(config, VOCAB, VOCAB, True, allow=(__name__,))


def test_he_initialisation_keeps_variance_through_the_ffn() -> None:
    """Variance 2 / fan-in in both matrices; what leaves has the variance of what met the ReLU."""
    config = model_config(encoder_ffn={**FFN, "initialisation": "he"}, d_model=256, ffn_dim=1024)
    layer = build_model(config, VOCAB, VOCAB, True).encoder_layers[0].ffn
    with torch.no_grad():
        assert float(layer.keys.weight.var()) == pytest.approx(2 / 256, rel=0.02)
        assert float(layer.values.weight.var()) == pytest.approx(2 / 1024, rel=0.02)
        slots = layer.keys(torch.randn(1, 2000, 256))
        update = layer.values(slots.relu())
        assert float(update.var()) == pytest.approx(float(slots.var()), rel=0.05)


def test_sinusoids_follow_the_formula() -> None:
    """Position 5 of eight channels, rates 1, 1/21.54, 1/464, 1/10000."""
    table = sinusoids(6, 8)
    rates = 10000.0 ** -(torch.arange(4) / 3)
    torch.testing.assert_close(table[5], torch.cat([(5 * rates).sin(), (5 * rates).cos()]))


def test_too_long_a_sequence_is_refused() -> None:
    model = make_model()
    with pytest.raises(UserError, match=r"a sequence of 21 pieces is longer than .* limit of 20"):
        model.encode(torch.full((1, 21), 5), torch.tensor([21]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 5}, r"`num_heads` must divide `d_model` \(16\), but is 5"),
        ({"dropout": 1.0}, r"`dropout` must lie in \[0, 1\), but is 1.0"),
        ({"share_embeddings": "some"}, "`share_embeddings` must be one of none, target, all"),
        ({"encoder_layers": 0}, "`encoder_layers` must be greater than 0"),
    ],
)
def test_impossible_sizes_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_config(**change)


def test_sharing_all_embeddings_needs_one_vocabulary() -> None:
    with pytest.raises(UserError, match="needs one vocabulary for both languages"):
        build_model(model_config(), VOCAB, VOCAB, joint_vocabulary=False)
