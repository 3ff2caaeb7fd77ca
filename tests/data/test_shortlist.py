"""Which target types go with which source types, from corpora whose dictionary is known."""

import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from reluformer.data import shortlist
from reluformer.data.corpus import Split
from reluformer.data.shortlist import (
    COMMON_TYPES,
    MOST_TYPES,
    fit_model_1,
    learn_shortlist,
    likely_types,
    most_remarkable,
)
from reluformer.data.vocabulary import EOS, train_vocabulary

FIRST = 4  # the first type that is not special
SIZE = 24


class Rows:
    """Token sequences in memory."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chosen = [self.rows[i] for i in ids]
        tokens = np.array([token for row in chosen for token in row], dtype=np.int64)
        return tokens, np.array([len(row) for row in chosen], dtype=np.int64)

    def lengths(self) -> np.ndarray:
        return np.array([len(row) for row in self.rows], dtype=np.int32)


def make_split(num_pairs: int = 400) -> Split:
    """Each source type but the last becomes its mirror image; 20 stands in every target."""
    rng = random.Random(0)
    source = [rng.sample(range(FIRST, 20), rng.randint(1, 6)) for _ in range(num_pairs)]
    source[7] = []
    target = [[20, *(23 - token for token in reversed(row))] for row in source]
    return Split("train", Rows(source), Rows(target))


def test_the_dictionary_is_found() -> None:
    best, frequencies = likely_types(make_split(), SIZE, SIZE)
    assert best.shape == (SIZE, MOST_TYPES)
    for token in range(FIRST, 20):
        assert best[token, 0] == 23 - token
    assert (best[[0, 1, 2, 3, 22, 23]] == EOS).all()  # they never occur
    assert frequencies[20] == 400
    assert frequencies.argmax() == 20


def test_model_1_is_that_of_loops() -> None:
    """Expectation maximisation as Brown et al. write it, over the same candidates."""
    split = make_split(40)
    pairs = list(zip(split.source.rows, split.target.rows, strict=True))
    table = defaultdict(lambda: 1.0)
    for _ in range(shortlist.ITERATIONS):
        counts, totals = Counter(), Counter()
        for source, target in pairs:
            for t in target:
                whole = sum(table[s, t] for s in source)
                for s in source:
                    counts[s, t] += table[s, t] / whole
                    totals[s] += table[s, t] / whole
        table = defaultdict(float, {(s, t): count / totals[s] for (s, t), count in counts.items()})
    links, places, place = [], [], 0
    for source, target in pairs:
        for t in target if source else []:
            links += [s * SIZE + t for s in source]
            places += [place] * len(source)
            place += 1
    likely = fit_model_1(np.array(links), np.array(places), (SIZE, SIZE))
    expected = [[table[s, t] for t in range(SIZE)] for s in range(SIZE)]
    np.testing.assert_allclose(likely, expected, atol=1e-12)


def test_what_stands_beside_by_chance_is_no_candidate() -> None:
    frequencies = np.array([0, 100, 100, 50, 50])
    counts = np.array([0, 10, 10, 20, 4])
    assert most_remarkable(counts, frequencies).tolist() == [3]
    assert most_remarkable(np.array([0, 0, 30, 30, 0]), frequencies).tolist() == [3, 2]
    assert most_remarkable(np.zeros(5, dtype=np.int64), frequencies).tolist() == []


def test_only_so_many_pairs_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """From all of the corpus."""
    split = make_split()
    num_links = int(split.source_lengths @ split.target_lengths)
    monkeypatch.setattr(shortlist, "MOST_LINKS", -(-num_links // 4))
    _, frequencies = likely_types(split, SIZE, SIZE)
    assert frequencies[20] == 100
    pairs = shortlist.evenly_spread(split.source_lengths, split.target_lengths)
    assert pairs.tolist()[:2] + pairs.tolist()[-2:] == [0, 4, 394, 399]
    monkeypatch.setattr(shortlist, "MOST_LINKS", 1)
    assert likely_types(split, SIZE, SIZE)[1][20] == 1


def test_types_spelt_alike_come_first(tmp_path: Path) -> None:
    for name, text in (("source", "ab cd ef"), ("target", "gh cd ij")):
        (tmp_path / name).write_text(f"{text}\n" * 20)
    source, target = (
        train_vocabulary([tmp_path / name], size=19).vocabulary for name in ("source", "target")
    )
    split = Split("train", Rows([source.encode("cd")]), Rows([target.encode("gh")]))
    found = learn_shortlist(split, source, target)
    assert found.best.shape == (len(source), 1 + MOST_TYPES)
    assert found.best.dtype == found.common.dtype == np.int32
    [alike], [same] = source.encode("cd"), target.encode("cd")
    assert found.best[alike, :2].tolist() == [
        same,
        EOS,
    ]  # gh is not there by more than chance
    assert found.best[source.encode("ef")[0], 0] == EOS
    assert found.common.tolist() == [*target.encode("gh"), *[EOS] * (COMMON_TYPES - 1)]
