"""Subword vocabularies: SentencePiece models with fixed ids for the special symbols.

By default the text is not normalised (`identity`), so that decoding gives back what was encoded,
but for these: runs of spaces become one and those at the ends go; U+2581, SentencePiece's own
mark for a space, becomes a space; characters outside the vocabulary become U+2047 (with
`byte_fallback` they survive, spelt in bytes).
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import sentencepiece

from reluformer.data.documents import parse_mark
from reluformer.data.text import count_lines, read_lines
from reluformer.errors import UserError

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SEPARATOR = "<sep>"  # between the sentences of a document; in vocabularies of documents only
SPECIAL_IDS: dict[str, Any] = {"pad_id": PAD, "bos_id": BOS, "eos_id": EOS, "unk_id": UNK}
JOINT_FILE = "vocabulary.model"  # of a corpus that has one vocabulary for both languages
SIDE_FILES = {"source": "vocabulary.source.model", "target": "vocabulary.target.model"}
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # U+2581, which SentencePiece writes for a space
REMEMBERED_WORDS = 1 << 17  # with their tokens, 20 to 60 MB
LONGEST_WORD = 50  # characters; what has no spaces would fill the memory
LONGEST_PIECE = 16  # characters, SentencePiece's own limit
LARGEST_MODEL_BYTES = 64 << 20
LONGEST_TRAINING_LINE = 4192  # bytes; SentencePiece leaves out longer lines silently

TOO_MANY = re.compile(r"Vocabulary size too high .*?<= (\d+)")
TOO_FEW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")
NO_TEXT = re.compile(r"sentences_\.empty|all_chars_count")


class Vocabulary:
    """One SentencePiece model. Ids: PAD 0, BOS 1, EOS 2, UNK 3, then the pieces.

    `separator` is the id that stands between the sentences of a document; None where the
    vocabulary was made of single sentences.
    """

    def __init__(self, model: bytes, name: Path | str = "the vocabulary") -> None:
        self.model = model
        self.digest = hashlib.sha256(model).hexdigest()
        if not model:
            raise UserError(f"{name} is empty, not a SentencePiece model")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            pieces = self.pieces(range(len(self)))  # that each is text
        except (RuntimeError, ValueError, TypeError):
            raise UserError(f"{name} is not a SentencePiece model, or is damaged") from None
        ids = {key: getattr(self._processor, key)() for key in SPECIAL_IDS}
        if ids != SPECIAL_IDS:
            raise UserError(
                f"{name} numbers its special symbols {ids}, but {SPECIAL_IDS} is needed; "
                "make the vocabulary with reluformer-preprocess"
            )
        found = self._processor.piece_to_id(SEPARATOR)
        self.separator = found if self._processor.is_control(found) else None
        self._silent = {PAD, BOS, EOS, self.separator}
        self._words_stand_alone = self._has_tokens_by_word(pieces)
        self._tokens_of_word: Callable[[str], bytes] = lru_cache(REMEMBERED_WORDS)(self._tokens_of)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.model,)

    @classmethod
    def load(cls, path: Path | str) -> "Vocabulary":
        path = Path(path)
        try:
            if path.stat().st_size > LARGEST_MODEL_BYTES:
                raise UserError(f"{path} is too large for a SentencePiece model")
            return cls(path.read_bytes(), path)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None

    def __len__(self) -> int:
        return self._processor.get_piece_size()

    def encode(self, line: str) -> list[int]:
        """Token ids without BOS and EOS; symbols spelt out in the text are just text."""
        return self._processor.encode(line)

    def encode_packed(
        self, lines: Sequence[str]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Token ids of all lines end to end, and the number of tokens of each line.

        The tokens of `encode`, but a word's are remembered, as few words make most of a text:
        twice as fast and more.
        """
        rows = [self._tokens_of_line(line) for line in lines]
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        return np.frombuffer(b"".join(rows), dtype=np.int32), lengths // np.int32().itemsize

    def _has_tokens_by_word(self, pieces: Sequence[str]) -> bool:
        """Whether a line's tokens are those of its words; so in all models that are trained here.

        Not if pieces go on over spaces, nor if the space is none of them, as unknown words are then
        joined, nor if scores are other than the ranks of byte-pair encoding: probabilities are
        summed up from the beginning of a line, and rounded.
        """
        processor = self._processor
        space = processor.piece_to_id(SPACE)
        return (
            not any(SPACE in piece[1:] for piece in pieces)
            and not (processor.is_unknown(space) or processor.is_unused(space))
            and all(processor.get_score(token).is_integer() for token in range(len(self)))
            and self.encode("  a  a ") == 2 * self.encode("a")
        )

    def _tokens_of_line(self, line: str) -> bytes:
        words = line.split(" ")
        # SentencePiece takes its own mark for a space, but not for the end of a word.
        apart = self._words_stand_alone and SPACE not in line
        if not apart or max(map(len, words)) > LONGEST_WORD:
            return self._tokens_of(line)
        return b"".join(map(self._tokens_of_word, words))

    def _tokens_of(self, text: str) -> bytes:
        return self._processor.encode_as_numpy(text).tobytes()

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids; PAD, BOS, EOS and separators are left out."""
        return self._processor.decode([int(token) for token in ids if token not in self._silent])

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The pieces as they are in the model, special symbols included, for a reader's eyes."""
        return [self._processor.id_to_piece(int(token)) for token in ids]


