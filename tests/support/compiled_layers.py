"""Prints what compiling the layers of small models changes, as JSON: one for each attention named.

A process of its own, as the compiler cannot trace the checks of shapes that tests switch on.
"""

import json
import sys

import torch
from small_models import VOCAB, model_config
from torch._dynamo.testing import CompileCounterWithBackend

import reluformer.model.layers
from reluformer.config.build import build_model
from reluformer.model.transformer import Transformer
from reluformer.training.compiling import compile_layers, uncompiled

BATCHES = [[7, 5, 2], [19, 12], [4, 4, 3, 2]]  # lengths of sentences

original = torch.nn.Module.compile


def report(attention: str) -> dict[str, object]:
    # Traces and differentiates as in earnest, but leaves the graphs to PyTorch's operators.
    counter = CompileCounterWithBackend("aot_eager")

    def compile_whole(module: torch.nn.Module, **options: object) -> None:
        original(module, backend=counter, fullgraph=True, **options)

    torch._dynamo.reset()
    model = build_model(model_config(attention), VOCAB, VOCAB, True)
    plain = [gradients(model, lengths) for lengths in BATCHES]
    names = list(model.state_dict())
    torch.nn.Module.compile = compile_whole
    compile_layers(model)
    with uncompiled():
        gradients(model, BATCHES[0])
    beside_training = counter.frame_count
    differences = [
        float((gradients(model, lengths) - expected).norm() / expected.norm())
        for lengths, expected in zip(BATCHES, plain, strict=True)
    ]
    return {
        "graphs": counter.frame_count,
        "graphs beside training": beside_training,
        "differences": differences,
        "same names": names == list(model.state_dict()),
    }


def gradients(model: Transformer, lengths: list[int]) -> torch.Tensor:
    torch.manual_seed(1)
    width = max(lengths)
    tokens = torch.arange(len(lengths) * width).view(-1, width) % (VOCAB - 4) + 4
    real = torch.tensor(lengths)
    shorter = (real - 2).clamp(min=1)
    output = model(tokens, real, tokens[:, : shorter.max()], shorter, with_penalty=True)
    penalties = [sum(penalty) for site in output.penalties.values() for penalty in site]
    (model.logits(output.states).square().sum() + sum(penalties)).backward()
    found = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    return found


reluformer.model.layers.dropout = torch.nn.functional.dropout  # as on a GPU
print(json.dumps({attention: report(attention) for attention in sys.argv[1:]}))
