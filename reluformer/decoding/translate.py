"""Text in, text out: subwords, batches and search around one model."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from reluformer.console import console
from reluformer.data.batch import collate_sources
from reluformer.data.documents import Mark, parse_mark
from reluformer.data.moses import looks_tokenised
from reluformer.data.shortlist import Shortlist
from reluformer.data.text import NUL, describe_nul
from reluformer.data.vocabulary import LONGEST_PIECE, Vocabulary
from reluformer.data.windows import Window, WindowOptions, cut_windows
from reluformer.decoding.hypothesis import Hypothesis
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.decoding.shortlist import ShortlistedModel
from reluformer.decoding.side_by_side import side_by_side
from reluformer.decoding.treatment import Treatment
from reluformer.decoding.windows import Sentences, WindowCounts, halve, in_sentences, join, merge
from reluformer.errors import UserError, is_out_of_memory
from reluformer.model.transformer import Transformer

Item = TypeVar("Item")
ROOM = 1.1  # a window's translation may be longer than by its expected length
USUAL_BEAM = 5  # wider ones have smaller batches, as memory grows with the product of both
LONGEST_LINE = 100_000  # characters that are read of a line, whatever the model's positions


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
    the model's limit, None standing for more than were looked at. The mark of a document is no
    sentence and stays as it is.
    """

    number: int
    source: str
    prepared: str
    dropped: int | None
    renderings: list[Rendering]
    mark: Mark | None = None

    @property
    def text(self) -> str:
        if self.mark is not None:
            return str(self.mark)
        return self.renderings[0].text if self.renderings else ""


@dataclass(frozen=True)
class _Source:
    """One line on its way to the model."""

    number: int
    line: str
    prepared: str
    tokens: list[int]
    dropped: int | None
    mark: Mark | None = None


