"""Settings of `reluformer-train`."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from reluformer.checks import check_choice, check_name, check_not_negative, check_threads
from reluformer.config.data import DataConfig
from reluformer.config.model import ModelConfig
from reluformer.data.windows import WindowOptions
from reluformer.decoding.options import DecodeOptions
from reluformer.errors import UserError
from reluformer.training.options import FitOptions, LossOptions, OptimOptions


@dataclass
class TrainConfig:
    """Everything one run is made of; stored as config.yaml in its folder."""

    name: str
    seed: int
    run: str
    device: str
    threads: int | None
    initial_weights: str | None = None  # a run, to begin with its best weights, or its checkpoint
    data: DataConfig = MISSING
    windows: WindowOptions = MISSING
    model: ModelConfig = MISSING
    loss: LossOptions = MISSING
    optim: OptimOptions = MISSING
    train: FitOptions = MISSING
    decode: DecodeOptions = MISSING
    allow: list[str] = MISSING  # modules outside the package whose classes `_target_` may name

    def __post_init__(self) -> None:
        check_not_negative("seed", self.seed)
        check_threads(self.threads)
        check_name("name", self.name)
        if not self.run.strip():
            raise UserError("`run` is empty: name a folder, or leave it out")
        check_choice("device", self.device, ("auto", "cpu", "cuda"))


# What may change when a run is continued: nothing that the numbers so far depend on.
MAY_CHANGE = (
    "run",
    "device",
    "threads",
    "train.max_updates",  # but not under a schedule that depends on it
    "train.recompute",
    "train.compile",
    "train.deterministic",
    "train.update_freq",  # its product with the number of processes must stay, see Training.resume
    "train.log_interval",
    "train.statistics_interval",
    "train.valid_interval",
    "train.valid_max_tokens",
    "train.save_interval",
    "train.keep_checkpoints",
    "train.patience",
    "train.process_timeout",
    "data.text",
    "data.binary",
    "data.vocabulary_of",
)


def changed_settings(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """`key: before -> now` for every setting that differs and must not."""
    changes = _differences(before, now)
    old, new = (config["train"]["max_updates"] for config in (before, now))
    if now["optim"]["schedule"] == "cosine" and old != new:
        changes.append(f"train.max_updates (the cosine schedule depends on it): {old} -> {new}")
    return changes


def _differences(before: Any, now: Any, prefix: str = "") -> list[str]:
    """A setting that an older version did not know counts as off."""
    if before is None and isinstance(now, dict):
        before = {}
    if isinstance(before, dict) and isinstance(now, dict):
        changes = []
        for key in sorted(before.keys() | now.keys()):
            name = f"{prefix}.{key}" if prefix else str(key)
            changes += _differences(before.get(key), now.get(key), name)
        return changes
    was_off = before is None and not now
    if before == now or was_off or prefix in MAY_CHANGE:
        return []
    return [f"{prefix}: {before} -> {now}"]
