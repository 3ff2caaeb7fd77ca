"""Checkpoints: one safetensors file each, written whole or not at all, and never unpickled.

A full checkpoint holds `model.*` (weights), `optimiser.*` (Adam's moments) and, as JSON in the
header, the `Progress`; those kept for translation and averaging hold `model.*` only.

    checkpoints/checkpoint_last.safetensors     the newest state, full: training resumes from it
    checkpoints/checkpoint_best.safetensors     best by the validation metric
    checkpoints/checkpoint_<updates>.safetensors   every `save_interval` updates, the newest few
    checkpoints/checkpoint_avg_<n>.safetensors  mean of the newest n
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from reluformer.durable import make_durable, put_in_place, temporary
from reluformer.errors import UserError

FORMAT = "reluformer-1"
NUMBERED = re.compile(r"checkpoint_(\d+)\.safetensors")


@dataclass
class Progress:
    """Where training stands; with the weights and Adam's moments, all that resuming needs."""

    update: int = 0
    stream: dict[str, Any] = field(default_factory=dict)
    micro_batches: int = 1  # of one update, over all processes
    best_metric: float | None = None  # higher is better: BLEU, or minus the loss
    best_update: int = 0
    validations_since_best: int = 0
    target_tokens: int = 0
    training_seconds: float = 0.0
    window: dict[str, float] = field(default_factory=dict)  # sums since the last line of the log


def checkpoint_path(run: Path, name: str) -> Path:
    """Where the checkpoint called last, best, avg_<n> or <updates> of a run is."""
    return run / "checkpoints" / f"checkpoint_{name}.safetensors"


def save_checkpoint(
    path: Path,
    model: nn.Module,
    progress: Progress,
    optimiser: torch.optim.Optimizer | None = None,
) -> None:
    """Write weights and progress, and with an optimiser all that resuming needs."""
    tensors = {f"model.{name}": value for name, value in own_tensors(model).items()}
    if optimiser is not None:
        for name, parameter in model.named_parameters():
            for key, value in optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{key}.{name}"] = value
    write_tensors(path, tensors, {"progress": json.dumps(asdict(progress))})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """A safetensors file under its final name only once it is safely on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(plain, temporary(path), {"format": FORMAT, **metadata})
        with temporary(path).open("rb") as file:
            make_durable(file)
        put_in_place(path)
    except (OSError, SafetensorError) as error:
        temporary(path).unlink(missing_ok=True)
        raise UserError(
            f"{path}: could not be written ({error}); earlier checkpoints are untouched"
        ) from None


def load_weights(path: Path, model: nn.Module) -> Progress:
    """Put a checkpoint's weights into a model of the same shape."""
    with _open(path) as file:
        wanted = own_tensors(model)
        found = {key.removeprefix("model.") for key in _names(file) if key.startswith("model.")}
        if found != set(wanted):
            missing, extra = sorted(set(wanted) - found), sorted(found - set(wanted))
            raise UserError(
                f"{path}: holds another model: missing {missing[:3]}, unexpected {extra[:3]}"
            )
        for name, tensor in wanted.items():
            stored = file.get_tensor(f"model.{name}")
            if stored.shape != tensor.shape:
                raise UserError(
                    f"{path}: `{name}` has shape {list(stored.shape)}, "
                    f"the model of this configuration {list(tensor.shape)}"
                )
            with torch.no_grad():
                tensor.copy_(stored)
        return _progress(path, file.metadata())


def load_training_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Put back weights and Adam's moments, bit for bit."""
    progress = load_weights(path, model)
    with _open(path) as file:
        keys = {key.split(".")[1] for key in _names(file) if key.startswith("optimiser.")}
        if progress.update and not keys:
            raise UserError(f"{path}: holds no optimiser state: training cannot continue from it")
        for name, parameter in model.named_parameters():
            state = {key: file.get_tensor(f"optimiser.{key}.{name}") for key in keys}
            optimiser.state[parameter] = {
                key: value.to(parameter.device) for key, value in state.items()
            }
    return progress


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of each weight, `model.*` names, computed in float64."""
    sums: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    for path in paths:
        with _open(path) as file:
            names = {name for name in _names(file) if name.startswith("model.")}
            if sums and names != set(sums):
                raise UserError(f"{path}: holds another model than {paths[0]}: cannot average")
            for name in names:
                tensor = file.get_tensor(name)
                kinds[name] = tensor.dtype
                sums[name] = sums.get(name, 0) + tensor.double()
    return {name: (total / len(paths)).to(kinds[name]) for name, total in sums.items()}


def numbered_checkpoints(run: Path) -> list[Path]:
    """The run's checkpoint_<updates> files, oldest first."""
    folder = run / "checkpoints"
    found = [path for path in folder.glob("checkpoint_*") if NUMBERED.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(NUMBERED.fullmatch(path.name)[1]))  # type: ignore[index]


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, shared ones once under their first name."""
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            own[name] = tensor
    return own


def _open(path: Path) -> Any:
    if not path.exists():
        there = sorted(p.name for p in path.parent.glob("checkpoint_*.safetensors"))
        raise UserError(f"{path}: no such checkpoint; there are: {', '.join(there) or 'none'}")
    try:
        file = safe_open(path, framework="pt")
        kind = (file.metadata() or {}).get("format")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({error})") from None
    if kind != FORMAT:
        raise UserError(f"{path}: format {kind!r} instead of {FORMAT!r}: not a checkpoint of ours")
    return file


def _names(file: Any) -> list[str]:
    return list(file.keys())


def _progress(path: Path, metadata: dict[str, str]) -> Progress:
    try:
        return Progress(**json.loads(metadata.get("progress", "{}")))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: was written by another version of reluformer: {error}") from None
