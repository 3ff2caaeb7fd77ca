"""The rival by name: fairseq's Transformer, loss, Adam and beam search; needs its package."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reluformer.data.batch import Batch, collate_sources
from reluformer.data.vocabulary import BOS, EOS, PAD, UNK
from reluformer.errors import UserError
from reluformer.training.loss import Losses, Totals
from reluformer.training.options import OptimOptions

INSTALL = "pip install --no-deps fairseq-fixed bitarray cython scikit-learn scipy joblib narwhals"


class FairseqTransformer(nn.Module):
    """fairseq's Transformer in the sizes of our softmax model, by its own code alone.

    Its functions are fairseq's own; ours are the batches and, in training, what stands around
    them: clipping, and autocast for bf16. Raises UserError where its package is not there.
    """

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
        with only_warnings():
            try:
                from fairseq.models.transformer import TransformerConfig, TransformerModelBase
            except ImportError as problem:
                raise UserError(
                    f"the system fairseq needs its package ({problem}): {INSTALL}"
                ) from None
        settings = TransformerConfig()
        for stack, layers in (
            (settings.encoder, encoder_layers),
            (settings.decoder, decoder_layers),
        ):
            stack.layers, stack.embed_dim, stack.ffn_embed_dim = layers, d_model, ffn_dim
            stack.attention_heads, stack.normalize_before = num_heads, pre_norm
        settings.decoder.input_dim = settings.decoder.output_dim = d_model
        settings.dropout, settings.attention_dropout = dropout, attention_dropout
        settings.activation_dropout = activation_dropout
        settings.share_all_embeddings = share_embeddings == "all"
        settings.share_decoder_input_output_embed = share_embeddings != "none"
        settings.max_source_positions = settings.max_target_positions = max_positions
        self.max_positions = max_positions
        source = dictionary(source_vocab_size)
        target = source if share_embeddings == "all" else dictionary(target_vocab_size)
        self.task = SimpleNamespace(source_dictionary=source, target_dictionary=target)
        self.model = TransformerModelBase.build_model(settings, self.task)

    def forward(
        self,
        src_tokens: Int[Tensor, "B S"],
        src_lengths: Int[Tensor, " B"],
        prev_output_tokens: Int[Tensor, "B T"],
    ) -> Float[Tensor, "B T M"]:
        """Decoder states of all target positions, before the output projection."""
        return self.model(src_tokens, src_lengths, prev_output_tokens, features_only=True)[0]

    def adam(self, options: OptimOptions) -> torch.optim.Optimizer:
        """fairseq's Adam, as it is on a CPU."""
        from fairseq.optim.adam import Adam

        return Adam(
            self.parameters(),
            lr=options.learning_rate,
            betas=(options.beta1, options.beta2),
            eps=options.epsilon,
            weight_decay=options.weight_decay,
        )

    def generator(self, beam_size: int, length: int) -> Any:
        """fairseq's beam search for translations of just this many pieces."""
        from fairseq.sequence_generator import SequenceGenerator

        symbols = self.task.target_dictionary
        return SequenceGenerator(
            [self.model],
            symbols,
            beam_size=beam_size,
            max_len_b=length,
            min_len=length,
            unk_penalty=torch.inf,
            tokens_to_suppress=[symbols[BOS]],
        )


class FairseqCriterion(nn.Module):
    """The rival with its label-smoothed cross-entropy, in the place of a `Criterion`."""

    def __init__(self, model: FairseqTransformer, label_smoothing: float) -> None:
        super().__init__()
        from fairseq.criterions.label_smoothed_cross_entropy import (
            LabelSmoothedCrossEntropyCriterion,
        )

        self.model = model
        self.criterion = LabelSmoothedCrossEntropyCriterion(model.task, False, label_smoothing)

    def forward(self, batch: Batch, totals: Totals, regulariser_weight: float) -> Losses:
        inputs = {
            "src_tokens": batch.src_tokens,
            "src_lengths": batch.src_lengths,
            "prev_output_tokens": batch.prev_output_tokens,
        }
        sample = {"net_input": inputs, "target": batch.target, "ntokens": totals.target_tokens}
        summed, _, log = self.criterion(self.model.model, sample)
        loss, zero = summed / totals.target_tokens, torch.zeros(())
        return Losses(loss, loss, log["nll_loss"] / totals.target_tokens, zero, zero)


def generate(
    generator: Any, sources: Sequence[Sequence[int]], device: torch.device
) -> list[list[list[int]]]:
    """For each source its hypotheses, best first."""
    tokens, lengths = collate_sources(sources)
    inputs = {"src_tokens": tokens.to(device), "src_lengths": lengths.to(device)}
    found = generator.generate([], {"net_input": inputs}, bos_token=BOS)
    return [[one["tokens"].tolist()[:-1] for one in hypotheses] for hypotheses in found]


def dictionary(size: int) -> Any:
    """fairseq's, with our ids of the special symbols; the others have their ids for names."""
    from fairseq.data import Dictionary

    symbols = Dictionary(extra_special_symbols=[str(i) for i in range(4, size)])
    symbols.pad_index, symbols.bos_index, symbols.eos_index, symbols.unk_index = PAD, BOS, EOS, UNK
    return symbols


@contextmanager
def only_warnings() -> Iterator[None]:
    """On import fairseq tells of packages for speech that it does not find."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
