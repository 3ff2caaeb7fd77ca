"""A text in the two forms that scores are computed on: plain, and Moses tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from reluformer.data.moses import detokenise_lines, looks_tokenised, tokenise_lines


@dataclass(frozen=True)
class Forms:
    """Both forms of a text; `made` says in words how they came from the lines that were given."""

    plain: list[str]
    tokens: list[str]
    tokenised: bool  # what was given were Moses tokens
    made: str


def both_forms(lines: Sequence[str], lang: str, tokenised: bool | None = None) -> Forms:
    """Tokenise a plain text or detokenise a tokenised one; None finds out which it is.

    What is in tokens already is never tokenised again: Moses would escape its `&apos;` a second
    time and break words at it, which costs BLEU without a word.
    """
    how = "detected" if tokenised is None else "as said"
    if tokenised is None:
        tokenised = looks_tokenised(lines)
    if tokenised:
        return Forms(
            plain=list(detokenise_lines(lines, lang)),
            tokens=list(lines),
            tokenised=True,
            made=f"Moses tokens ({how}), detokenised by Moses ({lang}) for the detokenised scores",
        )
    return Forms(
        plain=list(lines),
        tokens=list(tokenise_lines(lines, lang)),
        tokenised=False,
        made=f"plain text ({how}), tokenised by Moses ({lang}) for the score on tokens",
    )
