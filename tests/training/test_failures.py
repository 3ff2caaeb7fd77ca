"""Updates that fail: losses that are not finite, and memory that does not suffice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reversal import make_criterion
from trainings import make_training, metrics

from reluformer.data.batch import collate
from reluformer.data.corpus import Corpus
from reluformer.errors import TrainingFailedError
from reluformer.training.checkpoint import checkpoint_path, load_weights
from reluformer.training.failures import find_not_finite
from reluformer.training.loop import Training
from reluformer.training.loss import Criterion, Totals

pytestmark = pytest.mark.unchecked

FFN_WEIGHT = "model.encoder_layers.0.ffn.keys.weight"


def failing_from(training: Training, first: int, times: int) -> None:
    """Let the loss of so many updates from this one on be NaN, and of none after them."""
    passes = 0

    def hook(module: Criterion, inputs: Any, losses: Any) -> Any:
        nonlocal passes
        if not module.training:
            return losses
        update = 1 + passes // training.options.update_freq
        passes += 1
        if first <= update < first + times:
            return losses._replace(total=losses.total * torch.nan)
        return losses

    training.criterion.register_forward_hook(hook)


@pytest.mark.check("A8")
@pytest.mark.parametrize(
    "update", [1, pytest.param(7, marks=pytest.mark.slow), pytest.param(12, marks=pytest.mark.slow)]
)
def test_an_update_that_is_not_finite_is_skipped_and_counted(
    tmp_path: Path, reversal: Corpus, update: int
) -> None:
    training = make_training(tmp_path, reversal, 12, log_interval=1)
    failing_from(training, update, 1)
    assert training.fit() == "max_updates"
    skipped = [entry["skipped_updates"] for entry in metrics(tmp_path) if entry["kind"] == "train"]
    assert skipped == [float(i == update) for i in range(1, 13)]
    assert all(torch.isfinite(parameter).all() for parameter in training.model.parameters())


@pytest.mark.check("A8")
def test_weights_go_back_once_and_then_training_ends(
    tmp_path: Path, reversal: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five in a row: back to the newest weights from before; five more: an end that says where."""
    training = make_training(tmp_path, reversal, 40)
    failing_from(training, 12, 10)
    with pytest.raises(TrainingFailedError, match=r"5 updates in a row up to 21, again") as ended:
        training.fit()
    assert ended.value.status == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "going on at update 16 with the weights of update 10" in said
    assert "after going back to update 10" in str(ended.value)
    report = json.loads((tmp_path / "not_finite.json").read_text(encoding="utf-8"))
    assert report["update"] == 21
    assert len(report["sentences"]) == training.options.update_freq
    assert all(0 <= number < 600 for batch in report["sentences"] for number in batch)
    load_weights(checkpoint_path(tmp_path, "best"), training.model)
    assert all(torch.isfinite(parameter).all() for parameter in training.model.parameters())


