"""Layers by torch.compile: one graph for any batch and length, in training or in decoding."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from reluformer.model.transformer import Transformer


def compile_layers(model: Transformer) -> None:
    """For training: fuse what stands between the matrix products of each layer.

    Layers and not the model, as all of the encoder share one graph and all of the decoder another;
    parameters keep their names. The first updates wait for the compiler.
    """
    prepare_compiler()
    for layer in (*model.encoder_stack, *model.decoder_stack):
        layer.compile(dynamic=True)


def compile_steps(model: Transformer) -> None:
    """For decoding: the same of each decoder layer's `step`, which runs once for every piece.

    Four graphs serve all layers: of the first step and of all others, each of one sentence and of
    several. Python's share of a step, which is the same for one sentence and for hundreds, is what
    is saved.
    """
    for layer in model.decoder_stack:
        layer.step = prepared(torch.compile(layer.step, dynamic=True))  # type: ignore[method-assign]


def prepared(step: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The compiler's settings are a thread's own, and batches are searched on threads."""

    @functools.wraps(step)
    def run(*inputs: Any) -> Tensor:
        prepare_compiler()
        return step(*inputs)

    return run


def prepare_compiler() -> None:
    settings = torch._dynamo.config
    settings.specialize_float = True  # rates of dropout never change; traces once
    # One sentence or one position in a batch are graphs of their own, as are other mechanisms.
    settings.recompile_limit = 64


def uncompiled() -> AbstractContextManager[object]:
    """Within the block, compiled layers run as they are written.

    For what runs seldom and would need graphs of its own: validation, statistics of attention.
    """
    return torch.compiler.set_stance("force_eager")
