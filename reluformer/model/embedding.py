"""Tokens and positions as vectors."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reluformer.errors import UserError
from reluformer.model.dropout import dropout

PAD = 0


def sinusoids(num_positions: int, d_model: int) -> Float[Tensor, "T M"]:
    """Sines in the first half of the channels, cosines in the second.

    Wavelengths form a geometric progression from 2 pi to 10000 * 2 pi. Source: Vaswani et al.
    2017, section 3.5. Differs from it in: sines and cosines stand in halves instead of taking
    turns, as in fairseq; a fixed permutation of channels.
    """
    half = d_model // 2
    rates = torch.exp(torch.arange(half) * (-math.log(10000.0) / max(half - 1, 1)))
    angles = torch.arange(num_positions)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Embedding(nn.Module):
    """Token embeddings times sqrt(M), plus sinusoidal positions, then dropout."""

    positions: Tensor

    def __init__(self, tokens: nn.Embedding, max_positions: int, dropout: float) -> None:
        super().__init__()
        self.tokens = tokens
        self.scale = math.sqrt(tokens.embedding_dim)
        self.dropout = dropout
        table = sinusoids(max_positions, tokens.embedding_dim)
        self.register_buffer("positions", table, persistent=False)

    def forward(self, tokens: Int[Tensor, "B T"], first: int = 0) -> Float[Tensor, "B T M"]:
        """Embed tokens that stand at positions first, first + 1, ..."""
        last = first + tokens.shape[1]
        if last > len(self.positions):
            raise UserError(
                f"a sequence of {last} pieces is longer than the model's limit of "
                f"{len(self.positions)} (`model.max_positions`)"
            )
        x = self.tokens(tokens) * self.scale + self.positions[first:last]
        return dropout(x, self.dropout, self.training)

    def extend(self, num_positions: int) -> None:
        """Have at least so many positions, though the model may never have seen the new ones."""
        if num_positions > len(self.positions):
            table = sinusoids(num_positions, self.tokens.embedding_dim)
            self.positions = table.to(self.positions)


def token_embedding(num_tokens: int, d_model: int) -> nn.Embedding:
    """Normal with deviation M^-0.5, zeros for padding."""
    embedding = nn.Embedding(num_tokens, d_model, padding_idx=PAD)
    nn.init.normal_(embedding.weight, std=d_model**-0.5)
    with torch.no_grad():
        embedding.weight[PAD].zero_()
    return embedding
