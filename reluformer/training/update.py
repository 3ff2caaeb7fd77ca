"""One update: micro-batches to gradients to step."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from reluformer.data.batch import Batch
from reluformer.errors import TrainingFailedError, is_out_of_memory
from reluformer.training.loss import Losses, Totals
from reluformer.training.parallel import Processes

# How often batches are halved before an update is given up.
MOST_HALVINGS = 3


@dataclass(frozen=True)
class UpdateResult:
    """Losses of the whole update (see `Losses`), its tokens, and whether it took the step.

    `halvings` says how often its batches were halved because memory did not suffice.
    """

    losses: dict[str, float]
    totals: Totals
    gradient_norm: float
    stepped: bool
    halvings: int


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
    takes no step, on any process. `clip_norm` 0 does not clip. One process alone that runs out of
    memory begins again with its batches in halves: the same gradient, but for the noise of
    dropout. Raises TrainingFailedError where that does not help, or among several processes.
    """
    criterion.train()
    totals = count_tokens(batches, processes)

    def gradients(parts: Sequence[Batch]) -> Tensor:
        """Those of all parts, added up in the parameters; returns the sums of `Losses`."""
        sums = torch.zeros(len(Losses._fields), device=processes.device)
        for i, batch in enumerate(parts):
            reseed(seed, update, i * processes.world_size + processes.rank)
            with _synchronising(criterion, i == len(parts) - 1):
                with autocast(processes.device, precision):
                    losses = criterion(batch, totals, regulariser_weight)
                (losses.total * processes.world_size).backward()  # wrapped gradients are averaged
            sums += torch.stack([part.detach().to(sums.device) for part in losses])
        return sums

    sums, halvings = within_memory(gradients, batches, optimiser, processes)
    processes.sum(sums)
    norm = nn.utils.clip_grad_norm_(criterion.parameters(), clip_norm or float("inf"))
    # The one place of an update that waits for the device.
    *summed, gradient_norm = torch.cat([sums, norm[None].to(sums)]).tolist()
    stepped = math.isfinite(gradient_norm)
    if stepped:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    named = dict(zip(Losses._fields, summed, strict=True))
    return UpdateResult(named, totals, gradient_norm, stepped, halvings)


def within_memory(
    gradients: Callable[[Sequence[Batch]], Tensor],
    batches: Sequence[Batch],
    optimiser: torch.optim.Optimizer,
    processes: Processes,
) -> tuple[Tensor, int]:
    """What `gradients` returns, of the batches or, if need be, of their halves, and how often
    these were halved."""
    for halvings in range(MOST_HALVINGS + 1):
        try:
            return gradients(batches), halvings
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            what = str(error).split("\n")[0] or type(error).__name__
        # Outside the block, where the error no longer holds what the pass had in memory.
        optimiser.zero_grad(set_to_none=True)
        if processes.world_size > 1:  # the others wait for the gradients of this one
            break
        if processes.device.type == "cuda":
            torch.cuda.empty_cache()
        batches = [half for batch in batches for half in batch.halves()]
    positions = max(max(batch.src_tokens.numel(), batch.target.numel()) for batch in batches)
    raise TrainingFailedError(
        f"memory does not suffice for one update ({what}): train under another `name` with "
        f"train.max_tokens={max(positions // 2, 1)} and a higher `train.update_freq`, or with "
        "train.recompute=true; the checkpoints here are whole"
    )


def count_tokens(batches: Sequence[Batch], processes: Processes) -> Totals:
    """Real tokens of these batches on all processes."""
    counts = [
        sum(batch.num_source_tokens for batch in batches),
        sum(batch.num_target_tokens for batch in batches),
    ]
    if processes.world_size > 1:
        total = processes.sum(torch.tensor(counts, dtype=torch.int64, device=processes.device))
        counts = total.tolist()
    return Totals(*counts)


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
