"""BLEU of whole documents, and of documents by their length."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from reluformer.data.documents import MARK, Mark, has_marks, parse_mark
from reluformer.data.forms import Forms
from reluformer.errors import UserError
from reluformer.evaluation.scores import detokenised_metrics, tokenised_metrics

SHORTEST_BUCKET = 32  # words; shorter documents are put together


@dataclass(frozen=True)
class Bucket:
    """Documents whose references have so many words, and plain text's BLEU of them."""

    words: str
    documents: int
    sentence_bleu: float
    document_bleu: float


@dataclass(frozen=True)
class DocumentScores:
    """d-BLEU: corpus BLEU where each document's sentences are one line, joined by spaces.

    Source: Liu et al. 2020 ("Multilingual Denoising Pre-training"), section 4. Its n-grams may
    cross from sentence to sentence, so it is higher than sentence-level BLEU (s-BLEU) and never
    to be compared with it. `tokenised_bleu` is of Moses tokens in lower case.
    """

    documents: int
    bleu: float
    signature: str
    tokenised_bleu: float
    tokenised_signature: str
    buckets: list[Bucket]


@dataclass(frozen=True)
class Layout:
    """The marks in a text by their places; in a text without any, every line is a sentence."""

    marks: dict[int, Mark]

    @classmethod
    def of(cls, lines: Sequence[str]) -> "Layout":
        """That of a text whose first line is a mark; of others nothing is one."""
        if not has_marks(lines):
            return cls({})
        parsed = ((i, parse_mark(line)) for i, line in enumerate(lines))
        return cls({i: mark for i, mark in parsed if mark is not None})

    @property
    def starts(self) -> list[int]:
        """The sentences that are first behind a mark, each once."""
        return sorted({place - number for number, place in enumerate(sorted(self.marks))})

    def sentences(self, lines: Sequence[str]) -> list[str]:
        """The lines that are no marks."""
        return [line for i, line in enumerate(lines) if i not in self.marks]

    def lines(self, sentences: Sequence[str]) -> list[str]:
        """The text again, marks included."""
        rest = iter(sentences)
        total = len(sentences) + len(self.marks)
        return [str(self.marks[i]) if i in self.marks else next(rest) for i in range(total)]

    def check(self, lines: Sequence[str], name: str, reference: str) -> None:
        """Raise UserError unless this text has a mark where, and only where, the reference has."""
        for i, line in enumerate(lines):
            if (parse_mark(line) is not None) != (i in self.marks) and self.marks:
                where = f"line {i + 1:,} of {name} and of {reference}"
                raise UserError(
                    f"{where} must both begin a document (`{MARK}`) or neither: translate the "
                    "source with its marks"
                )


def score_documents(
    hypothesis: Forms, reference: Forms, starts: Sequence[int], lowercase: bool = False
) -> DocumentScores:
    """Score documents that begin at these sentences (from 0, ascending, each once)."""
    total = len(reference.plain)
    spans = list(pairwise([*(start for start in starts if start < total), total]))
    plain, tokens = detokenised_metrics(lowercase)["BLEU"], tokenised_metrics()["BLEU"]
    references = join(reference.plain, spans)
    hypotheses = join(hypothesis.plain, spans)

    def bucket(name: str, chosen: Sequence[int]) -> Bucket:
        inside = [i for document in chosen for i in range(*spans[document])]
        return Bucket(
            name,
            len(chosen),
            plain.corpus_score(
                [hypothesis.plain[i] for i in inside], [[reference.plain[i] for i in inside]]
            ).score,
            plain.corpus_score(
                [hypotheses[i] for i in chosen], [[references[i] for i in chosen]]
            ).score,
        )

    grouped = by_length([len(text.split()) for text in references])
    whole = plain.corpus_score(hypotheses, [references])
    whole_tokens = tokens.corpus_score(
        join(hypothesis.tokens, spans), [join(reference.tokens, spans)]
    )
    return DocumentScores(
        documents=len(spans),
        bleu=whole.score,
        signature=str(plain.get_signature()),
        tokenised_bleu=whole_tokens.score,
        tokenised_signature=str(tokens.get_signature()),
        buckets=[bucket(name, chosen) for name, chosen in grouped.items()],
    )


def joined_documents(lines: Sequence[str]) -> list[str]:
    """The documents of a text with marks, a line for each."""
    layout = Layout.of(lines)
    sentences = layout.sentences(lines)
    starts = [start for start in layout.starts if start < len(sentences)]
    return join(sentences, list(pairwise([*starts, len(sentences)])))


def join(sentences: Sequence[str], spans: Sequence[tuple[int, int]]) -> list[str]:
    """One line for each document; sentences without text add nothing."""
    return [" ".join(filter(None, sentences[begin:end])) for begin, end in spans]


def by_length(lengths: Sequence[int]) -> dict[str, list[int]]:
    """Indices by length from one power of two to the next, short ones first: `64-127`."""
    found: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        low = 0 if length < SHORTEST_BUCKET else 1 << (length.bit_length() - 1)
        found.setdefault(low, []).append(i)
    return {
        f"{low}-{2 * low - 1}" if low else f"0-{SHORTEST_BUCKET - 1}": found[low]
        for low in sorted(found)
    }
