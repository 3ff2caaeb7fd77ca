"""Made-up sentences have the lengths that they claim to have."""

import numpy as np

from reluformer.benchmark.synthetic import FIRST_PIECE, synthetic_sources, synthetic_split
from reluformer.benchmark.train import synthetic_batches


def test_split_has_the_lengths_of_ted_talks(tmp_path):
    split = synthetic_split(tmp_path, 5000, 100, seed=1)
    assert len(split) == 5000
    for lengths in (split.source_lengths, split.target_lengths):
        assert 24 < lengths.mean() < 27
        assert lengths.min() >= 1
        assert lengths.max() <= 175
    assert np.corrcoef(split.source_lengths, split.target_lengths)[0, 1] > 0.8
    tokens, _ = split.source.take(np.arange(5000))
    assert tokens.min() == FIRST_PIECE
    assert tokens.max() == 99


def test_batches_depend_on_the_seed_alone():
    first, again, other = (synthetic_batches(3, 512, 100, seed) for seed in (1, 1, 2))
    for one, same in zip(first, again, strict=True):
        assert one.src_tokens.equal(same.src_tokens)
        assert one.target.equal(same.target)
        assert max(one.src_tokens.numel(), one.target.numel()) <= 512
    assert not all(one.target.equal(same.target) for one, same in zip(first, other, strict=True))


def test_sources_are_about_equally_long():
    lengths = [len(source) for source in synthetic_sources(200, 26, 100, seed=1)]
    assert set(lengths) == {24, 25, 26, 27, 28}
