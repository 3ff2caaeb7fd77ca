"""Models in bf16 and int8: what they compute beside fp32, and that a batch changes nothing."""

from math import isfinite

import pytest
import torch
from mechanisms import MECHANISMS
from small_models import VOCAB, model_config

from reluformer.config.build import build_model
from reluformer.decoding.files import weights_digest
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.kernels.linear import Linear
from reluformer.model.precision import Int8Linear, PackedLinear, convert
from reluformer.model.transformer import Transformer


def model_in(precision: str, attention: str = "relu") -> Transformer:
    torch.manual_seed(3)
    model = build_model(model_config(attention), VOCAB, VOCAB, True).eval()
    convert(model, precision)
    return model


def test_whole_numbers_come_close() -> None:
    """7 bits for inputs and 8 for weights; outliers in one row do not coarsen another."""
    linear = Linear(64, 48)
    int8, x = Int8Linear(linear), torch.randn(5, 7, 64)
    x[0, 0] *= 1000
    expected = linear(x)
    error = (int8(x) - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert error.max() < 0.04
    assert torch.equal(int8.part(x, 16, 40), int8(x)[..., 16:40])


def test_small_whole_numbers_come_out_exactly() -> None:
    linear = torch.nn.Linear(32, 16, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.randint(-127, 128, (16, 32)))
        linear.weight[:, 0] = 127
    x = torch.randint(-63, 64, (4, 32)).float()
    x[:, 0] = 63
    assert torch.equal(Int8Linear(linear)(x), linear(x))


def test_a_row_of_zeros_and_one_row_among_others() -> None:
    int8 = Int8Linear(torch.nn.Linear(24, 8))
    x = torch.randn(6, 24)
    x[2] = 0
    assert torch.equal(int8(x)[2], int8.bias)
    for i in range(6):
        assert torch.equal(int8(x[i : i + 1])[0], int8(x)[i])


@pytest.mark.parametrize("attention", MECHANISMS)
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_scores_are_those_of_fp32_but_for_rounding(precision: str, attention: str) -> None:
    tokens, lengths = torch.randint(4, VOCAB, (3, 9)), torch.tensor([9, 5, 2])
    logits = []
    for one in ("fp32", precision):
        model = model_in(one, attention)
        with torch.no_grad():
            states = model(tokens, lengths, tokens, lengths).states
            logits.append(model.logits(states)[:, :2])
    assert logits[1].dtype == torch.float32
    # SimA's first position depends on the signs of its queries and keys alone.
    bound = 0.5 if attention == "sima" else 0.15
    assert (logits[1] - logits[0]).norm() / logits[0].norm() < bound


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_packed_layers_give_a_row_the_same_bits_among_others(precision: str, rows: int) -> None:
    linear = torch.nn.Linear(64, 48)
    x = torch.randn(200, 64)
    if precision == "bf16":
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            pytest.skip("needs a CPU for which oneDNN has bf16")
        linear, x = linear.bfloat16(), x.bfloat16()
    packed = PackedLinear(linear)
    torch.testing.assert_close(packed(x), linear(x))
    assert torch.equal(packed(x[:rows]), packed(x)[:rows])
    assert torch.equal(packed.part(x, 16, 40)[:rows], packed.part(x[:rows], 16, 40))


def test_what_is_more_than_a_linear_layer_stays_as_it_is() -> None:
    class Scaled(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    model = build_model(model_config("relu"), VOCAB, VOCAB, True).eval()
    own, heard = Scaled(8, 8), model.decoder_stack[0].ffn.values
    model.encoder_stack[0].ffn.keys = own
    heard.register_forward_hook(lambda *_: None)
    convert(model, "int8")
    assert model.encoder_stack[0].ffn.keys is own
    assert model.decoder_stack[0].ffn.values is heard


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("attention", MECHANISMS)
def test_every_mechanism_decodes(attention: str, precision: str) -> None:
    model = model_in(precision, attention)
    tokens, lengths = torch.randint(4, VOCAB, (2, 9)), torch.tensor([9, 5])
    found = translate_batch(model, tokens, lengths, DecodeOptions(max_len_a=0.0, max_len_b=7))
    assert all(isfinite(best.score) for best, *_ in found)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_sentences_of_a_batch_are_translated_as_alone(precision: str) -> None:
    model = model_in(precision)
    assert model.target_vocab_size == VOCAB
    assert not any(isinstance(module, torch.nn.Linear) for module in model.modules())
    tokens, lengths = torch.randint(4, VOCAB, (4, 9)), torch.tensor([9, 9, 5, 3])
    options = DecodeOptions(beam_size=3, max_len_a=0.0, max_len_b=12)
    together = translate_batch(model, tokens, lengths, options)
    for i, length in enumerate(lengths.tolist()):
        [alone] = translate_batch(model, tokens[i : i + 1, :length], lengths[i : i + 1], options)
        assert [one.tokens for one in alone] == [one.tokens for one in together[i]]


def test_precisions_have_digests_of_their_own() -> None:
    """So that a translation is not continued in another one."""
    digests = {weights_digest(model_in(precision)) for precision in ("fp32", "bf16", "int8")}
    assert len(digests) == 3
