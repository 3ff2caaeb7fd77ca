"""Text in, text out: subwords, batches and search around one model."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch

from reluformer.console import console
from reluformer.data.batch import collate_sources
from reluformer.data.moses import looks_tokenised
from reluformer.data.vocabulary import LONGEST_PIECE, Vocabulary
from reluformer.decoding.hypothesis import Hypothesis
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.decoding.treatment import Treatment
from reluformer.errors import UserError
from reluformer.model.transformer import Transformer

Item = TypeVar("Item")


@dataclass(frozen=True)
class Rendering:
    """A hypothesis as text: `text` for the user, `tokenised` as the model wrote it."""

    text: str
    tokenised: str
    pieces: list[str]
    hypothesis: Hypothesis


@dataclass(frozen=True)
class Translation:
    """Line `number` (from 1) and its n best, best first; a blank line has none.

    `prepared` is the source as the model reads it, in words; `dropped` counts the pieces beyond
    the model's limit, None standing for more than were looked at.
    """

    number: int
    source: str
    prepared: str
    dropped: int | None
    renderings: list[Rendering]

    @property
    def text(self) -> str:
        return self.renderings[0].text if self.renderings else ""


@dataclass(frozen=True)
class _Source:
    """One line on its way to the model."""

    number: int
    line: str
    prepared: str
    tokens: list[int]
    dropped: int | None


class Translator:
    """Translates lines with one model, in batches of similar length.

    A batch holds at most `max_tokens` source positions, padding included; a longer sentence goes
    alone. A line with more pieces than the model has positions is cut with a warning, or, with
    `refuse_long`, an error.
    """

    def __init__(
        self,
        model: Transformer,
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        treatment: Treatment,
        options: DecodeOptions,
        max_tokens: int = 2048,
        refuse_long: bool = False,
    ) -> None:
        self.model = model.eval()
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary
        self.treatment = treatment
        self.options = options
        self.max_tokens = max_tokens
        self.refuse_long = refuse_long

    def translate(
        self,
        lines: Sequence[str],
        first_number: int = 1,
        advance: Callable[[int], object] = lambda count: None,
    ) -> list[Translation]:
        """One translation for each line, in order; `advance` is told of lines as they get done."""
        if first_number == 1:
            self._check_tokenisation(lines)
        sources = [self._read(number, line) for number, line in enumerate(lines, first_number)]
        hypotheses: list[list[Hypothesis]] = [[] for _ in sources]
        filled = [place for place, source in enumerate(sources) if source.tokens]
        advance(len(sources) - len(filled))
        lengths = np.array([len(sources[place].tokens) + 1 for place in filled], dtype=np.int64)
        for batch in batches_by_length(lengths, self.max_tokens):
            places = [filled[i] for i in batch]
            found = self._search([sources[place] for place in places])
            for place, ranked in zip(places, found, strict=True):
                hypotheses[place] = ranked
            advance(len(places))
        return [
            self._render(source, ranked) for source, ranked in zip(sources, hypotheses, strict=True)
        ]

    def _check_tokenisation(self, lines: Sequence[str]) -> None:
        treatment = self.treatment
        if treatment.moses and not treatment.input_tokenised and looks_tokenised(lines):
            console.print(
                "warning: the input looks tokenised already and is tokenised once more; "
                "`input_tokenised=true` takes it as it is"
            )

    def _read(self, number: int, line: str) -> _Source:
        limit = self.model.max_positions - 1
        # No piece is longer than LONGEST_PIECE: what is behind so many characters would be cut.
        most = (limit + 1) * LONGEST_PIECE
        short = " ".join(line.split()) if len(line) > most else line
        prepared = self.treatment.prepare(short[:most])
        tokens = self.source_vocabulary.encode(prepared) if prepared.strip() else []
        dropped = max(len(tokens) - limit, 0) if len(short) <= most else None
        if dropped != 0:
            self._report_long(number, limit, dropped)
        return _Source(number, line, prepared, tokens[:limit], dropped)

    def _report_long(self, number: int, limit: int, dropped: int | None) -> None:
        size = f"{limit + dropped:,}" if dropped else f"far more than {limit:,}"
        found = f"line {number:,} has {size} pieces, but the model reads at most {limit:,}"
        if self.refuse_long:
            raise UserError(f"{found}: split it, or say `long_input=truncate`")
        console.print(f"warning: {found}; only its beginning, {limit:,} pieces, is translated")

    def _search(self, sources: list[_Source]) -> list[list[Hypothesis]]:
        """Search a batch; one that does not fit the device's memory is halved."""
        src_tokens, src_lengths = collate_sources([source.tokens for source in sources])
        device = next(self.model.parameters()).device
        try:
            return translate_batch(
                self.model,
                src_tokens.to(device),
                src_lengths.to(device),
                self.options,
                [source.number for source in sources],
            )
        except torch.OutOfMemoryError:
            if len(sources) == 1:
                raise UserError(
                    f"line {sources[0].number:,} does not fit the device's memory: lower "
                    "`decode.beam_size`"
                ) from None
        half = len(sources) // 2
        return self._search(sources[:half]) + self._search(sources[half:])

    def _render(self, source: _Source, hypotheses: list[Hypothesis]) -> Translation:
        if hypotheses and not math.isfinite(hypotheses[0].score):
            raise UserError(
                f"the model gives no finite probability for line {source.number:,}: its training "
                "must have diverged, take another checkpoint or run"
            )
        renderings = []
        for hypothesis in hypotheses:
            # A piece may stand for any byte, even a line's end, but a line must stay one line.
            tokenised = self.target_vocabulary.decode(hypothesis.tokens).replace("\n", " ")
            text = self.treatment.restore(tokenised)
            pieces = self.target_vocabulary.pieces(hypothesis.tokens)
            renderings.append(Rendering(text, tokenised, pieces, hypothesis))
        return Translation(source.number, source.line, source.prepared, source.dropped, renderings)


def batches_by_length(lengths: np.ndarray, max_tokens: int) -> Iterator[list[int]]:
    """Indices in batches of count * longest <= max_tokens, each of at least one, longest first.

    The order lets memory that will not do be noticed at once.
    """
    batch: list[int] = []
    longest = 0
    for i in np.argsort(-lengths, kind="stable").tolist():
        if batch and (len(batch) + 1) * longest > max_tokens:
            yield batch
            batch = []
        longest = longest if batch else int(lengths[i])
        batch.append(i)
    if batch:
        yield batch


def buffers(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of `size`, the last one shorter."""
    remaining = iter(items)
    return iter(lambda: list(islice(remaining, size)), [])
