"""Moses tokenisation and its inverse, by sacremoses.

The settings are those of the IWSLT14 preparation that the literature shares: XML escaping on
(`'` becomes `&apos;`), no aggressive hyphen splitting. Where a corpus is also lower-cased, that
is `str.lower()` after tokenisation, as there. A language that Moses has no rules for gets the
English abbreviations.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import chain, islice

from sacremoses import MosesDetokenizer, MosesTokenizer

from reluformer.data.processes import available_cores, map_in_order

CHUNK_LINES = 2_000  # about 0.15 s of one core's work
PARALLEL_LINES = 10_000  # fewer lines are done before other processes would have started

APART = re.compile(r"(?<!\S)(?:[.,?!;:]|&(?:apos|quot|#\d+);\w*)(?!\S)")
ATTACHED = re.compile(r"\w[.,?!;:](?!\S)")


@cache
def _tokenizer(lang: str) -> MosesTokenizer:
    return MosesTokenizer(lang)


@cache
def _detokenizer(lang: str) -> MosesDetokenizer:
    return MosesDetokenizer(lang)


def tokenise(line: str, lang: str) -> str:
    """Moses tokens joined by single spaces, escaped; control characters are dropped by Moses."""
    return str(_tokenizer(lang).tokenize(line, escape=True, return_str=True)).strip()


def detokenise(line: str, lang: str) -> str:
    """Plain text from space-separated Moses tokens, unescaped."""
    return str(_detokenizer(lang).detokenize(line.split(), return_str=True, unescape=True)).strip()


def looks_tokenised(lines: Iterable[str]) -> bool:
    """Whether more punctuation marks stand apart from their words, as tokens do, than attached."""
    apart = attached = 0
    for line in lines:
        apart += len(APART.findall(line))
        attached += len(ATTACHED.findall(line))
    return apart > attached


def tokenise_lines(lines: Iterable[str], lang: str, workers: int | None = None) -> Iterator[str]:
    """`tokenise` over many lines on several cores (default: all), in order.

    Reads ahead by `PARALLEL_LINES` at most, so memory does not grow with the text; a text of fewer
    lines is worked on in this process. The workers import the program's main module afresh: a
    script that calls this needs the usual `if __name__ == "__main__"`.
    """
    return _map_lines(partial(tokenise, lang=lang), lines, workers)


def detokenise_lines(lines: Iterable[str], lang: str, workers: int | None = None) -> Iterator[str]:
    """`detokenise` over many lines; as `tokenise_lines`."""
    return _map_lines(partial(detokenise, lang=lang), lines, workers)


def _map_lines(
    function: Callable[[str], str], lines: Iterable[str], workers: int | None
) -> Iterator[str]:
    workers = workers or available_cores()
    remaining = iter(lines)
    head = list(islice(remaining, PARALLEL_LINES))
    if workers == 1 or len(head) < PARALLEL_LINES:
        yield from map(function, chain(head, remaining))
        return
    remaining = chain(head, remaining)
    chunks = iter(lambda: list(islice(remaining, CHUNK_LINES)), [])
    for chunk in map_in_order(partial(_map_chunk, function), chunks, workers):
        yield from chunk


def _map_chunk(function: Callable[[str], str], chunk: list[str]) -> list[str]:
    return [function(line) for line in chunk]
