"""Windows of documents: what they hold, and how they read."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reluformer.data.assembly import VocabularyOptions
from reluformer.data.batch import collate
from reluformer.data.batching import BatchStream
from reluformer.data.corpus import Corpus
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import prepare_corpus
from reluformer.data.stages import Stages
from reluformer.data.vocabulary import EOS
from reluformer.data.windows import Window, WindowOptions, cut_windows, open_windows
from reluformer.errors import UserError


def width(lengths: np.ndarray, window: Window) -> int:
    """Tokens, separators between them, and the EOS."""
    return int(lengths[window.begin : window.end].sum()) + (window.end - window.begin - 1) + 1


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[np.ndarray], list[int], int, int]:
    documents = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    borders = [0, *np.cumsum(documents).tolist()]
    size = st.lists(st.integers(0, 9), min_size=borders[-1], max_size=borders[-1])
    sides = [np.array(draw(size)), np.array(draw(size))]
    return sides, borders, draw(st.integers(1, 25)), draw(st.integers(0, 3))


@given(cases())
def test_windows_cover_every_document(case: tuple[list[np.ndarray], list[int], int, int]) -> None:
    sides, borders, length, overlap = case
    windows = cut_windows(sides, borders, length, overlap)
    assert sorted({i for w in windows for i in range(w.begin, w.end)}) == list(range(borders[-1]))
    for window in windows:
        assert not any(window.begin < border < window.end for border in borders)
        fits = all(width(side, window) <= length for side in sides)
        assert fits or window.end - window.begin == 1
        if window.end not in borders:  # greedy: one sentence more would not have fitted
            longer = Window(window.begin, window.end + 1)
            assert any(width(side, longer) > length for side in sides)
    for before, after in pairwise(windows):
        assert after.end > before.end  # something new in each
        assert after.begin > before.begin
        shared = before.end - after.begin
        assert 0 <= shared <= overlap
        if shared < overlap and after.begin not in borders and after.begin - 1 > before.begin:
            wider = Window(after.begin - 1, before.end + 1)  # one more would leave nothing new
            assert any(width(side, wider) > length for side in sides)


def test_without_overlap_windows_follow_one_another() -> None:
    lengths = np.array([3, 3, 3, 9, 1, 1, 20, 2])
    windows = cut_windows([lengths], [0, 5, 8], 8)
    spans = [(window.begin, window.end) for window in windows]
    assert spans == [(0, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("windows")
    rng = np.random.default_rng(1)
    texts: dict[str, dict[str, Path]] = {}
    for split, documents in (("train", 30), ("valid", 10)):
        sizes = rng.integers(1, 9, documents)
        texts[split] = {side: folder / f"{split}.{side}" for side in ("source", "target")}
        for path in texts[split].values():
            lines = []
            for number, size in enumerate(sizes):
                words = rng.choice(["alpha", "beta", "gamma"], (size, 8))
                lines.append(f"<d {number // 3}>")
                lines += [" ".join(row[: rng.integers(1, 9)]) for row in words]
            path.write_text("\n".join(lines) + "\n")
    options = VocabularyOptions(24, documents=True)
    prepare_corpus(texts, folder / "binary", {"documents": True}, options, Limits(99), workers=1)
    return Corpus.open(folder / "binary")


def test_a_window_reads_as_its_sentences(corpus: Corpus) -> None:
    plain = corpus.split("train")
    split = open_windows(corpus, "train", WindowOptions(length=40))
    separator = corpus.target_vocabulary.separator
    assert split.source.num_sentences == split.target.num_sentences == len(plain)
    ids = np.random.default_rng(0).permutation(len(split))
    for side in ("source", "target"):
        tokens, lengths = getattr(split, side).take(ids)
        assert lengths.tolist() == getattr(split, side).lengths()[ids].tolist()
        windows = dict(zip(ids.tolist(), np.split(tokens, np.cumsum(lengths)[:-1]), strict=True))
        sentences: list[list[int]] = []
        for number in range(len(split)):
            found = windows[number].tolist()
            cuts = [i for i, token in enumerate(found) if token == separator]
            for begin, end in zip([-1, *cuts], [*cuts, len(found)], strict=True):
                sentences.append(found[begin + 1 : end])
        assert sentences == [getattr(plain, side)[i].tolist() for i in range(len(plain))]


def test_batches_of_windows(corpus: Corpus) -> None:
    split = open_windows(corpus, "train", WindowOptions(length=50))
    batch = collate(split, np.array([2, 0]))
    tokens, lengths = split.source.take(np.array([2]))
    assert batch.src_tokens[0, : lengths[0] + 1].tolist() == [*tokens.tolist(), EOS]
    stream = BatchStream(split, 200, seed=1)
    seen = np.concatenate([next(stream).ids for _ in range(stream.batches_in_epoch)])
    assert sorted(seen.tolist()) == list(range(len(split)))
    assert max(stream.widest().src_tokens.shape) <= 50


def test_documents_of_a_session_are_joined(corpus: Corpus) -> None:
    apart = open_windows(corpus, "valid", WindowOptions(length=500))
    joined = open_windows(corpus, "valid", WindowOptions(length=500, join=True))
    assert (len(apart), len(joined)) == (10, 4)
    assert apart.source_lengths.sum() + 6 == joined.source_lengths.sum()  # six more separators


def test_what_cannot_be_windowed(corpus: Corpus) -> None:
    assert len(open_windows(corpus, "valid", WindowOptions())) == len(corpus.split("valid"))
    with pytest.raises(UserError, match=r"no sentence of the valid split fits `windows.length` 1"):
        open_windows(corpus, "valid", WindowOptions(length=1))
    with pytest.raises(UserError, match=r"give `windows.length` too"):
        WindowOptions(join=True)
    with pytest.raises(UserError, match=r"`windows.sentence_updates` is for windows"):
        WindowOptions(sentence_updates=3)
    with pytest.raises(UserError, match=r"`windows.growth_updates` is for .* of 64 and more"):
        WindowOptions(63, growth_updates=3)


def test_windows_grow_by_doubling() -> None:
    found = WindowOptions(300, join=True, sentence_updates=5, growth_updates=10).earlier()
    lengths = [(one.length, updates) for one, updates in found]
    assert lengths == [(None, 5), (37, 3), (75, 3), (150, 4)]
    assert all(one.join for one, _ in found[1:])
    assert WindowOptions(64, growth_updates=7).earlier() == [(WindowOptions(32), 7)]
    assert WindowOptions(64).earlier() == []


def test_stages_go_from_sentences_to_windows_and_can_be_resumed(corpus: Corpus) -> None:
    def stages(rank: int = 0, world_size: int = 1) -> Stages:
        options = [WindowOptions(), WindowOptions(20), WindowOptions(50)]
        splits = [open_windows(corpus, "train", one) for one in options]
        plain, short, windows = (BatchStream(one, 200, 1, rank, world_size) for one in splits)
        return Stages([(plain, 4), (short, 2)], windows)

    whole = [next(batches) for batches in [stages()] for _ in range(9)]
    separator = corpus.target_vocabulary.separator
    has_windows = [bool((batch.src_tokens == separator).any()) for batch in whole]
    assert has_windows == [False] * 4 + [True] * 5
    widths = [batch.src_tokens.shape[1] for batch in whole]
    assert max(widths[4:6]) <= 20 < min(widths[6:]) <= 50
    for stop in (2, 4, 5, 6, 8):
        first = stages()
        for _ in range(stop):
            next(first)
        resumed = stages()
        resumed.load_state_dict(first.state_dict())
        for expected in whole[stop:]:
            assert torch.equal(next(resumed).src_tokens, expected.src_tokens)
    pairs = [stages(rank, 2) for rank in (0, 1)]
    for i in range(4):
        for rank in (0, 1):
            assert torch.equal(next(pairs[rank]).src_tokens, whole[2 * i + rank].src_tokens)
