"""Moses tokenisation as the IWSLT14 preparation uses it."""

from itertools import count, islice

import pytest

from reluformer.data.moses import (
    PARALLEL_LINES,
    detokenise,
    detokenise_lines,
    tokenise,
    tokenise_lines,
)


@pytest.mark.parametrize(
    ("lang", "line", "tokens"),
    [
        ("en", "It's Mr. Smith's, isn't it?", "It &apos;s Mr. Smith &apos;s , isn &apos;t it ?"),
        ("de", "Am 3. Mai, z.B. bei „uns“!", "Am 3. Mai , z.B. bei „ uns “ !"),
        ("en", "a < b & c | d [e]", "a &lt; b &amp; c &#124; d &#91; e &#93;"),
        ("en", "  two \t spaces  ", "two spaces"),
        ("en", "5,300 well-known ones...", "5,300 well-known ones ..."),
        ("en", "", ""),
    ],
)
def test_known_tokens(lang, line, tokens):
    assert tokenise(line, lang) == tokens


def test_detokenise_inverts_ordinary_sentences():
    for line in ("It's Mr. Smith's, isn't it?", "He said: (a < b) & more!", "well-known, 5,300."):
        assert detokenise(tokenise(line, "en"), "en") == line


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\x0b", "\x0c", "\x1c", "\r", "\x00"])
def test_one_line_stays_one_line(character):
    """Characters that some programs take for a line's end never become one."""
    line = tokenise(f"left{character}right", "en")
    assert "\n" not in line
    assert line.replace(" ", "") == "leftright"


@pytest.mark.check("determinism")
def test_workers_change_nothing_and_keep_the_order():
    lines = [f"Line {n}, isn't it?" for n in range(PARALLEL_LINES + 7)]
    tokenised = [tokenise(line, "en") for line in lines]
    assert list(tokenise_lines(lines, "en", workers=2)) == tokenised
    assert list(detokenise_lines(tokenised, "en", workers=2)) == lines


def test_parallel_map_reads_a_bounded_piece_ahead():
    """An endless input yields its first results, and stopping early leaves no worker behind."""
    lines = tokenise_lines((f"n {n}." for n in count()), "en", workers=2)
    assert list(islice(lines, 3)) == ["n 0 .", "n 1 .", "n 2 ."]
    lines.close()
