"""Blocks of scores: together they are what queries may read, each pair once."""

import pytest
import torch
from pointwise_formula import case

from reluformer.kernels import blocks


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("block", "side"), [(100, 7), (2**18, 2**9)])
def test_blocks_cover_every_visible_pair_once(
    block: int, side: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(blocks, "SIDE", side)
    one = case(37, 20, causal=causal, padded=False)
    weights = blocks.Weights(one.q, one.k, one.gain, None, one.problem)
    covered = torch.zeros(2, 2, 37, 20, dtype=torch.int64)
    for block in weights.blocks():
        place = *block.queries, block.columns
        pairs = torch.ones_like(covered[place])
        assert weights.mask(pairs, block).any()  # none is in vain
        covered[place] += pairs
    queries, keys = torch.arange(37)[:, None], torch.arange(20)
    assert (covered == (keys <= queries - 17 if causal else torch.tensor(1))).all()
