from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reluformer.data.batch import collate, collate_sources
from reluformer.data.binary import TokenFile, TokenFileWriter
from reluformer.data.corpus import Split
from reluformer.data.vocabulary import BOS, EOS, PAD

SOURCES = [[5, 6, 7], [], [8], [9, 10]]
TARGETS = [[11], [12, 13], [], [14, 15, 16, 17]]


@pytest.fixture
def split(tmp_path: Path) -> Split:
    for side, sequences in (("source", SOURCES), ("target", TARGETS)):
        with TokenFileWriter(tmp_path / side, 100) as writer:
            writer.extend(
                np.array([token for sequence in sequences for token in sequence]),
                np.array([len(s) for s in sequences]),
            )
    return Split("train", TokenFile(tmp_path / "source"), TokenFile(tmp_path / "target"))


@pytest.mark.parametrize("ids", [[3, 0, 1], [2], [0, 1, 2, 3], [2, 2]])
def test_places_of_real_targets(split: Split, ids: list[int]) -> None:
    batch = collate(split, np.array(ids))
    for part in (batch, *batch.halves()):
        real = part.target != PAD
        assert part.target_places.tolist() == real.flatten().nonzero()[:, 0].tolist()


def test_what_is_on_a_gpu_is_not_pinned(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` stands for a GPU, whose tensors cannot be pinned either."""
    batch = collate(split, np.array([3, 0])).to("meta")
    monkeypatch.setattr(
        "reluformer.data.batch.torch.device", lambda _: SimpleNamespace(type="cuda")
    )
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, **__: tensor)
    assert batch.to("cuda").target.device.type == "meta"


def test_a_batch_worked_out_by_hand(split: Split) -> None:
    batch = collate(split, np.array([3, 0, 1]))
    assert batch.src_tokens.tolist() == [[9, 10, EOS, PAD], [5, 6, 7, EOS], [EOS, PAD, PAD, PAD]]
    assert batch.src_lengths.tolist() == [3, 4, 1]
    assert batch.prev_output_tokens.tolist() == [
        [BOS, 14, 15, 16, 17],
        [BOS, 11, PAD, PAD, PAD],
        [BOS, 12, 13, PAD, PAD],
    ]
    assert batch.target.tolist() == [
        [14, 15, 16, 17, EOS],
        [11, EOS, PAD, PAD, PAD],
        [12, 13, EOS, PAD, PAD],
    ]
    assert batch.tgt_lengths.tolist() == [5, 2, 3]
    assert batch.ids.tolist() == [3, 0, 1]
    assert (batch.num_source_tokens, batch.num_target_tokens) == (8, 10)
    assert len(batch) == 3


def test_target_is_the_shifted_input(split: Split) -> None:
    batch = collate(split, np.arange(4))
    for row, shifted, length in zip(
        batch.target, batch.prev_output_tokens, batch.tgt_lengths, strict=True
    ):
        assert row[: length - 1].tolist() == shifted[1:length].tolist()
        assert (row[length:] == PAD).all()
        assert (shifted[length:] == PAD).all()


def test_sources_alone_are_collated_as_in_a_batch(split: Split) -> None:
    tokens, lengths = collate_sources(SOURCES)
    batch = collate(split, np.arange(4))
    assert torch.equal(tokens, batch.src_tokens)
    assert torch.equal(lengths, batch.src_lengths)


def test_moving_a_batch_moves_all_of_it(split: Split) -> None:
    batch = collate(split, np.array([0, 3])).to("meta")
    for name in ("src_tokens", "src_lengths", "prev_output_tokens", "target", "tgt_lengths"):
        assert getattr(batch, name).is_meta
    assert batch.ids.tolist() == [0, 3]
    assert batch.num_target_tokens == 7
