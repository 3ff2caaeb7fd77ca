from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reluformer.data.binary import TokenFile
from reluformer.data.encoding import (
    LONGEST_LINE,
    Counts,
    LengthStatistics,
    Limits,
    Side,
    choose,
    encode_split,
    read_chunks,
    select,
)
from reluformer.data.vocabulary import UNK, Vocabulary, train_vocabulary
from reluformer.errors import UserError

SOURCE = ["a b", "", "a", "c c c c", "a a a a a a a", "b", "z z"]
TARGET = ["b a", "a", " ", "c", "b b b b b b b", "b", "a a a"]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """Each letter a token, with the space before it."""
    path = tmp_path_factory.mktemp("vocabulary") / "text"
    path.write_text("a b c\n" * 20)
    return train_vocabulary([path], size=11).vocabulary


@pytest.fixture
def sides(tmp_path: Path, vocabulary: Vocabulary) -> tuple[Side, Side]:
    for name, lines in (("source", SOURCE), ("target", TARGET)):
        (tmp_path / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    source, target = (
        Side(tmp_path / f"{name}.txt", vocabulary, tmp_path / f"train.{name}")
        for name in ("source", "target")
    )
    return source, target


def decoded(side: Side) -> list[str]:
    file = TokenFile(side.output)
    return [side.vocabulary.decode(file[i]) for i in range(len(file))]


def test_limits_drop_pairs_and_count_why(sides: tuple[Side, Side]) -> None:
    described = encode_split(*sides, 7, Limits(max_length=5, max_ratio=3.0), workers=1)
    assert decoded(sides[0])[:2] == ["a b", "b"]
    assert decoded(sides[1]) == ["b a", "b", "a a a"]
    assert (described["lines"], described["sentences"]) == (7, 3)
    assert (described["empty"], described["ratio"], described["too_long"]) == (2, 1, 1)
    assert described["source"]["unknown"] == 2
    assert described["source"]["tokens"] == TokenFile(sides[0].output).num_tokens


def test_long_pairs_can_be_truncated(sides: tuple[Side, Side]) -> None:
    described = encode_split(*sides, 7, Limits(max_length=3, too_long="truncate"), workers=1)
    assert decoded(sides[0])[:4] == ["a b", "c c c", "a a a", "b"]
    assert decoded(sides[1])[:4] == ["b a", "c", "b b b", "b"]
    assert (described["sentences"], described["empty"], described["too_long"]) == (5, 2, 3)


def test_without_enforcement_every_line_stays_and_is_counted(sides: tuple[Side, Side]) -> None:
    described = encode_split(*sides, 7, Limits(max_length=3, enforced=False), workers=1)
    assert decoded(sides[0])[:6] == SOURCE[:6]
    assert decoded(sides[1]) == [line.strip() for line in TARGET]
    assert (described["sentences"], described["empty"], described["too_long"]) == (7, 2, 3)


@pytest.mark.check("B4")
def test_endless_lines_are_cut_in_bounded_chunks(tmp_path: Path) -> None:
    lines = ["x" * (LONGEST_LINE + 1)] * 50 + ["fine", "y" * 10_000_000]
    for name in ("a", "b"):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    counts = Counts()
    chunks = list(read_chunks(tmp_path / "a", tmp_path / "b", False, counts))
    assert counts.cut == 102
    for side in ("source", "target"):
        assert max(sum(map(len, getattr(chunk, side))) for chunk in chunks) < 3_000_000
        read = [line for chunk in chunks for line in getattr(chunk, side)]
        assert read == [line[:LONGEST_LINE] for line in lines]


@pytest.mark.check("B2")
def test_lines_with_nuls_are_kept_counted_and_shown(sides: tuple[Side, Side], capsys) -> None:
    sides[0].text.write_text("a b\nä b\0c\n\0\n")
    sides[1].text.write_text("a\nb\nc\n")
    described = encode_split(*sides, 3, Limits(max_length=9), workers=1)
    assert (described["sentences"], described["nul"]) == (3, 2)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert f"{sides[0].text}, line 2, byte 5: a NUL character" in warnings[0]


LENGTHS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8)


@given(LENGTHS, st.integers(1, 5), st.sampled_from([None, 1.0, 2.5]), st.booleans(), st.booleans())
def test_choice_is_the_rule_pair_by_pair(pairs, max_length, max_ratio, truncate, enforced) -> None:
    source, target = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    limits = Limits(max_length, "truncate" if truncate else "drop", max_ratio, enforced)
    counts = Counts()
    keep = choose(source, target, limits, counts)
    reasons = []
    for s, t in pairs:
        if s == 0 or t == 0:
            reasons.append("empty")
        elif max_ratio and max(s, t) / min(s, t) > max_ratio:
            reasons.append("ratio")
        else:
            reasons.append("too_long" if max(s, t) > max_length else "fine")
    for reason in ("empty", "ratio", "too_long"):
        assert getattr(counts, reason) == reasons.count(reason)
    kept = {"fine", "too_long"} if truncate else {"fine"}
    assert keep.tolist() == [not enforced or reason in kept for reason in reasons]

    tokens = np.arange(source.sum(), dtype=np.int32)
    rows = np.split(tokens, np.cumsum(source)[:-1])
    expected = [row[: max_length if enforced else None] for row, k in zip(rows, keep) if k]  # noqa: B905
    chosen, lengths = select(tokens, source, keep, limits)
    assert chosen.tolist() == [token for row in expected for token in row]
    assert lengths.tolist() == [len(row) for row in expected]


@given(st.lists(st.integers(0, 40), max_size=60))
def test_length_statistics_are_those_of_the_sorted_lengths(lengths: list[int]) -> None:
    statistics = LengthStatistics()
    for part in (lengths[:7], lengths[7:]):
        statistics.add(np.full(sum(part), UNK, dtype=np.int32), np.array(part, dtype=np.int64))
    summary = statistics.summary()
    assert summary["tokens"] == summary["unknown"] == sum(lengths)
    assert summary["longest"] == max(lengths, default=0)
    assert summary["empty"] == lengths.count(0)
    for percent, length in summary["percentiles"].items():
        shorter = sum(other <= length for other in lengths)
        assert shorter >= int(percent) / 100 * len(lengths)
        assert sum(other < length for other in lengths) < int(percent) / 100 * len(lengths) or (
            length == 0
        )
    for power, count in summary["histogram"].items():
        assert count == sum(int(power) / 2 < other <= int(power) for other in lengths)
    assert sum(summary["histogram"].values()) + lengths.count(0) == len(lengths)


def test_lines_that_have_gone_since_they_were_counted(sides: tuple[Side, Side]) -> None:
    with pytest.raises(UserError, match="had 9 lines, and 7 when they were read again"):
        encode_split(*sides, 9, Limits(max_length=5), workers=1)
