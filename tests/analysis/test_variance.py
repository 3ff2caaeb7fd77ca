"""Variance that attention adds, by bucket of visible keys."""

import numpy as np
import pytest
import torch
from small_models import make_model

from reluformer.analysis.variance import VarianceTable, captured_variance
from reluformer.data.batch import Batch


def test_counted_by_hand() -> None:
    """Variances of (0, 2), (0, 4) are 2, 8; of (1, 3) it is 2: ratios by bucket of n."""
    table = VarianceTable()
    update = torch.tensor([[[0.0, 2.0], [0.0, 4.0], [5.0, 9.0]]])
    stream = torch.tensor([[[1.0, 3.0]]]).expand(1, 3, 2)
    n, real = torch.tensor([[1, 5, 6]]), torch.tensor([[True, True, False]])
    table.add(update, stream, n, real)
    assert table.ratio == {"1": pytest.approx(1.0), "4-7": pytest.approx(4.0)}
    table.add(update, stream, torch.tensor([[6, 6, 6]]), real)
    assert table.ratio["4-7"] == pytest.approx((8 + 2 + 8) / (2 + 2 + 2))
    assert table.overall == pytest.approx((2 + 8 + 2 + 8) / (4 * 2))


def test_every_layer_is_captured_without_changing_the_model() -> None:
    model = make_model("relu")
    source, target = torch.randint(4, 11, (2, 7)), torch.randint(4, 11, (2, 5))
    inputs = (source, torch.tensor([7, 3]), target, torch.tensor([5, 2]))
    batch = Batch(*inputs[:3], target, inputs[3], np.arange(2), 10, 7)
    plain = model(*inputs).states
    tables: dict[tuple[str, int], VarianceTable] = {}
    with captured_variance(model, batch, tables):
        watched = model(*inputs).states
    assert torch.equal(plain, watched)
    assert len(tables) == 6
    assert tables["encoder_self_attention", 0].count.tolist()[:4] == [0, 3, 7, 0]
    assert tables["decoder_self_attention", 1].count.tolist()[:4] == [2, 3, 2, 0]
    assert tables["cross_attention", 1].count.tolist()[:4] == [0, 2, 5, 0]
