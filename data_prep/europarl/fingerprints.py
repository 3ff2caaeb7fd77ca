"""Text as numbers by which equal sentences are found, whatever their punctuation and spacing."""

import re
from collections.abc import Iterator
from hashlib import blake2b

# Where some sentence splitter may cut: behind . ? or ! and what closes there, and at line ends.
CUT = re.compile(r"[.?!][\W_]*\s|\n")
SILENT = re.compile(r"[\W_]+")


def fingerprint(text: str) -> int:
    """64 bits of the text's letters and digits without case; 0 if it has none."""
    heard = "".join(SILENT.split(text)).casefold()
    return int.from_bytes(blake2b(heard.encode(), digest_size=8).digest(), "little") if heard else 0


def fingerprints(text: str) -> Iterator[int]:
    """Of each piece between places where a sentence may end, but for pieces without letters.

    Sentences are cut finer than by any sentence splitter, so a text gives the same fingerprints
    whole, or split into sentences, or with some of these joined again.
    """
    return filter(None, map(fingerprint, CUT.split(text)))
