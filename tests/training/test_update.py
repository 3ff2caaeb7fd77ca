"""Accumulation is one large batch; noise depends on the seed and the update alone."""

import copy

import numpy as np
import pytest
import torch
from reversal import make_criterion

from reluformer.data.batch import collate
from reluformer.data.corpus import Corpus
from reluformer.training.loop import adam
from reluformer.training.loss import Criterion
from reluformer.training.options import OptimOptions
from reluformer.training.parallel import Processes
from reluformer.training.update import UpdateResult, run_update

OPTIM = OptimOptions(0.01, "constant", 0, 0.0, 0.9, 0.98, 1e-8, 0.01, 1.0)


def updated(
    criterion: Criterion, batches: list, update: int = 1, precision: str = "fp32"
) -> tuple[Criterion, UpdateResult]:
    criterion = copy.deepcopy(criterion)
    result = run_update(
        criterion,
        adam(criterion, OPTIM),
        batches,
        Processes(),
        seed=1,
        update=update,
        learning_rate=0.01,
        regulariser_weight=0.1,
        clip_norm=1.0,
        precision=precision,
    )
    return criterion, result


def test_micro_batches_add_up_to_one_batch(reversal: Corpus) -> None:
    """Same losses, same gradient norm, same weights afterwards, though lengths differ."""
    criterion, split = make_criterion(reversal, dropout=0.0).double(), reversal.split("train")
    ids = np.arange(24)
    whole, one = updated(criterion, [collate(split, ids)])
    parts, three = updated(criterion, [collate(split, ids[i::3]) for i in range(3)])
    assert three.totals == one.totals
    assert three.losses == pytest.approx(one.losses, rel=1e-5)
    assert three.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-5)
    for ours, theirs in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_noise_is_a_function_of_seed_and_update(reversal: Corpus) -> None:
    criterion = make_criterion(reversal, dropout=0.5)
    batches = [collate(reversal.split("train"), np.arange(24))]
    first = updated(criterion, batches)[1]
    torch.manual_seed(99)
    assert updated(criterion, batches)[1] == first
    assert updated(criterion, batches, update=2)[1] != first


def test_an_infinite_gradient_takes_no_step(reversal: Corpus) -> None:
    criterion = make_criterion(reversal, dropout=0.0)
    with torch.no_grad():
        criterion.model.encoder_layers[0].ffn.keys.weight[0, 0] = torch.inf
    before = [parameter.clone() for parameter in criterion.parameters()]
    after, result = updated(criterion, [collate(reversal.split("train"), np.arange(8))])
    assert not result.stepped
    for ours, theirs in zip(after.parameters(), before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_bf16_is_near_fp32(reversal: Corpus) -> None:
    criterion = make_criterion(reversal, dropout=0.0)
    batches = [collate(reversal.split("train"), np.arange(24))]
    low = updated(criterion, batches, precision="bf16")[1]
    high = updated(criterion, batches)[1]
    assert low.stepped
    assert low.losses["nll"] == pytest.approx(high.losses["nll"], rel=0.02)
    assert low.losses != high.losses
