"""Processes that train together, as torchrun starts them; one process alone is the simple case."""

import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from reluformer.errors import TrainingFailedError, UserError

# For so long a process that waited in vain waits for the others to say that they are there.
ROLL_CALL = timedelta(seconds=5)


@dataclass(frozen=True)
class Processes:
    """This process among all: rank 0 writes files and messages."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    roll_call: distributed.ProcessGroup | None = None  # used only once the others are missed

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Average gradients over all processes at every backward pass."""
        if self.world_size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        with warnings.catch_warnings():  # from PyTorch 2.13 on it has another name, too
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(module, device_ids=devices, broadcast_buffers=False)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, on each of them."""
        if self.world_size > 1:
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is up on any process."""
        if self.world_size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)).item())

    def on_first(self, action: Callable[[], None]) -> None:
        """Let the first process do something while the others wait for its end.

        If it raises UserError there, all of them stop: the others with an error that points to it.
        """
        failure: UserError | None = None
        if self.is_first:
            try:
                action()
            except UserError as error:
                failure = error
        if self.any(failure is not None):
            raise failure or UserError("stopped, as the first process did; it says why")

    def lost(self, error: BaseException) -> TrainingFailedError | None:
        """What to end with if the error is that of waiting for another process, else None."""
        if self.world_size == 1 or not re.search("gloo|nccl", str(error), re.IGNORECASE):
            return None
        others = "process 0, or one that process 0 names," if self.rank else "another process"
        if self.world_size == 2:
            others = f"process {1 - self.rank}"
        try:
            distributed.monitored_barrier(self.roll_call, ROLL_CALL, wait_all_ranks=True)
        except RuntimeError as answer:
            if silent := re.search(r"Ranks? ([\d, ]+) failed", str(answer)):
                others = f"process {silent[1]}"
        return TrainingFailedError(
            f"{others} of {self.world_size} does not answer ({str(error).split('] ')[-1]}): look "
            "for what it said last; the same command continues from the newest checkpoint, and "
            "torchrun does by itself with --max-restarts"
        )

    def leave(self) -> None:
        if self.world_size > 1:
            distributed.destroy_process_group()


def join_processes(device: torch.device, timeout: timedelta) -> Processes:
    """Find the others through torchrun's environment variables; alone where there are none.

    A process that waits longer than `timeout` for the others ends instead of hanging for ever.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return Processes(device=device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    # Processes that torchrun has started again must not read the addresses of those before them.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store, rank, _ = next(rendezvous("env://", timeout=timeout))
        distributed.init_process_group(
            backend,
            store=PrefixStore(f"attempt {attempt}", store),
            rank=rank,
            world_size=world_size,
            timeout=timeout,
        )
    except RuntimeError as error:
        raise TrainingFailedError(
            f"not all of {world_size} processes have come within {timeout}: {error}"
        ) from None
    roll_call = distributed.new_group(backend="gloo", timeout=ROLL_CALL)
    return Processes(rank, world_size, device, roll_call)
