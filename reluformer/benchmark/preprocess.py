"""Preparing text: lines a second of Moses tokenisation, then of everything that follows it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from sacremoses import MosesTokenizer
from sentencepiece import SentencePieceProcessor

from reluformer.benchmark.rounds import Work
from reluformer.console import console
from reluformer.data.assembly import VocabularyOptions
from reluformer.data.corpus import SIDES, Corpus
from reluformer.data.documents import parse_mark
from reluformer.data.encoding import Limits
from reluformer.data.moses import tokenise_lines
from reluformer.data.preprocess import prepare_corpus
from reluformer.data.text import read_lines, scan_text
from reluformer.data.vocabulary import Vocabulary
from reluformer.errors import UserError

LANGUAGE = "de"  # whose abbreviations Moses is to know; for its speed any will do
MAX_LENGTH = 256


def preprocessing_work(text: Path, num_lines: int, vocab_size: int, workers: int) -> Iterator[Work]:
    """Of so many lines of a real text, which is both sides of a corpus.

    None is repeated, as words that come again are quicker. Raises UserError where it is not a text.
    """
    scan_text(text)  # before any of it is in memory
    sentences = (line for line in read_lines(text) if parse_mark(line) is None)
    lines = list(islice(sentences, num_lines))
    if not lines:
        raise UserError(f"{text} is empty: `text` must be a file of sentences, one a line")
    yield Work(
        title="Moses tokenisation",
        unit="lines",
        amount=len(lines),
        tasks={
            f"ours, {workers} processes": lambda: sum(
                1 for _ in tokenise_lines(lines, LANGUAGE, workers)
            ),
            "sacremoses in a loop": partial(tokenise_in_a_loop, lines),
        },
        conditions=f"{len(lines):,} lines of {mean_length(lines):.0f} characters on average",
    )
    tokens = list(tokenise_lines(lines, LANGUAGE, workers))
    with TemporaryDirectory() as folder:
        yield Work(
            title="From tokens to the binary corpus",
            unit="pairs",
            amount=len(lines),
            tasks=corpus_tasks(tokens, Path(folder), vocab_size, workers),
            conditions=f"{len(lines):,} pairs of {mean_length(tokens):.0f} characters a side on "
            f"average; {vocab_size:,} joint pieces; {workers} processes; ours checks, encodes, "
            "writes and takes checksums, SentencePiece encodes in memory, in threads",
        )


def mean_length(lines: Sequence[str]) -> float:
    return sum(map(len, lines)) / len(lines)


def corpus_tasks(
    lines: Sequence[str], folder: Path, vocab_size: int, workers: int
) -> dict[str, Callable[[], object]]:
    """With a vocabulary to learn and with one that is there, and no more than to encode by it."""
    text = folder / "text"
    text.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    paths = dict.fromkeys(SIDES, text)

    def prepare(taken: dict[str, Vocabulary] | None = None) -> None:
        with quiet():
            prepare_corpus(
                {"train": paths},
                folder / "binary",
                {},
                VocabularyOptions(vocab_size),
                Limits(MAX_LENGTH),
                workers,
                overwrite=True,
                taken=taken,
            )

    prepare()
    vocabulary = Corpus.open(folder / "binary").source_vocabulary
    return {
        "ours, vocabulary learnt": prepare,
        "ours, vocabulary there": partial(prepare, dict.fromkeys(SIDES, vocabulary)),
        "SentencePiece alone": partial(encode_only, lines, vocabulary.model, workers),
    }


def tokenise_in_a_loop(lines: Sequence[str]) -> None:
    tokenizer = MosesTokenizer(LANGUAGE)
    for line in lines:
        tokenizer.tokenize(line, escape=True, return_str=True)


def encode_only(lines: Sequence[str], model: bytes, workers: int) -> None:
    processor = SentencePieceProcessor(model_proto=model)
    for _ in SIDES:
        processor.encode(list(lines), num_threads=workers)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, whose place belongs to the rounds."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before
