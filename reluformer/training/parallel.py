"""Processes that train together, as torchrun starts them; one process alone is the simple case."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from reluformer.errors import UserError

# A rank that waits longer for the others gives up instead of hanging for ever.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Processes:
    """This process among all: rank 0 writes files and messages."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Average gradients over all processes at every backward pass."""
        if self.world_size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
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

    def leave(self) -> None:
        if self.world_size > 1:
            distributed.destroy_process_group()


def join_processes(device: torch.device) -> Processes:
    """Find the others through torchrun's environment variables; alone where there are none."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return Processes(device=device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    return Processes(distributed.get_rank(), world_size, device)
