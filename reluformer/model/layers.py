"""One layer of the encoder, one of the decoder."""

from jaxtyping import Float
from torch import Tensor, nn

from reluformer.attention.base import Penalty
from reluformer.attention.cache import LayerMemory
from reluformer.attention.multihead import MultiHeadAttention
from reluformer.model.dropout import dropout
from reluformer.visibility import Visibility


class Residual(nn.Module):
    """Joins a sublayer's update to the residual stream, with layer norm before or after it."""

    def __init__(self, d_model: int, dropout: float, pre_norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.dropout = dropout
        self.pre_norm = pre_norm

    def enter(self, x: Float[Tensor, "B T M"]) -> Float[Tensor, "B T M"]:
        """What the sublayer reads."""
        return self.norm(x) if self.pre_norm else x

    def forward(
        self, x: Float[Tensor, "B T M"], update: Float[Tensor, "B T M"]
    ) -> Float[Tensor, "B T M"]:
        """The stream x after the sublayer's update."""
        x = x + dropout(update, self.dropout, self.training)
        return x if self.pre_norm else self.norm(x)


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(
        self, attention: MultiHeadAttention, ffn: nn.Module, dropout: float, pre_norm: bool
    ) -> None:
        super().__init__()
        self.self_attention = attention
        self.self_attention_residual = Residual(attention.d_model, dropout, pre_norm)
        self.ffn = ffn
        self.ffn_residual = Residual(attention.d_model, dropout, pre_norm)

    def forward(
        self, x: Float[Tensor, "B S M"], visibility: Visibility, with_penalty: bool = False
    ) -> tuple[Float[Tensor, "B S M"], Penalty | None]:
        entered = self.self_attention_residual.enter(x)
        update, penalty = self.self_attention(entered, visibility, with_penalty=with_penalty)
        x = self.self_attention_residual(x, update)
        x = self.ffn_residual(x, self.ffn(self.ffn_residual.enter(x)))
        return x, penalty


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the source, then feed-forward."""

    def __init__(
        self,
        self_attention: MultiHeadAttention,
        cross_attention: MultiHeadAttention,
        ffn: nn.Module,
        dropout: float,
        pre_norm: bool,
    ) -> None:
        super().__init__()
        d_model = self_attention.d_model
        self.self_attention = self_attention
        self.self_attention_residual = Residual(d_model, dropout, pre_norm)
        self.cross_attention = cross_attention
        self.cross_attention_residual = Residual(d_model, dropout, pre_norm)
        self.ffn = ffn
        self.ffn_residual = Residual(d_model, dropout, pre_norm)

    def forward(
        self,
        x: Float[Tensor, "B T M"],
        memory: Float[Tensor, "B S M"],
        causal: Visibility,
        cross: Visibility,
        with_penalty: bool = False,
    ) -> tuple[Float[Tensor, "B T M"], Penalty | None, Penalty | None]:
        """All target positions at once; penalties of self-attention, then of cross-attention."""
        entered = self.self_attention_residual.enter(x)
        update, self_penalty = self.self_attention(entered, causal, with_penalty=with_penalty)
        x = self.self_attention_residual(x, update)
        entered = self.cross_attention_residual.enter(x)
        update, cross_penalty = self.cross_attention(entered, cross, memory, with_penalty)
        x = self.cross_attention_residual(x, update)
        x = self.ffn_residual(x, self.ffn(self.ffn_residual.enter(x)))
        return x, self_penalty, cross_penalty

    def step(
        self,
        x: Float[Tensor, "N 1 M"],
        memory: LayerMemory,
        own: Visibility,
        cross: Visibility,
    ) -> Float[Tensor, "N 1 M"]:
        """The newest target position of N rows, all beams of a sentence next to each other."""
        entered = self.self_attention_residual.enter(x)
        update = self.self_attention.step(entered, memory.target, memory.self_queries, own)
        x = self.self_attention_residual(x, update)
        entered = self.cross_attention_residual.enter(x)
        update = self.cross_attention.step_across(
            entered, memory.source, memory.cross_queries, cross
        )
        x = self.cross_attention_residual(x, update)
        return self.ffn_residual(x, self.ffn(self.ffn_residual.enter(x)))
