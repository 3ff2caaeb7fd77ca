"""Checkpoints: one safetensors file each, written whole or not at all, and never unpickled.

A full checkpoint holds `model.*` (weights), `optimiser.*` (Adam's moments) and, in the header,
`full` and the `Progress` as JSON; those kept for translation and averaging hold `model.*` only. The
header has a digest of all of it, which is checked before anything is used.

    checkpoints/checkpoint_last.safetensors     the newest state, full: training resumes from it
    checkpoints/checkpoint_previous.safetensors the one before, should the newest be damaged or lost
    checkpoints/checkpoint_best.safetensors     best by the validation metric
    checkpoints/checkpoint_<updates>.safetensors   every `save_interval` updates, the newest few
    checkpoints/checkpoint_avg_<n>.safetensors  mean of the newest n
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from reluformer.durable import make_durable, put_in_place, require_space, temporary
from reluformer.errors import UserError

FORMAT = "reluformer-2"
WITHOUT_DIGEST = "reluformer-1"  # of development versions; read, but not checked
MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # Adam's, of each weight
# Of a file that is read, so that none takes long to refuse: ten times what a hundred layers need.
LARGEST_HEADER_BYTES = 4 << 20
MOST_TENSORS = 10_000
LARGEST_SHARE = 5  # of the model's weights; weights and moments are three times as large
NUMBERED = re.compile(r"checkpoint_(\d+)\.safetensors")


class DamagedCheckpointError(UserError):
    """The file's content is not what was written, or no checkpoint at all."""


@dataclass
class Progress:
    """Where training stands; with the weights and Adam's moments, all that resuming needs."""

    update: int = 0
    stream: dict[str, Any] = field(default_factory=dict)
    micro_batches: int = 1  # of one update, over all processes
    best_metric: float | None = None  # higher is better: BLEU, or minus the loss
    best_update: int = 0
    validations_since_best: int = 0
    validation_due: bool = False  # stopped before the end of this update's validation
    not_finite_in_a_row: int = 0  # updates whose gradient was not, up to this one
    went_back_to: int | None = None  # the update whose weights were taken up again
    halved_in_a_row: int = 0
    target_tokens: int = 0
    training_seconds: float = 0.0
    window: dict[str, float] = field(default_factory=dict)  # sums since the last line of the log


def checkpoint_path(run: Path, name: str) -> Path:
    """Where the checkpoint called last, previous, best, avg_<n> or <updates> of a run is."""
    return run / "checkpoints" / f"checkpoint_{name}.safetensors"


def save_checkpoint(path: Path, model: nn.Module, progress: Progress) -> None:
    """Write weights and progress: what translating and averaging need."""
    write_tensors(path, _weights(model), _described(progress))


def save_last(
    run: Path, model: nn.Module, progress: Progress, optimiser: torch.optim.Optimizer
) -> None:
    """Write all that resuming needs as checkpoint_last; what has that name becomes the previous.

    That is done once the new one is on the disk, so that a whole one is there at any moment.
    """
    path, previous = checkpoint_path(run, "last"), checkpoint_path(run, "previous")
    tensors = _weights(model)
    for name, parameter in model.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{key}.{name}"] = value
    write_tensors(path, tensors, {**_described(progress), "full": "yes"}, keep_as=previous)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {f"model.{name}": value for name, value in own_tensors(model).items()}


def _described(progress: Progress) -> dict[str, str]:
    return {"progress": json.dumps(asdict(progress))}


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: dict[str, str],
    keep_as: Path | None = None,
) -> None:
    """A safetensors file under its final name only once it is safely on disk.

    A file that has this name already becomes `keep_as`, if that is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    require_space(path.parent, sum(tensor.nbytes for tensor in plain.values()))
    try:
        described = {"format": FORMAT, **metadata}
        seal = Seal(described)
        for name in sorted(plain):
            seal.add(name, plain[name])
        temporary(path).unlink(missing_ok=True)  # if it is a link, to a file elsewhere
        save_file(plain, temporary(path), {**described, "digest": seal.digest})
        with temporary(path).open("rb") as file:
            make_durable(file)
        if keep_as is not None and path.exists():
            path.replace(keep_as)
        put_in_place(path)
    except (OSError, SafetensorError) as error:
        temporary(path).unlink(missing_ok=True)
        raise UserError(
            f"{path}: could not be written ({error}); earlier checkpoints are untouched"
        ) from None


class Seal:
    """SHA-256 over a checkpoint's metadata and tensors, these in the order of their names."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self._hash = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())

    def add(self, name: str, tensor: Tensor) -> None:
        self._hash.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        self._hash.update(tensor.reshape(-1).view(torch.uint8).numpy().data)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def load_weights(path: Path, model: nn.Module) -> Progress:
    """Put a checkpoint's weights into a model of the same shape.

    Raises DamagedCheckpointError if the file is not as it was written, UserError if it is missing
    or holds another model.
    """
    _check_size(path, model)
    tensors, metadata = read_tensors(path, "model.")
    _copy_weights(path, tensors, model)
    return _progress(path, metadata)


