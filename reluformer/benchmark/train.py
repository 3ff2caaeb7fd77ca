"""Training: target tokens a second through whole updates (forward, backward, clipping, Adam)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from reluformer.benchmark.fairseq import FairseqCriterion, FairseqTransformer
from reluformer.benchmark.pytorch import PyTorchCriterion, PyTorchTransformer
from reluformer.benchmark.rounds import Work
from reluformer.benchmark.synthetic import synthetic_split
from reluformer.data.batch import Batch
from reluformer.data.batching import BatchStream
from reluformer.errors import UserError
from reluformer.model.transformer import Transformer, count_parameters
from reluformer.training.loop import adam
from reluformer.training.loss import Criterion
from reluformer.training.memory import bytes_kept, keep_freed_memory
from reluformer.training.options import OptimOptions
from reluformer.training.parallel import Processes
from reluformer.training.update import autocast, run_update

Model = Transformer | PyTorchTransformer | FairseqTransformer
CRITERIA: dict[type[Model], Callable[[Any, float], nn.Module]] = {
    Transformer: Criterion,
    PyTorchTransformer: PyTorchCriterion,
    FairseqTransformer: FairseqCriterion,
}

# Enough for batches as tight as those of a real corpus.
NUM_SENTENCES = 20_000
LABEL_SMOOTHING = 0.1
# So low a rate leaves the weights where they begin: no system's speed depends on what it learns.
OPTIM = OptimOptions(1e-6, "constant", 0, 0.0, 0.9, 0.98, 1e-8, 1e-4, 1.0)


def training_work(
    models: Mapping[str, Model],
    batches: Sequence[Batch],
    *,
    regulariser_weight: float,
    precision: str,
    device: torch.device,
) -> Work:
    """One update on each batch and system in every round; padding counts as no token."""
    keep_freed_memory()  # as reluformer-train does; all systems gain by it
    batches = [batch.to(device) for batch in batches]
    tasks = {
        name: _task(model.to(device), batches, regulariser_weight, precision, device)
        for name, model in models.items()
    }
    tokens = sum(batch.num_target_tokens for batch in batches)
    padding = 1 - tokens / sum(batch.target.numel() for batch in batches)
    return Work(
        title="Training",
        unit="target tokens",
        amount=tokens,
        tasks=tasks,
        conditions=f"{len(batches)} updates a round (forward, backward, clipping, AdamW), each on "
        f"one batch; {tokens / len(batches):,.0f} target tokens a batch, beside {padding:.1%} "
        f"padding; label smoothing {LABEL_SMOOTHING}, regulariser weight {regulariser_weight}, "
        f"{precision}",
        parameters={name: count_parameters(model) for name, model in models.items()},
    )


def windows_work(
    models: Mapping[str, Model],
    batch: Batch,
    *,
    regulariser_weight: float,
    precision: str,
    device: torch.device,
) -> Work:
    """`training_work` on one batch of full windows, with the memory that each system needs."""
    rows, length = batch.target.shape
    batch = batch.to(device)
    work = training_work(
        models,
        [batch],
        regulariser_weight=regulariser_weight,
        precision=precision,
        device=device,
    )
    return replace(
        work,
        title=f"Training on windows of {length} positions",
        conditions=f"{rows} a batch; {work.conditions}",
        memory_mb={
            name: memory_for_backward(model, batch, regulariser_weight > 0, precision) / 2**20
            for name, model in models.items()
        },
        peak_mb={
            name: memory_of_task(task, device) / 2**20
            for name, task in work.tasks.items()
            if device.type == "cuda"
        },
    )


def memory_of_task(task: Callable[[], object], device: torch.device) -> int:
    """Bytes of a GPU that it takes at most, beside what stays from one run to the next."""
    task()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    task()
    return torch.cuda.max_memory_allocated(device) - before


def memory_for_backward(model: Model, batch: Batch, with_penalty: bool, precision: str) -> int:
    """Bytes that the layers keep of this batch."""
    inputs = (batch.src_tokens, batch.src_lengths, batch.prev_output_tokens)
    with autocast(batch.target.device, precision):
        if isinstance(model, Transformer):
            return bytes_kept(model, lambda: model(*inputs, batch.tgt_lengths, with_penalty))
        return bytes_kept(model, lambda: model(*inputs))


def synthetic_batches(count: int, max_tokens: int, vocab_size: int, seed: int) -> list[Batch]:
    """The first batches that reluformer-train would draw from a corpus of TED-like lengths."""
    with TemporaryDirectory() as folder:
        split = synthetic_split(Path(folder), NUM_SENTENCES, vocab_size, seed)
        stream = BatchStream(split, max_tokens, seed, skip_too_long=True)
        return [next(stream) for _ in range(count)]


def _task(
    model: Model,
    batches: Sequence[Batch],
    regulariser_weight: float,
    precision: str,
    device: torch.device,
) -> Callable[[], None]:
    criterion = CRITERIA[type(model)](model, LABEL_SMOOTHING)
    if isinstance(model, Transformer):
        assert isinstance(criterion, Criterion)
        optimiser = adam(criterion, OPTIM)
    else:
        optimiser = model.adam(OPTIM)
    processes = Processes(device=device)
    return partial(_train, criterion, optimiser, batches, processes, regulariser_weight, precision)


def _train(
    criterion: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Sequence[Batch],
    processes: Processes,
    regulariser_weight: float,
    precision: str,
) -> None:
    for update, batch in enumerate(batches):
        result = run_update(
            criterion,
            optimiser,
            [batch],
            processes,
            seed=1,
            update=update,
            learning_rate=OPTIM.learning_rate,
            regulariser_weight=regulariser_weight,
            clip_norm=OPTIM.clip_norm,
            precision=precision,
        )
        if not result.stepped:
            raise UserError("a gradient was not finite: an update without its step is no update")
