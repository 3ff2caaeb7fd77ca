"""The rival: the same model as a competent user of PyTorch writes it around nn.Transformer."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from reluformer.data.batch import Batch
from reluformer.data.vocabulary import PAD
from reluformer.model.embedding import sinusoids, token_embedding
from reluformer.training.loss import Losses, Totals
from reluformer.training.options import OptimOptions


@dataclass(eq=False)
class Prefix:
    """What decoding remembers, row by row of the beam: everything, as there is no cache."""

    memory: Float[Tensor, "N S M"]
    is_pad: Bool[Tensor, "N S"]
    tokens: Int[Tensor, "N T"]
    num_beams: int = 1

    def select(self, rows: Int[Tensor, "B K"], sentences: Int[Tensor, " B"]) -> None:
        """Keep these rows; where no sentence leaves, each finds its own source already there."""
        stays = len(sentences) * self.num_beams == len(self.memory)
        stays, self.num_beams = stays and rows.shape[1] == self.num_beams, rows.shape[1]
        rows = rows.flatten()
        self.tokens = self.tokens[rows]
        if not stays:
            self.memory, self.is_pad = self.memory[rows], self.is_pad[rows]


class PyTorchTransformer(nn.Module):
    """Embeddings, nn.Transformer and an output projection, equal to our softmax model.

    Two things make it equal: attention and inner FFN have their own dropout rates, where
    nn.Transformer gives them the residual's, and a post-norm stack has no second layer norm
    behind its last one.

    It translates under our beam search, whose steps it computes from the whole prefix:
    nn.TransformerDecoder keeps no keys and values.
    """

    positions: Tensor

    def __init__(
        self,
        source_vocab_size: int,
        target_vocab_size: int,
        *,
        encoder_layers: int,
        decoder_layers: int,
        d_model: int,
        ffn_dim: int,
        num_heads: int,
        pre_norm: bool,
        share_embeddings: str,
        max_positions: int,
        dropout: float,
        attention_dropout: float,
        activation_dropout: float,
    ) -> None:
        super().__init__()
        self.target_tokens = token_embedding(target_vocab_size, d_model)
        self.source_tokens = self.target_tokens
        if share_embeddings != "all":
            self.source_tokens = token_embedding(source_vocab_size, d_model)
        self.output_projection = nn.Linear(d_model, target_vocab_size, bias=False)
        if share_embeddings != "none":
            self.output_projection.weight = self.target_tokens.weight
        self.register_buffer("positions", sinusoids(max_positions, d_model), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.transformer = nn.Transformer(
            d_model,
            num_heads,
            encoder_layers,
            decoder_layers,
            ffn_dim,
            dropout,
            batch_first=True,
            norm_first=pre_norm,
        )
        if not pre_norm:
            self.transformer.encoder.norm = self.transformer.decoder.norm = None
        for module in self.transformer.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = attention_dropout
            elif isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
                module.dropout.p = activation_dropout

    @property
    def max_positions(self) -> int:
        return len(self.positions)

    def forward(
        self,
        src_tokens: Int[Tensor, "B S"],
        src_lengths: Int[Tensor, " B"],
        prev_output_tokens: Int[Tensor, "B T"],
    ) -> Float[Tensor, "B T M"]:
        """Decoder states of all target positions, before the output projection."""
        memory, is_pad = self.encode(src_tokens, src_lengths)
        return self.decode(prev_output_tokens, memory, is_pad)

    def encode(
        self, src_tokens: Int[Tensor, "B S"], src_lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B S M"], Bool[Tensor, "B S"]]:
        """The encoded source, and which positions of it are padding."""
        positions = torch.arange(src_tokens.shape[1], device=src_tokens.device)
        is_pad = positions >= src_lengths[:, None]
        x = self._embed(self.source_tokens, src_tokens)
        return self.transformer.encoder(x, src_key_padding_mask=is_pad), is_pad

    def decode(
        self,
        prev_output_tokens: Int[Tensor, "B T"],
        memory: Float[Tensor, "B S M"],
        is_pad: Bool[Tensor, "B S"],
    ) -> Float[Tensor, "B T M"]:
        """Decoder states; causality hides the target's padding, which is on the right."""
        length, device = prev_output_tokens.shape[1], prev_output_tokens.device
        return self.transformer.decoder(
            self._embed(self.target_tokens, prev_output_tokens),
            memory,
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(length, device=device),
            tgt_is_causal=True,
            memory_key_padding_mask=is_pad,
        )

    def adam(self, options: OptimOptions) -> torch.optim.Optimizer:
        """PyTorch's, at its fastest."""
        return torch.optim.AdamW(
            self.parameters(),
            lr=options.learning_rate,
            betas=(options.beta1, options.beta2),
            eps=options.epsilon,
            weight_decay=options.weight_decay,
            fused=True,
        )

    def start(self, encoded: tuple[Tensor, Tensor]) -> Prefix:
        memory, is_pad = encoded
        tokens = torch.empty(len(memory), 0, dtype=torch.long, device=memory.device)
        return Prefix(memory, is_pad, tokens)

    def step(self, tokens: Int[Tensor, " N"], prefix: Prefix) -> Float[Tensor, "N V"]:
        prefix.tokens = torch.cat([prefix.tokens, tokens[:, None]], dim=1)
        states = self.decode(prefix.tokens, prefix.memory, prefix.is_pad)
        return self.output_projection(states[:, -1]).float()

    def _embed(self, embedding: nn.Embedding, tokens: Int[Tensor, "B T"]) -> Tensor:
        x = embedding(tokens) * math.sqrt(embedding.embedding_dim)
        return self.dropout(x + self.positions[: tokens.shape[1]])


class PyTorchCriterion(nn.Module):
    """The rival with its loss, in the place of a `Criterion`; it tells no nll apart."""

    def __init__(self, model: PyTorchTransformer, label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        # PyTorch spreads it over all V types, our loss over the V - 1 wrong ones.
        vocab_size = model.output_projection.out_features
        self.label_smoothing = label_smoothing * vocab_size / (vocab_size - 1)

    def forward(self, batch: Batch, totals: Totals, regulariser_weight: float) -> Losses:
        states = self.model(batch.src_tokens, batch.src_lengths, batch.prev_output_tokens)
        real = batch.target != PAD
        summed = functional.cross_entropy(
            self.model.output_projection(states[real]),
            batch.target[real],
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        loss, zero = summed / totals.target_tokens, torch.zeros(())
        return Losses(loss, loss, zero, zero, zero)
