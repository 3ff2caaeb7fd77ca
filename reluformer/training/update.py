"""One update: micro-batches to gradients to step."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from reluformer.data.batch import Batch
from reluformer.training.loss import Losses, Totals
from reluformer.training.parallel import Processes


@dataclass(frozen=True)
class UpdateResult:
    """Losses of the whole update (see `Losses`), its tokens, and whether it took the step."""

    losses: dict[str, float]
    totals: Totals
    gradient_norm: float
    stepped: bool


def run_update(
    criterion: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Sequence[Batch],
    processes: Processes,
    *,
    seed: int,
    update: int,
    learning_rate: float,
    regulariser_weight: float,
    clip_norm: float,
    precision: str,
) -> UpdateResult:
    """Accumulate gradients over the batches and all processes, clip, step.

    `criterion` is a `Criterion`, wrapped by `Processes.wrap`. A gradient that is not finite
    takes no step, on any process. `clip_norm` 0 does not clip.
    """
    criterion.train()
    totals = count_tokens(batches, processes)
    sums = torch.zeros(len(Losses._fields), device=processes.device)
    for i, batch in enumerate(batches):
        reseed(seed, update, i * processes.world_size + processes.rank)
        last = i == len(batches) - 1
        with _synchronising(criterion, last):
            with autocast(processes.device, precision):
                losses = criterion(batch, totals, regulariser_weight)
            (losses.total * processes.world_size).backward()  # wrapped gradients are averaged
        sums += torch.stack([part.detach().to(sums.device) for part in losses])
    processes.sum(sums)
    gradient_norm = nn.utils.clip_grad_norm_(criterion.parameters(), clip_norm or float("inf"))
    stepped = bool(torch.isfinite(gradient_norm))
    if stepped:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    named = dict(zip(Losses._fields, sums.tolist(), strict=True))
    return UpdateResult(named, totals, float(gradient_norm), stepped)


def count_tokens(batches: Sequence[Batch], processes: Processes) -> Totals:
    """Real tokens of these batches on all processes."""
    counts = [
        sum(batch.num_source_tokens for batch in batches),
        sum(batch.num_target_tokens for batch in batches),
    ]
    total = processes.sum(torch.tensor(counts, dtype=torch.int64, device=processes.device))
    source_tokens, target_tokens = total.tolist()
    return Totals(source_tokens, target_tokens)


def reseed(seed: int, update: int, micro_batch: int) -> None:
    """Dropout noise is a function of (seed, update, micro-batch) and nothing else.

    So a resumed run needs no generator's state, and two processes draw for their micro-batches
    what one process would draw for them.
    """
    mixed = np.random.SeedSequence([seed, update, micro_batch]).generate_state(1, np.uint64)
    torch.manual_seed(int(mixed[0]) >> 1)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bf16 for matrix products where asked for; fp32 otherwise."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _synchronising(criterion: nn.Module, last: bool) -> AbstractContextManager[object]:
    """Exchange gradients between processes only at the last micro-batch of an update."""
    no_sync = getattr(criterion, "no_sync", None)
    return nullcontext() if last or no_sync is None else no_sync()
