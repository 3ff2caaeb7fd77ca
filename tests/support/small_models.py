"""Small models and mechanisms that several tests build."""

from reluformer.attention.relu import ReluAttention
from reluformer.config.build import build_model
from reluformer.config.groups import group_node, group_options
from reluformer.config.model import ModelConfig
from reluformer.model.transformer import SITES, Transformer

OPTIONS = {
    "gamma": 1.0,
    "gamma_mode": "fixed",
    "scale": True,
    "center": "none",
    "normalisation_term": True,
    "entropy_term": True,
    "entropy_c": 0.7,
}
RELU = {
    **OPTIONS,
    "_target_": "reluformer.attention.relu.ReluAttention",
    "gamma_mode": "learned",
}
ATTENTIONS = {name: group_node("attention", name) for name in group_options("attention")}
FFN = {
    "_target_": "reluformer.model.ffn.FeedForward",
    "activation": "relu",
    "output_norm": False,
    "bias": True,
    "initialisation": "xavier",
}
VOCAB = 11


def model_config(attention: str = "relu", **changes: object) -> ModelConfig:
    values = {
        **dict.fromkeys(SITES, ATTENTIONS[attention]),
        "encoder_ffn": FFN,
        "decoder_ffn": FFN,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "d_model": 16,
        "ffn_dim": 24,
        "num_heads": 4,
        "pre_norm": False,
        "share_embeddings": "all",
        "max_positions": 20,
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        **changes,
    }
    return ModelConfig(**values)


def make_model(attention: str = "relu", **changes: object) -> Transformer:
    return build_model(model_config(attention, **changes), VOCAB, VOCAB, True).double().eval()


def relu_attention(num_heads: int = 1, head_dim: int = 4, **changes: object) -> ReluAttention:
    return ReluAttention(num_heads, head_dim, **{**OPTIONS, **changes})