class Translator:
    """Translates lines with one model, in batches of similar length.

    On a CPU, batches are searched side by side, one on each of PyTorch's threads.

    Lines are sentences; those of a document (all between two marks) go to the model in windows, if
    `windows` says so, of which the next begins with the last `overlap` sentences of the one before.
    Each line has its own translation all the same: a window whose translation cannot be taken apart
    into as many sentences is translated again in halves; `counts` keeps account.

    A batch holds at most `max_tokens` source positions, padding included (with a beam over 5 fewer,
    so that it has no more hypotheses than with one of 5); a longer window goes alone. What becomes
    of a line with more pieces than `trained_length`, or than the model has positions, is up to
    `long_input`: truncate (with a warning), refuse (an error) or extrapolate. Unless that is
    extrapolate, a window's translation has at most `trained_length` pieces, too: if it reaches
    that, there is room for it in halves. Windows leave room by `length_ratio`, target tokens to a
    source token in training. With a `shortlist` each sentence has its own short vocabulary.
    """

    def __init__(
        self,
        model: Transformer,
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        treatment: Treatment,
        options: DecodeOptions,
        max_tokens: int = 2048,
        long_input: str = "truncate",
        windows: WindowOptions | None = None,
        overlap: int = 0,
        trained_length: int | None = None,
        length_ratio: float = 1.0,
        shortlist: Shortlist | None = None,
    ) -> None:
        self.model = model.eval()
        self.shortlist = shortlist
        self.trained_length = trained_length
        self.length_ratio = length_ratio
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary
        self.treatment = treatment
        self.options = options
        self.max_tokens = max_tokens * USUAL_BEAM // max(options.beam_size, USUAL_BEAM)
        self.long_input = long_input
        self.windows = windows or WindowOptions()
        self.overlap = overlap
        self.counts = WindowCounts()
        self._nul_reported = False
        if long_input == "extrapolate" and self.windows.length:
            self._make_room(self.windows.length)

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
        filled = [source for source in sources if source.tokens]
        advance(len(sources) - len(filled))
        windows = self._cut(sources)
        inside = [filled[window.begin : window.end] for window in windows]
        self.counts.windows += sum(len(window) > 1 for window in inside)
        news = np.diff([window.end for window in windows], prepend=0).tolist()
        translations = self._search_windows(inside, lambda i: advance(news[i]))
        self.counts.repaired += sum(sentences is None for sentences in translations)
        found = iter(merge(windows, self._complete(inside, translations), self.counts))
        return [self._render(source, next(found) if source.tokens else []) for source in sources]

    def _cut(self, sources: Sequence[_Source]) -> list[Window]:
        """Windows of the sources that have tokens, by their numbers among those."""
        lengths: list[int] = []
        borders = [0]
        session: str | None = None
        for source in sources:
            if source.mark is not None:
                if not (self.windows.join and source.mark.session == session):
                    borders.append(len(lengths))
                session = source.mark.session
            elif source.tokens:
                lengths.append(len(source.tokens))
        borders.append(len(lengths))
        # Without a length every sentence is too long to share a window.
        length = int((self.windows.length or 1) / max(1.0, ROOM * self.length_ratio))
        return cut_windows([np.array(lengths, dtype=np.int64)], borders, length, self.overlap)

    def _search_windows(
        self, windows: Sequence[list[_Source]], done: Callable[[int], object] = lambda i: None
    ) -> list[Sentences | None]:
        """What each window's translation is in sentences, if it is in as many as the source."""
        separator, penalty = self.target_vocabulary.separator, self.options.length_penalty
        rows = [
            join([source.tokens for source in window], self.source_vocabulary.separator)
            for window in windows
        ]
        found: list[Sentences | None] = [None for _ in windows]
        lengths = np.array([len(row) + 1 for row in rows], dtype=np.int64)
        batches = list(batches_by_length(lengths, self.max_tokens))

        def search(batch: list[int]) -> list[list[Hypothesis]]:
            return self._search([rows[i] for i in batch], [windows[i][0].number for i in batch])

        results = side_by_side(search, batches, self._device)
        for batch, rankings in zip(batches, results, strict=True):
            for i, ranking in zip(batch, rankings, strict=True):
                if len(windows[i]) == 1 or not self._is_cut(ranking[0]):
                    found[i] = in_sentences(ranking, len(windows[i]), separator, penalty)
                done(i)
        return found

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def _most_pieces(self) -> int | None:
        """Of a window's translation; None for as many as there are positions."""
        bounded = self.windows.length is not None and self.long_input != "extrapolate"
        return self.trained_length if bounded else None

    def _is_cut(self, hypothesis: Hypothesis) -> bool:
        """Whether it ends where training did, so that it may be unfinished."""
        return self._most_pieces is not None and len(hypothesis.tokens) >= self._most_pieces

    def _complete(
        self, windows: Sequence[list[_Source]], found: Sequence[Sentences | None]
    ) -> list[Sentences]:
        """Translate windows for which nothing was found again in halves, and halves of those."""
        wrong = [window for window, sentences in zip(windows, found, strict=True) if not sentences]
        halves = [half for window in wrong for half in halve(window)]
        again = iter(self._complete(halves, self._search_windows(halves)) if halves else [])
        return [sentences or next(again) + next(again) for sentences in found]

    def _check_tokenisation(self, lines: Sequence[str]) -> None:
        treatment = self.treatment
        if treatment.moses and not treatment.input_tokenised and looks_tokenised(lines):
            console.print(
                "warning: the input looks tokenised already and is tokenised once more; "
                "`input_tokenised=true` takes it as it is"
            )

    def _read(self, number: int, line: str) -> _Source:
        if mark := parse_mark(line):
            return _Source(number, line, str(mark), [], 0, mark)
        if NUL in line and not self._nul_reported:
            console.print(describe_nul(line, f"line {number:,}"))
            self._nul_reported = True
        limit = min(self.trained_length or LONGEST_LINE, self.model.max_positions - 1)
        # No piece is longer than LONGEST_PIECE: what is behind so many characters would be cut.
        most = LONGEST_LINE if self.long_input == "extrapolate" else (limit + 1) * LONGEST_PIECE
        short = " ".join(line.split()) if len(line) > most else line
        prepared = self.treatment.prepare(short[:most])
        tokens = self.source_vocabulary.encode(prepared) if prepared.strip() else []
        self.counts.long += len(tokens) > limit
        if self.long_input == "extrapolate":
            self._make_room(len(tokens) + 1)
            limit = self.model.max_positions - 1
        dropped = max(len(tokens) - limit, 0) if len(short) <= most else None
        if dropped != 0:
            self._report_long(number, limit, dropped)
        return _Source(number, line, prepared, tokens[:limit], dropped)

    def _make_room(self, length: int) -> None:
        """Have positions for a source of this length and its longest translation."""
        self.model.extend_positions(max(length, self.options.longest(length) + 1))

    def _report_long(self, number: int, limit: int, dropped: int | None) -> None:
        size = f"{limit + dropped:,}" if dropped else f"far more than {limit:,}"
        does = "was trained on" if limit == self.trained_length else "reads"
        found = f"line {number:,} has {size} pieces, but the model {does} {limit:,} at most"
        if self.long_input == "refuse":
            raise UserError(f"{found}: split it, or say `long_input=truncate` or `extrapolate`")
        console.print(f"warning: {found}; only its beginning, {limit:,} pieces, is translated")

    def _search(self, rows: list[list[int]], numbers: list[int]) -> list[list[Hypothesis]]:
        """Search a batch; one that does not fit the device's memory is halved."""
        src_tokens, src_lengths = (tensor.to(self._device) for tensor in collate_sources(rows))
        rest = src_tokens, src_lengths, self.options, numbers, self._most_pieces
        try:
            if self.shortlist is None:
                return translate_batch(self.model, *rest)
            model = ShortlistedModel(self.model, src_tokens, self.shortlist)
            return model.restore(translate_batch(model, *rest))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                raise UserError(
                    f"line {numbers[0]:,} does not fit the device's memory: lower "
                    "`decode.beam_size`, or split it"
                ) from None
        half = len(rows) // 2
        return self._search(rows[:half], numbers[:half]) + self._search(rows[half:], numbers[half:])

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
        return Translation(
            source.number, source.line, source.prepared, source.dropped, renderings, source.mark
        )


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


def buffers(
    items: Iterable[Item], size: int, begins: Callable[[Item], bool] = lambda item: False
) -> Iterator[list[Item]]:
    """The items in lists of `size`, the last one shorter.

    Where the first item begins a document, lists hold whole documents: `size` items and what there
    is up to the next that begins one.
    """
    buffer: list[Item] = []
    in_documents = False
    for number, item in enumerate(items):
        begin = begins(item)
        in_documents |= begin and number == 0
        if in_documents and begin and len(buffer) >= size:
            yield buffer
            buffer = []
        buffer.append(item)
        if not in_documents and len(buffer) == size:
            yield buffer
            buffer = []
    if buffer:
        yield buffer