def load_training_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Put back weights and Adam's moments, bit for bit; errors are those of `load_weights`."""
    _check_size(path, model)
    tensors, metadata = read_tensors(path)
    progress = _progress(path, metadata)
    keys = {name.split(".")[1] for name in tensors if name.startswith("optimiser.")}
    # A full one has none where no update took a step.
    if progress.update and not keys and "full" not in metadata:
        raise UserError(f"{path}: holds no optimiser state: training cannot continue from it")
    if keys:
        _check_moments(path, tensors, model)
    _copy_weights(path, tensors, model)
    for name, parameter in model.named_parameters():
        optimiser.state[parameter] = {
            key: tensors[f"optimiser.{key}.{name}"].to(parameter.device) for key in keys
        }
    return progress


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of each weight, `model.*` names, computed in float64."""
    sums: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    for path in paths:
        tensors, _ = read_tensors(path, "model.")
        if sums and set(tensors) != set(sums):
            raise UserError(f"{path}: holds another model than {paths[0]}: cannot average")
        for name, tensor in tensors.items():
            kinds[name] = tensor.dtype
            sums[name] = sums.get(name, 0) + tensor.double()
    return {name: (total / len(paths)).to(kinds[name]) for name, total in sums.items()}


def _copy_weights(path: Path, tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    wanted = {f"model.{name}": tensor for name, tensor in own_tensors(model).items()}
    found = {name for name in tensors if name.startswith("model.")}
    if found != set(wanted):
        missing, extra = sorted(set(wanted) - found), sorted(found - set(wanted))
        raise UserError(
            f"{path}: holds another model: missing {missing[:3]}, unexpected {extra[:3]}"
        )
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            raise UserError(
                f"{path}: `{name.removeprefix('model.')}` has shape {list(tensors[name].shape)}, "
                f"the model of this configuration {list(tensor.shape)}"
            )
        if tensors[name].dtype != tensor.dtype:
            raise UserError(
                f"{path}: `{name.removeprefix('model.')}` is of {tensors[name].dtype}, the model "
                f"of this configuration of {tensor.dtype}"
            )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(tensors[name])


def _check_moments(path: Path, tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    shapes = {
        f"optimiser.{key}.{name}": torch.Size() if key == "step" else parameter.shape
        for name, parameter in model.named_parameters()
        for key in MOMENTS
    }
    found = {name: one for name, one in tensors.items() if name.startswith("optimiser.")}
    for name in sorted(shapes.keys() | found.keys()):
        tensor = found.get(name)
        if tensor is None or tensor.shape != shapes.get(name) or not tensor.is_floating_point():
            raise UserError(
                f"{path}: `{name}` is not what Adam needs for this model: training cannot continue "
                "from it"
            )


def _check_size(path: Path, model: nn.Module) -> None:
    """Raise DamagedCheckpointError if the file is too large for the model, before it is read."""
    weights = sum(tensor.nbytes for tensor in own_tensors(model).values())
    largest = LARGEST_SHARE * weights + LARGEST_HEADER_BYTES
    if path.is_file() and path.stat().st_size > largest:
        raise DamagedCheckpointError(
            f"{path}: has {path.stat().st_size:,} bytes, but no checkpoint of this model has more "
            f"than {largest:,}"
        )


def numbered_checkpoints(run: Path) -> list[Path]:
    """The run's checkpoint_<updates> files, oldest first."""
    folder = run / "checkpoints"
    found = [path for path in folder.glob("checkpoint_*") if NUMBERED.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(NUMBERED.fullmatch(path.name)[1]))  # type: ignore[index]


def saved_update(path: Path) -> int | None:
    """The update that a checkpoint says it is of; None where it says nothing that can be read."""
    if not path.is_file():  # a pipe would keep us waiting
        return None
    try:
        with safe_open(path, framework="pt") as file:
            update = json.loads(file.metadata()["progress"])["update"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError):
        return None
    return update if isinstance(update, int) else None


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, shared ones once under their first name."""
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            own[name] = tensor
    return own


def read_tensors(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors whose names begin so, and the metadata, once all of the file has been checked."""
    if not path.exists():
        there = sorted(p.name for p in path.parent.glob("checkpoint_*.safetensors"))
        raise UserError(f"{path}: no such checkpoint; there are: {', '.join(there) or 'none'}")
    if not path.is_file():
        raise UserError(f"{path}: no file but a folder, a pipe or a device")
    found: dict[str, Tensor] = {}
    try:
        _check_header(path)
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            kind, digest = metadata.get("format"), metadata.pop("digest", None)
            seal = Seal(metadata)
            names = sorted(file.keys())
            if len(names) > MOST_TENSORS:
                raise DamagedCheckpointError(f"{path}: holds {len(names):,} tensors")
            for name in names:
                tensor = file.get_tensor(name)
                seal.add(name, tensor)
                if name.startswith(prefix):
                    found[name] = tensor
    except OSError as error:
        raise UserError(f"{path}: could not be read ({error})") from None
    except SafetensorError as error:
        raise DamagedCheckpointError(f"{path}: not a readable checkpoint ({error})") from None
    if digest != seal.digest and (kind == FORMAT or digest is not None):
        raise DamagedCheckpointError(f"{path}: damaged: its digest is not that of its content")
    if kind not in (FORMAT, WITHOUT_DIGEST):
        raise UserError(
            f"{path}: format {kind!r:.40} instead of {FORMAT!r}: not a checkpoint of ours, or one "
            "of a newer version"
        )
    return found, metadata


def _check_header(path: Path) -> None:
    """Raise DamagedCheckpointError if the header is too large to be parsed in a moment."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > LARGEST_HEADER_BYTES:
        raise DamagedCheckpointError(
            f"{path}: not a readable checkpoint (header of {size:,} bytes)"
        )


def _progress(path: Path, metadata: dict[str, str]) -> Progress:
    try:
        progress = Progress(**json.loads(metadata.get("progress", "{}")))
        for name, kind in get_type_hints(Progress).items():
            if not _is_of(kind, getattr(progress, name)):
                raise TypeError(f"`{name}` is {getattr(progress, name)!r:.40}")
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: was written by another version of reluformer: {error}") from None
    return progress


def _is_of(kind: Any, value: Any) -> bool:
    """Whether a value from JSON is of a kind such as `float | None` or `dict[str, Any]`."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if isinstance(value, int) and float in kinds:
        return True
    return isinstance(value, tuple(get_origin(one) or one for one in kinds))