@pytest.mark.check("A8")
def test_training_goes_on_with_the_weights_of_before(
    tmp_path: Path, reversal: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the checkpoint, with its moments, and not those of the update after it."""
    training = make_training(tmp_path, reversal, 16, save_interval=8, valid_interval=100)
    failing_from(training, 10, 5)
    seen: dict[int, dict[str, torch.Tensor]] = {}
    count = training._count

    def counted(result: Any, seconds: float) -> None:
        seen[training.progress.update] = full_state(training)
        count(result, seconds)

    monkeypatch.setattr(training, "_count", counted)
    take_back = training._take_weights_back

    def taken() -> bool:
        assert take_back()
        seen[0] = full_state(training)
        return True

    monkeypatch.setattr(training, "_take_weights_back", taken)
    assert training.fit() == "max_updates"
    assert training.progress.went_back_to == 8
    assert all(torch.equal(seen[0][name], seen[8][name]) for name in seen[8])
    assert not all(torch.equal(seen[0][name], seen[9][name]) for name in seen[9])


def full_state(training: Training) -> dict[str, torch.Tensor]:
    """Weights and moments, copied."""
    found = {name: value.detach().clone() for name, value in training.model.named_parameters()}
    for name, parameter in training.model.named_parameters():
        for key, value in training.optimiser.state.get(parameter, {}).items():
            found[f"{key} {name}"] = value.clone()
    return found


@pytest.mark.check("A8")
@pytest.mark.parametrize("what", ["weight", "output", "gradient"])
def test_where_it_begins_is_found(reversal: Corpus, what: str) -> None:
    criterion = make_criterion(reversal, dropout=0.1)
    batch = collate(reversal.split("train"), np.arange(8))
    mechanism = criterion.model.decoder_stack[0].cross_attention.mechanism
    where, kind = "decoder_layers.0.cross_attention.mechanism", type(mechanism).__name__
    if what == "weight":
        where, kind = FFN_WEIGHT.removeprefix("model."), None
        with torch.no_grad():
            criterion.get_parameter(FFN_WEIGHT)[0, 0] = torch.inf
    elif what == "output":
        mechanism.register_forward_hook(lambda module, inputs, output: broken(output))
    else:
        where = "decoder_layers.0.cross_attention.output_projection.weight"
        weight = criterion.get_parameter(f"model.{where}")
        weight.register_hook(lambda gradient: gradient * torch.nan)
    found = find_not_finite(
        criterion,
        [batch],
        Totals(batch.num_source_tokens, batch.num_target_tokens),
        seed=1,
        update=1,
        regulariser_weight=0.1,
        precision="fp32",
    )
    assert found is not None
    assert (found.what, found.where, found.mechanism) == (what, where, kind)
    assert all(parameter.grad is None for parameter in criterion.parameters())


def broken(output: Any) -> Any:
    first, *others = output
    return (first * torch.inf * 0, *others)


def out_of_memory(above: int, error: BaseException, where: str) -> Callable[..., None]:
    """A hook that fails, forward or backward, for batches of more rows."""

    def raise_it(*unused: Any) -> None:
        raise error

    def hook(module: Criterion, inputs: Any, losses: Any) -> None:
        if module.training and len(inputs[0]) > above:
            if where == "forward":
                raise_it()
            losses.total.register_hook(raise_it)

    return hook


@pytest.mark.check("A9")
@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        MemoryError(),
    ],
)
def test_a_batch_too_large_is_done_in_halves(
    tmp_path: Path, reversal: Corpus, where: str, error: BaseException
) -> None:
    """Without dropout the weights after the update are those of the whole batch."""
    trained = []
    for above in (10_000, 20):
        training = make_training(tmp_path / str(above), reversal, 1, max_tokens=300)
        training.criterion = make_criterion(reversal, dropout=0.0)
        training.model = training.criterion.model
        training.optimiser = torch.optim.SGD(training.criterion.parameters(), lr=0.01)
        training.criterion.register_forward_hook(out_of_memory(above, error, where))
        training.fit()
        trained.append(training)
    whole, halved = trained
    assert whole.progress.halved_in_a_row == 0
    assert halved.progress.halved_in_a_row == 1
    for ours, theirs in zip(halved.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.check("A9")
def test_three_in_a_row_end_with_a_size_that_fits(tmp_path: Path, reversal: Corpus) -> None:
    training = make_training(tmp_path, reversal, 9)
    training.criterion.register_forward_hook(out_of_memory(1, MemoryError(), "forward"))
    with pytest.raises(TrainingFailedError, match=r"one update \(MemoryError\).*max_tokens=\d+"):
        training.fit()
    training = make_training(tmp_path, reversal, 9, max_tokens=300, log_interval=1)
    training.criterion.register_forward_hook(out_of_memory(25, MemoryError(), "forward"))
    with pytest.raises(TrainingFailedError, match=r"3 updates in a row.*train.max_tokens=\d+"):
        training.fit()
    assert training.progress.update == 3
    logged = [entry["halved_updates"] for entry in metrics(tmp_path) if entry["kind"] == "train"]
    assert logged == [1.0, 1.0]
