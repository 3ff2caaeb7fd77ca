"""Which split a sentence belongs to is a property of its text.

So no sentence of valid or test is ever in train, whatever the seed and the sizes, and neither is
it in train of the other corpus made from this grammar (sentences, documents).
"""

import hashlib
import re
from collections.abc import Callable, Iterator

from .lexicon import Pair

SPLITS = ("train", "valid", "test")

# Sentences that differ in what a pronoun stands for, or in a title, belong together.
_FOLDED = dict.fromkeys(("he", "she", "him", "her", "his", "hers", "its"), "it") | {"mr": "ms"}


def split_of(english: str) -> str:
    """train for 6 of 8 sentences, valid and test for 1 of 8 each.

    The English text decides: German has several ways to say it (du, Sie, other word orders), and
    all of them fall into the same split.
    """
    words = [_FOLDED.get(word, word) for word in re.findall(r"\w+", english.lower())]
    eighth = hashlib.sha256(" ".join(words).encode()).digest()[0] % 8
    return {0: "test", 1: "valid"}.get(eighth, "train")


def seed_for(seed: int, *labels: str) -> int:
    """A seed of its own for each purpose."""
    return int.from_bytes(
        hashlib.sha256("/".join([str(seed), *labels]).encode()).digest()[:6], "big"
    )


def distinct(draw: Callable[[], Pair], split: str, count: int) -> Iterator[Pair]:
    """`count` different pairs of this split."""
    seen: set[Pair] = set()
    while len(seen) < count:
        pair = draw()
        if pair not in seen and split_of(pair[1]) == split:
            seen.add(pair)
            yield pair