@lru_cache(maxsize=2)
def _unpickled(model: bytes) -> Vocabulary:
    """In another process, the same vocabulary for the same model, with the words it remembers."""
    return Vocabulary(model)


@dataclass(frozen=True)
class TrainedVocabulary:
    """A new vocabulary, the number of lines it was learnt from, and of those left out as long."""

    vocabulary: Vocabulary
    lines: int
    too_long: int


def train_vocabulary(
    paths: Sequence[Path],
    size: int,
    character_coverage: float = 1.0,
    byte_fallback: bool = False,
    normalisation: str = "identity",
    max_lines: int = 250_000,
    seed: int = 1,
    documents: bool = False,
) -> TrainedVocabulary:
    """Learn byte-pair encoding of `size` symbols from text files (two of them: a joint one).

    For `documents` one of the symbols is the separator, and lines `<d>` are not text.

    From each file at most `max_lines` are drawn, evenly and by seed, so memory is bounded; the
    same lines are drawn from files of equal length. Lines over 4,192 bytes are left out. The
    same text and settings give the same model, byte for byte, on any number of cores.
    """
    lines = chain.from_iterable(draw_lines(path, max_lines, seed) for path in paths)
    drawn = _CountedLines(line for line in lines if not (documents and parse_mark(line)))
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(drawn),
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            character_coverage=character_coverage,
            byte_fallback=byte_fallback,
            normalization_rule_name=normalisation,
            max_sentence_length=LONGEST_TRAINING_LINE,
            max_sentencepiece_length=LONGEST_PIECE,
            num_threads=1,  # it is written into the model
            minloglevel=2,
            control_symbols=[SEPARATOR] if documents else [],
            **SPECIAL_IDS,
        )
    except RuntimeError as error:
        raise _explain(str(error), size, paths) from None
    return TrainedVocabulary(Vocabulary(model.getvalue()), drawn.lines, drawn.too_long)


def draw_lines(path: Path, size: int, seed: int) -> Iterator[str]:
    """`size` lines of a file (all, if it has fewer), each set equally likely, in file order.

    Selection sampling: a line is taken with probability (lines needed) / (lines left).
    Source: Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S.
    """
    random, left, needed = Random(seed), count_lines(path), size
    for line in read_lines(path):
        if random.random() * left < needed:
            needed -= 1
            yield line
        left -= 1


class _CountedLines:
    """Passes lines on to the trainer, but not those that are too long, and counts both."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._source = lines
        self.lines = 0
        self.too_long = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._source:
            if len(line.encode()) > LONGEST_TRAINING_LINE:
                self.too_long += 1
            else:
                self.lines += 1
                yield line


def _explain(message: str, size: int, paths: Sequence[Path]) -> UserError:
    """SentencePiece's complaint as one line in this toolkit's terms."""
    files = " and ".join(str(path) for path in paths)
    if found := TOO_MANY.search(message):
        return UserError(
            f"`vocab_size` is {size:,}, but {files} can fill only {int(found[1]):,} symbols; "
            f"set it to {found[1]} or less"
        )
    if found := TOO_FEW.search(message):
        return UserError(
            f"`vocab_size` is {size:,}, but the characters of {files} alone need {found[1]} "
            "symbols; raise it, or lower `character_coverage`"
        )
    if NO_TEXT.search(message):
        return UserError(f"no text to learn a vocabulary from in {files}")
    return UserError(f"SentencePiece cannot learn a vocabulary from {files}: {message}")
