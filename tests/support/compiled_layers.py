"""Prints what compiling the layers of small models changes, as JSON: one for each attention named.

A process of its own, as the compiler cannot trace the checks of shapes that tests switch on.
"""

import functools
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import torch
from small_models import VOCAB, model_config
from torch._dynamo.testing import CompileCounterWithBackend

import reluformer.model.layers
from reluformer.config.build import build_model
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.model.compiling import compile_layers, compile_steps, uncompiled
from reluformer.model.transformer import Transformer

BATCHES = [[7, 5, 2], [19, 12], [4, 4, 3, 2]]  # lengths of sentences
SOURCES = [[7, 5, 2], [6]]

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


def report_steps(attention: str) -> dict[str, object]:
    """Of translations: beams, sentences that end early, and a batch of one."""
    counter = CompileCounterWithBackend("eager")
    torch._dynamo.reset()
    model = build_model(model_config(attention), VOCAB, VOCAB, True).eval()
    plain = [translations(model, lengths) for lengths in SOURCES]
    compile_whole = functools.partial(torch.compile, backend=counter, fullgraph=True)
    with patch.object(torch, "compile", compile_whole):
        compile_steps(model)
    with ThreadPoolExecutor(1) as other:  # as batches are searched on a CPU
        same = list(other.map(lambda lengths: translations(model, lengths), SOURCES)) == plain
    return {"graphs": counter.frame_count, "same translations": same}


def translations(model: Transformer, lengths: list[int]) -> list[list[int]]:
    found = translate_batch(model, tokens_of(lengths), torch.tensor(lengths), DecodeOptions())
    return [best.tokens for best, *_ in found]


def tokens_of(lengths: list[int]) -> torch.Tensor:
    width = max(lengths)
    return torch.arange(len(lengths) * width).view(-1, width) % (VOCAB - 4) + 4


def gradients(model: Transformer, lengths: list[int]) -> torch.Tensor:
    torch.manual_seed(1)
    tokens = tokens_of(lengths)
    real = torch.tensor(lengths)
    shorter = (real - 2).clamp(min=1)
    output = model(tokens, real, tokens[:, : shorter.max()], shorter, with_penalty=True)
    penalties = [sum(penalty) for site in output.penalties.values() for penalty in site]
    (model.logits(output.states).square().sum() + sum(penalties)).backward()
    found = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    return found


reluformer.model.layers.dropout = torch.nn.functional.dropout  # as on a GPU
reports = {attention: report(attention) for attention in sys.argv[1:]}
print(json.dumps({"layers": reports, "steps": report_steps(sys.argv[1])}))
