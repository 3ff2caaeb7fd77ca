from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reluformer.data.batching import BatchStream, plan_batches, sentences_within
from reluformer.data.binary import TokenFile, TokenFileWriter
from reluformer.data.corpus import Split
from reluformer.errors import UserError

LENGTHS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60)


def corpus_lengths(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths as real text has them: skewed, and the two sides correlated."""
    rng = np.random.default_rng(seed)
    source = np.clip(rng.gamma(3, 8, count), 1, 150).astype(np.int32)
    target = np.clip(source * rng.normal(1, 0.2, count), 1, 150).astype(np.int32)
    return source, target


@given(LENGTHS, st.integers(41, 200), st.integers(0, 3), st.booleans())
def test_every_sentence_once_and_no_batch_above_the_budget(lengths, max_tokens, epoch, shuffle):
    source = np.array([pair[0] for pair in lengths], dtype=np.int32)
    target = np.array([pair[1] for pair in lengths], dtype=np.int32)
    batches = plan_batches(source, target, max_tokens, seed=1, epoch=epoch, shuffle=shuffle)
    assert sorted(i for ids in batches for i in ids) == list(range(len(lengths)))
    for ids in batches:
        assert len(ids) * (max(source[ids].max(), target[ids].max()) + 1) <= max_tokens


@given(LENGTHS, st.floats(0, 0.1))
def test_long_sentences_cost_more_where_attention_counts(lengths, cost):
    source = np.array([pair[0] for pair in lengths], dtype=np.int32)
    target = np.array([pair[1] for pair in lengths], dtype=np.int32)
    batches = plan_batches(source, target, 100, seed=1, attention_cost=cost)
    assert sorted(i for ids in batches for i in ids) == list(range(len(lengths)))
    for ids in batches:
        width = max(source[ids].max(), target[ids].max()) + 1
        assert len(ids) == 1 or len(ids) * (width + cost * width**2) <= 100 + 1e-6


def test_little_is_padding() -> None:
    source, target = corpus_lengths(20_000, seed=0)
    batches = plan_batches(source, target, 4096, seed=1)
    positions = sum(
        len(ids) * (int(source[ids].max()) + int(target[ids].max()) + 2) for ids in batches
    )
    tokens = int(source.sum() + target.sum()) + 2 * len(source)
    assert (
        1 - tokens / positions < 0.07
    )  # sorted by source, then target: 0.12; at random: above a half
    rows = np.array([len(ids) * (max(source[ids].max(), target[ids].max()) + 1) for ids in batches])
    assert np.median(rows) > 0.97 * 4096


@pytest.mark.check("A3")
def test_order_depends_on_seed_and_epoch_and_nothing_else() -> None:
    source, target = corpus_lengths(2000, seed=0)

    def plan(**options) -> list[list[int]]:
        return [ids.tolist() for ids in plan_batches(source, target, 1024, **options)]

    assert plan(seed=1, epoch=2) == plan(seed=1, epoch=2)
    assert plan(seed=1, epoch=2) != plan(seed=1, epoch=3) != plan(seed=2, epoch=1)
    assert {frozenset(ids) for ids in plan(seed=1, epoch=0)} != {
        frozenset(ids) for ids in plan(seed=1, epoch=1)
    }
    fixed = plan(seed=1, epoch=0, shuffle=False)
    assert fixed == plan(seed=2, epoch=9, shuffle=False)
    widths = np.maximum(source, target)
    assert [widths[ids].max() for ids in fixed] == sorted(widths[ids].max() for ids in fixed)


def test_a_sentence_above_the_budget_is_an_error() -> None:
    source, target = np.array([3, 9], dtype=np.int32), np.array([4, 2], dtype=np.int32)
    assert sentences_within(source, target, 9).tolist() == [0]
    assert sentences_within(source, target, 10).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"width 10 exceeds `max_tokens` \(9\)"):
        plan_batches(source, target, max_tokens=9)


def make_split(folder: Path, source: np.ndarray, target: np.ndarray) -> Split:
    rng = np.random.default_rng(0)
    for side, lengths in (("source", source), ("target", target)):
        with TokenFileWriter(folder / side, 1000) as writer:
            writer.extend(rng.integers(4, 1000, lengths.sum()), lengths)
    return Split("train", TokenFile(folder / "source"), TokenFile(folder / "target"))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return make_split(tmp_path_factory.mktemp("split"), *corpus_lengths(120, seed=3))


def take(stream: BatchStream, count: int) -> list[list[int]]:
    return [next(stream).ids.tolist() for _ in range(count)]


def test_the_stream_is_the_plans_of_all_epochs_end_to_end(split: Split) -> None:
    stream = BatchStream(split, max_tokens=300, seed=5)
    lengths = split.source_lengths, split.target_lengths
    plans = [[ids.tolist() for ids in plan_batches(*lengths, 300, 5, epoch)] for epoch in range(3)]
    assert stream.batches_in_epoch == len(plans[0])
    assert take(stream, len(plans[0])) == plans[0]
    assert (stream.epoch, stream.offset) == (0, len(plans[0]))
    assert take(stream, len(plans[1])) == plans[1]
    assert (stream.epoch, stream.offset) == (1, len(plans[1]))
    assert take(stream, 1) == plans[2][:1]


def test_the_stream_gives_the_sentences_of_its_plan(split: Split) -> None:
    batch = next(BatchStream(split, max_tokens=300, seed=5))
    for row, sentence in enumerate(batch.ids):
        source = batch.src_tokens[row, : batch.src_lengths[row] - 1]
        target = batch.target[row, : batch.tgt_lengths[row] - 1]
        assert source.tolist() == split.source[sentence].tolist()
        assert target.tolist() == split.target[sentence].tolist()


@pytest.mark.check("A3")
@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_processes_share_one_sequence(split: Split, world_size: int) -> None:
    """Interleaved, the processes' batches are the single process's, across several epochs."""
    alone = BatchStream(split, max_tokens=300, seed=5)
    ranks = [BatchStream(split, 300, 5, rank, world_size) for rank in range(world_size)]
    rounds = 4 * alone.batches_in_epoch // world_size
    shared = [next(stream).ids.tolist() for _ in range(rounds) for stream in ranks]
    assert shared == take(alone, rounds * world_size)
    assert alone.epoch > 2
    assert len({str(stream.state_dict()) for stream in [alone, *ranks]}) == 1


@pytest.mark.check("A3")
def test_any_position_can_be_continued_at_any_world_size(split: Split) -> None:
    reference = take(BatchStream(split, 300, 5), 100)
    for position in (0, 1, BatchStream(split, 300, 5).batches_in_epoch, 31, 60):
        pair = [BatchStream(split, 300, 5, rank, 2) for rank in range(2)]
        for stream in pair:
            stream.skip(position // 2)
        alone = BatchStream(split, 300, 5)
        alone.load_state_dict(pair[0].state_dict())
        alone.skip(position % 2)
        assert take(alone, 3) == reference[position : position + 3]
        for stream in pair:
            stream.load_state_dict(alone.state_dict())
        continued = [next(stream).ids.tolist() for _ in range(4) for stream in pair]
        assert continued == reference[position + 3 : position + 11]


def test_another_sequence_is_not_continued(split: Split, tmp_path: Path) -> None:
    state = BatchStream(split, max_tokens=300, seed=5).state_dict()
    with pytest.raises(UserError, match="`seed` was 5 and is 6"):
        BatchStream(split, max_tokens=300, seed=6).load_state_dict(state)
    with pytest.raises(UserError, match="`max_tokens` was 300 and is 301"):
        BatchStream(split, max_tokens=301, seed=5).load_state_dict(state)
    other = make_split(tmp_path, *corpus_lengths(120, seed=4))
    with pytest.raises(UserError, match="`num_source_tokens` was"):
        BatchStream(other, max_tokens=300, seed=5).load_state_dict(state)


def test_too_long_sentences_are_named_or_skipped_and_counted(tmp_path: Path) -> None:
    lengths = np.array([5, 40, 3, 60, 10], dtype=np.int64)
    split = make_split(tmp_path, lengths, lengths // 2)
    with pytest.raises(UserError, match=r"sentence 3 of the train split needs 61 tokens .* is 30"):
        BatchStream(split, max_tokens=30, seed=0)
    stream = BatchStream(split, max_tokens=30, seed=0, skip_too_long=True)
    assert stream.num_skipped == 2
    seen = {i for ids in take(stream, stream.batches_in_epoch) for i in ids}
    assert seen == {0, 2, 4}
    with pytest.raises(UserError, match="no sentence to make a batch of"):
        BatchStream(split, max_tokens=3, seed=0, skip_too_long=True)


def test_the_widest_batch_fills_the_most_positions(split: Split) -> None:
    stream = BatchStream(split, max_tokens=300, seed=5)

    def positions(batch) -> int:
        return len(batch) * max(batch.src_tokens.shape[1], batch.target.shape[1])

    widest = positions(stream.widest())
    assert (stream.epoch, stream.offset) == (0, 0)
    assert widest == max(positions(next(stream)) for _ in range(stream.batches_in_epoch))
