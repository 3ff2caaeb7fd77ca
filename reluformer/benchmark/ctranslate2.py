"""The rival in C++: CTranslate2 with the weights of our softmax model; needs its package."""

from collections.abc import Sequence
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from reluformer.attention.multihead import MultiHeadAttention
from reluformer.data.vocabulary import BOS, EOS, UNK
from reluformer.decoding.search import NEVER
from reluformer.errors import UserError
from reluformer.model.layers import Residual
from reluformer.model.transformer import Transformer, count_parameters
from reluformer.threads import set_threads

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
NAMES = {BOS: "<s>", EOS: "</s>", UNK: "<unk>"}


class CTranslate2:
    """Beam search over a model with softmax attention, as CTranslate2 does it.

    Raises UserError where the package is not there, or has no such precision on this device.
    """

    def __init__(self, model: Transformer, precision: str, device: torch.device) -> None:
        try:
            import ctranslate2
        except ImportError:
            raise UserError(
                "the system ctranslate2 needs its package: pip install 'reluformer[baselines]'"
            ) from None
        threads = torch.get_num_threads()
        self.num_parameters = count_parameters(model)
        self.words = [NAMES.get(piece, str(piece)) for piece in range(model.target_vocab_size)]
        with TemporaryDirectory() as folder:
            specification_of(model, self.words).save(folder)
            try:
                self.translator = ctranslate2.Translator(
                    folder,
                    device=device.type,
                    compute_type=PRECISIONS[precision],
                    inter_threads=threads if device.type == "cpu" else 1,
                    intra_threads=1,
                )
            except ValueError as problem:
                raise UserError(f"CTranslate2: {problem}") from None
        set_threads(threads)  # PyTorch's are now its intra_threads, too

    def translate(
        self, batches: Sequence[Sequence[Sequence[int]]], beam_size: int, length: int
    ) -> list[list[list[int]]]:
        """For each source of all batches its hypotheses of just this many pieces, best first."""
        found = self.translator.translate_batch(
            [
                [self.words[piece] for piece in [*source, EOS]]
                for batch in batches
                for source in batch
            ],
            beam_size=beam_size,
            num_hypotheses=beam_size,
            min_decoding_length=length,
            max_decoding_length=length,
            max_batch_size=len(batches[0]),
            suppress_sequences=[[self.words[piece]] for piece in NEVER],
        )
        return [[[int(word) for word in words] for words in one.hypotheses] for one in found]


def specification_of(model: Transformer, words: list[str]) -> Any:
    """The model as `ctranslate2.specs` wants it, with these words as both vocabularies."""
    from ctranslate2.specs import Activation, TransformerSpec

    first = model.encoder_stack[0]
    specification = TransformerSpec.from_config(
        (len(model.encoder_stack), len(model.decoder_stack)),
        first.self_attention.mechanism.num_heads,
        pre_norm=first.ffn_residual.pre_norm,
        activation=Activation.RELU,
    )
    encoder, decoder = specification.encoder, specification.decoder
    encoder.embeddings[0].weight = array(model.source_embedding.tokens.weight)
    decoder.embeddings.weight = array(model.target_embedding.tokens.weight)
    for stack in (encoder, decoder):
        stack.scale_embeddings = True
        stack.position_encodings.encodings = array(model.source_embedding.positions)
    for theirs, own in zip(encoder.layer, model.encoder_stack, strict=True):
        set_attention(theirs.self_attention, own.self_attention, own.self_attention_residual)
        set_ffn(theirs.ffn, own.ffn, own.ffn_residual)
    for theirs, ours in zip(decoder.layer, model.decoder_stack, strict=True):
        set_attention(theirs.self_attention, ours.self_attention, ours.self_attention_residual)
        set_attention(theirs.attention, ours.cross_attention, ours.cross_attention_residual, True)
        set_ffn(theirs.ffn, ours.ffn, ours.ffn_residual)
    if first.ffn_residual.pre_norm:
        set_norm(encoder.layer_norm, model.encoder_norm)
        set_norm(decoder.layer_norm, model.decoder_norm)
    decoder.projection.weight = array(model.output_projection.weight)
    specification.register_source_vocabulary(words)
    specification.register_target_vocabulary(words)
    specification.config.decoder_start_token = NAMES[BOS]
    specification.validate()
    specification.optimize()
    return specification


def set_attention(
    theirs: Any, ours: MultiHeadAttention, residual: Residual, across: bool = False
) -> None:
    """Queries, keys and values are one matrix in self-attention, the queries apart in cross-."""
    d_model, inputs = ours.d_model, ours.input_projection
    bounds = [0, d_model, 3 * d_model] if across else [0, 3 * d_model]
    for place, (begin, end) in enumerate(pairwise(bounds)):
        set_linear(theirs.linear[place], inputs.weight[begin:end], inputs.bias[begin:end])
    set_linear(theirs.linear[-1], ours.output_projection.weight, ours.output_projection.bias)
    set_norm(theirs.layer_norm, residual.norm)


def set_ffn(theirs: Any, ours: Any, residual: Residual) -> None:
    if ours.activation != "relu" or ours.keys.bias is None or ours.output_norm.state_dict():
        raise UserError("the system ctranslate2 is for networks of conf/ffn/relu.yaml only")
    set_linear(theirs.linear_0, ours.keys.weight, ours.keys.bias)
    set_linear(theirs.linear_1, ours.values.weight, ours.values.bias)
    set_norm(theirs.layer_norm, residual.norm)


def set_linear(theirs: Any, weight: Tensor, bias: Tensor) -> None:
    theirs.weight, theirs.bias = array(weight), array(bias)


def set_norm(theirs: Any, ours: nn.Module) -> None:
    assert isinstance(ours, nn.LayerNorm)
    theirs.gamma, theirs.beta = array(ours.weight), array(ours.bias)


def array(tensor: Tensor) -> Any:
    return tensor.detach().float().cpu().numpy()
