"""Settings of the model."""

from dataclasses import dataclass
from typing import Any

from reluformer.checks import check_choice, check_positive, check_share
from reluformer.errors import UserError

LARGEST_TABLE = 1 << 28  # numbers in the table of positions: 1 GB


@dataclass
class ModelConfig:
    """Sizes, and what sits at each of three attention and two feed-forward sites.

    The sites are open: nodes with a `_target_` and that class's own parameters.
    """

    encoder_self_attention: Any
    decoder_self_attention: Any
    cross_attention: Any
    encoder_ffn: Any
    decoder_ffn: Any
    encoder_layers: int
    decoder_layers: int
    d_model: int
    ffn_dim: int
    num_heads: int
    pre_norm: bool
    share_embeddings: str
    max_positions: int
    dropout: float
    attention_dropout: float
    activation_dropout: float

    def __post_init__(self) -> None:
        for name in ("encoder_layers", "decoder_layers", "d_model", "ffn_dim", "num_heads"):
            check_positive(name, getattr(self, name))
        check_positive("max_positions", self.max_positions)
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            check_share(name, getattr(self, name))
        check_choice("share_embeddings", self.share_embeddings, ("none", "target", "all"))
        if self.d_model % self.num_heads:
            raise UserError(
                f"`num_heads` must divide `d_model` ({self.d_model}), but is {self.num_heads}"
            )
        if self.max_positions * self.d_model > LARGEST_TABLE:
            raise UserError(
                f"`max_positions` times `d_model` must be {LARGEST_TABLE:,} at most, but is "
                f"{self.max_positions} times {self.d_model}"
            )
        if self.d_model % 2:
            raise UserError(f"`d_model` must be even (sines and cosines), but is {self.d_model}")
