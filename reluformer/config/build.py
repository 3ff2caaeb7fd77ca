"""From validated settings to a model."""

from typing import Any

from torch import nn

from reluformer.attention.multihead import MultiHeadAttention
from reluformer.config.instantiate import instantiate
from reluformer.config.model import ModelConfig
from reluformer.errors import UserError
from reluformer.kernels.linear import Linear
from reluformer.model.embedding import Embedding, token_embedding
from reluformer.model.layers import DecoderLayer, EncoderLayer
from reluformer.model.transformer import CROSS, DECODER_SELF, ENCODER_SELF, Transformer


def build_model(
    config: ModelConfig,
    source_vocab_size: int,
    target_vocab_size: int,
    joint_vocabulary: bool,
    allow: tuple[str, ...] = (),
) -> Transformer:
    """A freshly initialised model; `allow` names modules outside the package that may be used."""
    if config.share_embeddings == "all" and not joint_vocabulary:
        raise UserError(
            "`model.share_embeddings` all needs one vocabulary for both languages: set "
            "`data.joint_vocabulary` true and preprocess again, or share target or none"
        )
    target_tokens = token_embedding(target_vocab_size, config.d_model)
    if config.share_embeddings == "all":
        source_tokens = target_tokens
    else:
        source_tokens = token_embedding(source_vocab_size, config.d_model)
    output = Linear(config.d_model, target_vocab_size, bias=False)
    if config.share_embeddings == "none":
        nn.init.normal_(output.weight, std=config.d_model**-0.5)
    else:
        output.weight = target_tokens.weight
    return Transformer(
        Embedding(source_tokens, config.max_positions, config.dropout),
        Embedding(target_tokens, config.max_positions, config.dropout),
        [_encoder_layer(config, allow) for _ in range(config.encoder_layers)],
        [_decoder_layer(config, allow) for _ in range(config.decoder_layers)],
        output,
        config.pre_norm,
    )


def _encoder_layer(config: ModelConfig, allow: tuple[str, ...]) -> EncoderLayer:
    attention = _attention(config.encoder_self_attention, config, allow)
    ffn = _ffn(config.encoder_ffn, config, allow)
    return EncoderLayer(attention, ffn, config.dropout, config.pre_norm)


def _decoder_layer(config: ModelConfig, allow: tuple[str, ...]) -> DecoderLayer:
    own = _attention(config.decoder_self_attention, config, allow)
    cross = _attention(config.cross_attention, config, allow)
    for site, attention in ((DECODER_SELF, own), (CROSS, cross)):
        if not attention.mechanism.traits.causal:
            raise UserError(
                f"`model.{site}` may not be {type(attention.mechanism).__name__}: in a decoder it "
                "would look at later words (its traits say causal=False); take it at "
                f"`model.{ENCODER_SELF}` only"
            )
    ffn = _ffn(config.decoder_ffn, config, allow)
    return DecoderLayer(own, cross, ffn, config.dropout, config.pre_norm)


def _attention(node: Any, config: ModelConfig, allow: tuple[str, ...]) -> MultiHeadAttention:
    mechanism = instantiate(
        node,
        allow=allow,
        num_heads=config.num_heads,
        head_dim=config.d_model // config.num_heads,
        dropout=config.attention_dropout,
    )
    return MultiHeadAttention(config.d_model, mechanism)


def _ffn(node: Any, config: ModelConfig, allow: tuple[str, ...]) -> nn.Module:
    ffn: nn.Module = instantiate(
        node,
        allow=allow,
        d_model=config.d_model,
        ffn_dim=config.ffn_dim,
        dropout=config.activation_dropout,
    )
    return ffn
