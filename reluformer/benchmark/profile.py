"""Where the time goes: a system's operators, by kind of work, as PyTorch's profiler sees them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from reluformer.benchmark.rounds import Work
from reluformer.console import console

# Beginnings of names, without namespaces: the first line that fits an operator, or anything that it
# runs within, is its kind.
KINDS = {
    "output layer and loss": (
        "LinearCrossEntropy",
        "cross_entropy_loss",
        "log_softmax",
        "_log_softmax",
        "LogSoftmaxBackward",
        "NllLoss",
    ),
    "optimiser": ("Optimizer.", "_foreach_", "_fused_adamw_"),
    "attention": (
        "pointwise_attention",
        "GeneratedBackwardFor_reluformer_pointwise_attention",
        "Sparsemax",
        "Entmax",
        "AlphaEntmax",
        "scaled_dot_product",
        "_scaled_dot_product",
        "ScaledDotProduct",
        "bmm",
        "baddbmm",
        "Bmm",
        "softmax",
        "_softmax",
        "SoftmaxBackward",
    ),
    "search": ("topk", "sort", "gather"),
    "linear layers": (
        "linear",
        "_linear_pointwise",
        "OneDnnLinear",
        "mm",
        "addmm",
        "AddmmBackward",
        "MmBackward",
        "qlinear",
    ),
    "layer norms": ("native_layer_norm", "NativeLayerNormBackward", "layer_norm"),
    "embeddings": ("embedding", "EmbeddingBackward"),
    "copies": ("copy_", "_to_copy", "clone", "index_select"),
}
BETWEEN, REST = "between operators", "everything else"
ALL = (*KINDS, REST, BETWEEN)
WORK = "work"
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"),
    *("#56B4E9", "#F0E442", "#882255", "#DDDDDD", "#777777"),
)


@dataclass(frozen=True)
class Profile:
    """Milliseconds of one run of each system by kind of work; the profiler's own cost included.

    `between operators` is what Python needs outside of them, on a GPU what the GPU waits.
    Everything else is additions, dropout, activations, and what mechanisms without a fused operator
    do beside their products. The output layer is one with the loss in our training; elsewhere it is
    among the linear layers.
    """

    title: str
    conditions: str
    milliseconds: dict[str, dict[str, float]]  # system: kind: value

    @property
    def columns(self) -> list[str]:
        return ["ms (share)", *self.milliseconds]

    def rows(self) -> Iterator[list[str]]:
        """A kind of work in each, a system in each column; the sum comes last."""
        totals = {system: sum(found.values()) for system, found in self.milliseconds.items()}
        for kind in ALL:
            found = {system: one[kind] for system, one in self.milliseconds.items()}
            if any(found.values()):
                yield [
                    kind,
                    *(f"{ms:,.0f} ({ms / totals[system]:.0%})" for system, ms in found.items()),
                ]
        yield ["all", *(f"{total:,.0f}" for total in totals.values())]


def profile_work(work: Work, device: torch.device) -> Profile:
    """One run of each system after one that is not counted."""
    milliseconds = {}
    for name, task in work.tasks.items():
        task()
        milliseconds[name] = profiled(task, device)
        console.print(f"{name}: {sum(milliseconds[name].values()):,.0f} ms")
    return Profile(f"{work.title}: where the time goes", work.conditions, milliseconds)


def profiled(task: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Milliseconds by kind of work."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as recorder, numpy_recorded(), record_function(WORK):
        task()
        if on_gpu:
            torch.cuda.synchronize(device)
    found = dict.fromkeys(ALL, 0.0)
    # A GPU's kernels are events, too, but their time is in that of the operators that started them.
    events = [
        event
        for event in recorder.events() or []
        if event.device_type == DeviceType.CPU and not event.is_async
    ]
    for event in events:
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        found[kind_of(event)] += spent / 1000
    if on_gpu:
        (whole,) = (event for event in events if event.name == WORK)
        found[BETWEEN] = max(whole.cpu_time_total / 1000 - sum(found.values()), 0.0)
    return found


@contextmanager
def numpy_recorded() -> Iterator[None]:
    """Let PyTorch's profiler see NumPy's products, which only attention has, as its own."""
    product = np.matmul

    def recorded(*arguments: Any, **options: Any) -> Any:
        with record_function("bmm"):
            return product(*arguments, **options)

    np.matmul = recorded  # type: ignore[assignment]
    try:
        yield
    finally:
        np.matmul = product


def kind_of(event: FunctionEvent) -> str:
    """By the names of the operator and of all that it runs within."""
    if event.name == WORK:
        return BETWEEN
    names = []
    inner: FunctionEvent | None = event
    while inner is not None:
        names.append(inner.name.rpartition("::")[2].removeprefix("evaluate_function: "))
        inner = inner.cpu_parent
    for kind, prefixes in KINDS.items():
        if any(name.startswith(prefixes) for name in names):
            return kind
    return REST


def draw_profile(found: Profile, path: Path) -> None:
    """A bar for each system, made of the kinds of work; needs matplotlib."""
    from matplotlib.figure import Figure

    systems = list(found.milliseconds)
    figure = Figure(figsize=(9, 1.2 + 0.6 * len(systems)), layout="constrained")
    axes = figure.subplots()
    begins = dict.fromkeys(systems, 0.0)
    for kind, colour in zip(ALL, COLOURS, strict=True):
        if not any(times[kind] for times in found.milliseconds.values()):
            continue
        lengths = [found.milliseconds[system][kind] for system in systems]
        axes.barh(systems, lengths, left=list(begins.values()), label=kind, color=colour)
        begins = {
            system: begins[system] + length for system, length in zip(systems, lengths, strict=True)
        }
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    axes.set_title(found.title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=150, bbox_inches="tight", facecolor="white")
