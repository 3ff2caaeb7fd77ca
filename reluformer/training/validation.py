"""How good the model is on the validation split: loss, and BLEU of its translations."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import sacrebleu
import torch
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

from reluformer.console import track
from reluformer.data.batch import collate
from reluformer.data.batching import padded_widths, plan_batches
from reluformer.data.corpus import Split
from reluformer.data.vocabulary import Vocabulary
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.errors import UserError
from reluformer.model.transformer import Transformer
from reluformer.training.loss import Criterion, Totals
from reluformer.training.signals import StopRequest
from reluformer.training.update import autocast


class Validation:
    """Loss over the whole split, and BLEU of up to `sentences` of it, spread evenly.

    BLEU compares decoded pieces with the reference's decoded pieces, by sacreBLEU: on the
    text as it was preprocessed, `tokenised` (Moses; compared as it is) or not (13a tokens). It
    chooses checkpoints; what one reports is `reluformer-score`'s.
    """

    def __init__(
        self,
        split: Split,
        vocabulary: Vocabulary,
        *,
        max_tokens: int,
        sentences: int,
        tokenised: bool,
        decode: DecodeOptions,
        precision: str,
    ) -> None:
        widest = int(padded_widths(split.source_lengths, split.target_lengths).max())
        if widest > max_tokens:
            raise UserError(
                f"`train.valid_max_tokens` is {max_tokens}, but the longest of the {split.name} "
                f"split needs {widest}: raise it to that at least"
            )
        self.split = split
        self.vocabulary = vocabulary
        self.max_tokens = max_tokens
        self.tokenised = tokenised
        self.decode = decode
        self.precision = precision
        count = min(sentences, len(split))
        self.translated = np.linspace(0, len(split) - 1, count).round().astype(np.int64)

    def run(
        self, criterion: Criterion, device: torch.device, stop: StopRequest
    ) -> dict[str, float]:
        """loss and nll in nats per token, perplexity, and bleu where sentences are translated.

        Raises Stopped before the end where a stop is wanted.
        """
        with evaluating(criterion), torch.no_grad(), autocast(device, self.precision):
            report = self._losses(criterion, device, stop)
            if len(self.translated):
                report["bleu"] = self._bleu(criterion.model, device, stop)
        return report

    def _losses(
        self, criterion: Criterion, device: torch.device, stop: StopRequest
    ) -> dict[str, float]:
        smoothed = nll = 0.0
        tokens = 0
        for ids in self._batches(np.arange(len(self.split))):
            stop.check()
            batch = collate(self.split, ids).to(device)
            losses = criterion(batch, Totals(1, 1), 0.0)  # sums, to be divided at the end
            smoothed += float(losses.smoothed)
            nll += float(losses.nll)
            tokens += batch.num_target_tokens
        return {
            "loss": smoothed / tokens,
            "nll": nll / tokens,
            "perplexity": math.exp(min(nll / tokens, 50.0)),
        }

    def _bleu(self, model: Transformer, device: torch.device, stop: StopRequest) -> float:
        hypotheses: dict[int, str] = {}
        for ids in track(list(self._batches(self.translated)), "validating"):
            stop.check()
            batch = collate(self.split, ids).to(device)
            found = translate_batch(model, batch.src_tokens, batch.src_lengths, self.decode)
            for i, best in zip(ids.tolist(), found, strict=True):
                hypotheses[i] = self.vocabulary.decode(best[0].tokens)
        references = {
            i: self.vocabulary.decode(self.split.target.take(np.array([i]))[0].tolist())
            for i in hypotheses
        }
        bleu = sacrebleu.corpus_bleu(
            list(hypotheses.values()),
            [list(references.values())],
            tokenize="none" if self.tokenised else "13a",
            force=True,
        )
        # They would keep 65,536 lines that they have split, most of which never come again.
        for tokeniser in (Tokenizer13a, TokenizerRegexp):
            if hasattr(tokeniser.__call__, "cache_clear"):
                tokeniser.__call__.cache_clear()
        return float(bleu.score)

    def _batches(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """The given sentences in batches by length, always the same ones."""
        source, target = self.split.source_lengths[ids], self.split.target_lengths[ids]
        for chosen in plan_batches(source, target, self.max_tokens, 0, 0, shuffle=False):
            yield ids[chosen]


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Without dropout inside the block."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
