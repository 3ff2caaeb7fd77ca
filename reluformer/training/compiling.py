"""Layers by torch.compile: one graph for any batch and length, in training alone."""

from contextlib import AbstractContextManager

import torch

from reluformer.model.transformer import Transformer


def compile_layers(model: Transformer) -> None:
    """Have the compiler fuse what stands between the matrix products of each layer.

    Layers and not the model, as all of the encoder share one graph and all of the decoder another;
    parameters keep their names. The first updates wait for the compiler.
    """
    settings = torch._dynamo.config
    settings.specialize_float = True  # rates of dropout never change; traces once
    # One sentence or one position in a batch are graphs of their own, as are other mechanisms.
    settings.recompile_limit = 64
    for layer in (*model.encoder_stack, *model.decoder_stack):
        layer.compile(dynamic=True)


def uncompiled() -> AbstractContextManager[object]:
    """Within the block, compiled layers run as they are written.

    For what runs seldom and would need graphs of its own: validation, statistics of attention.
    """
    return torch.compiler.set_stance("force_eager")
