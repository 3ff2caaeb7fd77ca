"""When updates fail: where numbers stopped being finite, and what to do about it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reluformer.attention.base import Attention
from reluformer.data.batch import Batch
from reluformer.durable import write_json
from reluformer.errors import TrainingFailedError
from reluformer.training.loss import Criterion, Totals
from reluformer.training.update import autocast, reseed

# Updates in a row without a finite gradient before the weights go back, and then training ends.
MOST_NOT_FINITE = 5
# Updates in a row whose batches had to be halved before training ends.
MOST_HALVED = 3


@dataclass(frozen=True)
class Finding:
    """The first thing of a pass that is not finite: `what` of the module or parameter `where`."""

    what: str  # weight, output, loss, gradient or norm
    where: str  # its name in the model
    mechanism: str | None  # the attention that it is part of, by the name of its class

    def __str__(self) -> str:
        inside = f" ({self.mechanism})" if self.mechanism else ""
        return f"the {self.what} of {self.where}{inside}"


def find_not_finite(
    criterion: Criterion,
    batches: Sequence[Batch],
    totals: Totals,
    *,
    seed: int,
    update: int,
    regulariser_weight: float,
    precision: str,
    world_size: int = 1,
    rank: int = 0,
) -> Finding | None:
    """Do an update's passes again, with the same noise, and see where it begins.

    None if all is finite here, as where another process had the fault. Leaves no gradients.
    """
    for name, parameter in criterion.named_parameters():
        if not is_finite(parameter):
            return _finding(criterion, "weight", name)
    criterion.train()
    try:
        for i, batch in enumerate(batches):
            reseed(seed, update, i * world_size + rank)
            device = batch.src_tokens.device
            with first_output_not_finite(criterion) as found, autocast(device, precision):
                losses = criterion(batch, totals, regulariser_weight)
            if found:
                return _finding(criterion, "output", found[0])
            if not is_finite(losses.total):
                return Finding("loss", "the batch", None)
            losses.total.backward()
        # Gradients flow from the last layer to the first: the fault begins in the last that has it.
        for name, parameter in reversed(list(criterion.named_parameters())):
            if parameter.grad is not None and not is_finite(parameter.grad):
                return _finding(criterion, "gradient", name)
    finally:
        criterion.zero_grad(set_to_none=True)
    return Finding("norm", "all gradients", None) if world_size == 1 else None


@contextmanager
def first_output_not_finite(criterion: Criterion) -> Iterator[list[str]]:
    """Within the block, names of modules whose output is not finite, in the order of their ends."""
    found: list[str] = []

    def hook_for(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not is_finite(output):
                found.append(name)

        return hook

    handles = [
        module.register_forward_hook(hook_for(name))
        for name, module in criterion.named_modules()
        if name
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def is_finite(value: Any) -> bool:
    """Whether all numbers are in a tensor, or in the tensors of a tuple or dictionary."""
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, tuple | list):
        return all(map(is_finite, value))
    return True


def _finding(criterion: Criterion, what: str, name: str) -> Finding:
    """With the attention mechanism whose layer the module or parameter belongs to, if any."""
    modules = dict(criterion.named_modules())
    parts = name.split(".")
    mechanism = None
    for end in range(len(parts), 0, -1):
        module = modules.get(".".join(parts[:end]))
        inner = getattr(module, "mechanism", module)
        if isinstance(inner, Attention):
            mechanism = type(inner).__name__
            break
    return Finding(what, name.removeprefix("model."), mechanism)


def not_finite_error(
    path: Path,
    finding: Finding | None,
    batches: Sequence[Batch],
    update: int,
    went_back: int | None,
) -> TrainingFailedError:
    """The error that ends training, once `path` says which sentences (by number) these were."""
    sentences = [batch.ids.tolist() for batch in batches]
    first = asdict(finding) if finding else None
    write_json(path, {"update": update, "first": first, "sentences": sentences})
    before = f", again after going back to update {went_back}" if went_back is not None else ""
    return TrainingFailedError(
        f"the gradient was not finite for {MOST_NOT_FINITE} updates in a row up to {update}{before}"
        f"; it begins with {finding or 'another process'}, {path} names the sentences: lower "
        "`optim.learning_rate` or raise `optim.warmup_updates`, under another `name`; the "
        "checkpoints are whole"
    )


def too_many_halved_error(max_tokens: int, halvings: int) -> TrainingFailedError:
    """The error that ends training where memory is too small for most batches."""
    return TrainingFailedError(
        f"memory did not suffice for {MOST_HALVED} updates in a row, whose batches had to be "
        f"halved: train under another `name` with train.max_tokens={max_tokens // 2**halvings} and "
        f"train.update_freq {2**halvings} times as high, or with train.recompute=true"
    )
