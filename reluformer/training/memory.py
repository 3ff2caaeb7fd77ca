"""What training keeps in memory, and how the process holds on to it."""

import ctypes
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from reluformer.kernels.attention import no_weights_kept
from reluformer.model.transformer import Transformer
from reluformer.training.update import autocast

WIDEST = 128  # positions of the longest sentence that memory is measured on

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next allocation instead of returning it.

    Training allocates the same large tensors at every update. By default each of them is mapped
    anew and the kernel clears its pages one fault at a time, which took a third of the time of
    a small model's update on a CPU. Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 64 * 2**20)


def attention_cost(
    model: Transformer, device: torch.device, precision: str, with_penalty: bool
) -> float:
    """c, where training on a sentence of w positions needs memory in proportion to w + c w^2.

    Counted in bytes that are kept for the backward pass of the layers, on three sentences, as some
    (weights in another precision) do not depend on the length; with recomputation, the layers'
    inputs and all of one layer. What attention keeps of few keys alone, to save time, is left out.
    """
    recompute, layers = model.recompute, len(model.encoder_stack) + len(model.decoder_stack)

    def kept(width: int) -> int:
        tokens = torch.full((1, width), 4, device=device)
        lengths = torch.tensor([width], device=device)
        with autocast(device, precision), no_weights_kept():
            return bytes_kept(model, lambda: model(tokens, lengths, tokens, lengths, with_penalty))

    def peak(width: int) -> float:
        total = float(kept(width))
        if recompute:
            model.recompute = False
            total += kept(width) / layers
            model.recompute = True
        return total

    widest = min(WIDEST, model.max_positions)
    widths = [widest // 4, widest // 2, widest]
    square, linear, _ = np.polyfit(widths, [peak(width) for width in widths], 2)
    return max(0.0, float(square / linear))


def bytes_kept(model: nn.Module, run: Callable[[], object]) -> int:
    """Bytes that the backward pass of what `run` computes, in training, waits for.

    The model's own weights do not count.
    """
    own = {parameter.data_ptr() for parameter in model.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    was_training = model.training
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = run()
    model.train(was_training)
    del output  # until here everything was alive, so that no address was used twice
    return sum(found.values())
