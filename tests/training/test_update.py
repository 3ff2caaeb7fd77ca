"""Accumulation is one large batch; noise depends on the seed and the update alone."""

import copy

import numpy as np
import pytest
import torch
from reversal import make_criterion

from reluformer.data.batch import collate
from reluformer.data.corpus import Corpus
from reluformer.kernels import blocked
from reluformer.training.loop import adam
from reluformer.training.loss import Criterion, Totals
from reluformer.training.options import OptimOptions
from reluformer.training.parallel import Processes
from reluformer.training.update import UpdateResult, run_update

OPTIM = OptimOptions(0.01, "constant", 0, 0.0, 0.9, 0.98, 1e-8, 0.01, 1.0)


def updated(
    criterion: Criterion, batches: list, update: int = 1, precision: str = "fp32"
) -> tuple[Criterion, UpdateResult]:
    """A copy after one update, and what the update said."""
    criterion = copy.deepcopy(criterion)
    return criterion, step(criterion, adam(criterion, OPTIM), batches, update, precision)


def step(
    criterion: Criterion,
    optimiser: torch.optim.Optimizer,
    batches: list,
    update: int,
    precision: str,
    learning_rate: float = 0.01,
) -> UpdateResult:
    return run_update(
        criterion,
        optimiser,
        batches,
        Processes(),
        seed=1,
        update=update,
        learning_rate=learning_rate,
        regulariser_weight=0.1,
        clip_norm=1.0,
        precision=precision,
    )


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


@pytest.mark.check("determinism")
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


@pytest.mark.parametrize("native", [False, True])
def test_bf16_learns_as_fp32(
    reversal: Corpus, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same curve of losses over sixty updates, in which much is learnt."""
    monkeypatch.setattr(blocked, "multiplies_bf16", lambda: native)
    split = reversal.split("train")
    batches = [[collate(split, np.arange(24) + first)] for first in range(0, 96, 24)]
    curves = {}
    for precision in ("fp32", "bf16"):
        criterion = make_criterion(reversal, dropout=0.0)
        optimiser = adam(criterion, OPTIM)
        curves[precision] = [
            step(criterion, optimiser, batches[update % 4], update, precision, 0.003).losses["nll"]
            for update in range(60)
        ]
    high, low = (np.array(curves[precision]) for precision in ("fp32", "bf16"))
    assert high[-4:].mean() < 0.6 * high[:4].mean()
    assert np.abs(low - high).mean() < 0.02 * high.mean()


def test_lambda_weighs_the_regulariser_in_loss_and_gradient(reversal: Corpus) -> None:
    """total = smoothed + lambda (normalisation + entropy), and its gradient differs with lambda."""
    criterion = make_criterion(reversal, dropout=0.0).double()
    batch = collate(reversal.split("train"), np.arange(24))
    totals = Totals(batch.num_source_tokens, batch.num_target_tokens)
    weight = criterion.model.encoder_layers[0].self_attention.input_projection.weight
    gradients = []
    for regulariser_weight in (0.0, 0.5):
        losses = criterion(batch, totals, regulariser_weight)
        penalty = losses.normalisation + losses.entropy
        assert (penalty > 0) == (regulariser_weight > 0)
        torch.testing.assert_close(losses.total, losses.smoothed + regulariser_weight * penalty)
        gradients.append(torch.autograd.grad(losses.total, weight)[0])
    assert not torch.allclose(gradients[0], gradients[1])


def test_the_gradient_is_clipped_to_its_norm(reversal: Corpus) -> None:
    """Plain gradient descent makes the step's length visible: at most rate times `clip_norm`."""
    criterion = make_criterion(reversal, dropout=0.0).double()
    batches = [collate(reversal.split("train"), np.arange(24))]
    lengths = {}
    for clip_norm in (0.0, 0.1):
        moved = copy.deepcopy(criterion)
        result = run_update(
            moved,
            torch.optim.SGD(moved.parameters(), lr=1.0),
            batches,
            Processes(),
            seed=1,
            update=1,
            learning_rate=1.0,
            regulariser_weight=0.0,
            clip_norm=clip_norm,
            precision="fp32",
        )
        steps = [
            (ours - theirs).detach().flatten()
            for ours, theirs in zip(moved.parameters(), criterion.parameters(), strict=True)
        ]
        lengths[clip_norm] = float(torch.cat(steps).norm())
        assert result.gradient_norm > 0.1  # of the gradient before it is clipped
    assert lengths[0.0] == pytest.approx(result.gradient_norm, rel=1e-4)
    assert lengths[0.1] == pytest.approx(0.1, rel=1e-4)
