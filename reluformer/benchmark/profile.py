"""Where the time goes: a system's operators, by kind of work, as PyTorch's profiler sees them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from reluformer.benchmark.rounds import Work
from reluformer.console import console

# Beginnings of names, without namespaces: the first line that fits an operator, or anything that it
# runs within, is its kind.
KINDS = {
    "output layer and loss": ("LinearCrossEntropy",),
    "optimiser": ("Optimizer.", "_foreach_", "_fused_adamw_"),
    "attention": (
        "pointwise_attention",
        "GeneratedBackwardFor_reluformer_pointwise_attention",
        "scaled_dot_product",
        "_scaled_dot_product",
        "ScaledDotProduct",
        "bmm",
        "baddbmm",
    ),
    "search": ("topk", "_log_softmax", "sort", "gather", "cat"),
    "linear layers": ("linear", "mm", "addmm", "AddmmBackward", "MmBackward", "qlinear"),
    "layer norms": ("native_layer_norm", "NativeLayerNormBackward", "layer_norm"),
    "embeddings": ("embedding", "EmbeddingBackward"),
    "copies": ("copy_", "_to_copy", "clone", "index_select"),
}
BETWEEN, REST = "between operators", "additions, dropout, activations"
ALL = (*KINDS, REST, BETWEEN)
WORK = "work"
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"),
    *("#56B4E9", "#F0E442", "#882255", "#DDDDDD", "#777777"),
)


@dataclass(frozen=True)
class Profile:
    """Milliseconds of one run of each system by kind of work; the profiler's own cost included.

    On a CPU `between operators` is what Python needs, on a GPU what the GPU waits.
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
    return Profile(f"Profile: {work.title}", work.conditions, milliseconds)


def profiled(task: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Milliseconds by kind of work."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as recorder, record_function(WORK):
        task()
        if on_gpu:
            torch.cuda.synchronize(device)
    found = dict.fromkeys(ALL, 0.0)
    events = [event for event in recorder.events() or [] if not event.is_async]
    for event in events:
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        found[kind_of(event)] += spent / 1000
    if on_gpu:
        (whole,) = (event for event in events if event.name == WORK)
        found[BETWEEN] = max(whole.cpu_time_total / 1000 - sum(found.values()), 0.0)
    return found


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
    """A bar for each system, made of the kinds of work."""
    systems = list(found.milliseconds)
    figure = Figure(figsize=(9, 1.2 + 0.6 * len(systems)), layout="constrained")
    axes = figure.subplots()
    begins = dict.fromkeys(systems, 0.0)
    for place, kind in enumerate(kind for kind in ALL if has(found, kind)):
        lengths = [found.milliseconds[system][kind] for system in systems]
        colour = COLOURS[place % len(COLOURS)]
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


def has(found: Profile, kind: str) -> bool:
    return any(times[kind] for times in found.milliseconds.values())
