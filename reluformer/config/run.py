"""A trained run, read back from its folder."""

from dataclasses import dataclass
from pathlib import Path

import torch

from reluformer.config.build import build_model
from reluformer.config.data import DataConfig
from reluformer.config.instantiate import load_plain
from reluformer.config.model import ModelConfig
from reluformer.config.run_folder import CONFIG, VOCABULARIES
from reluformer.data.vocabulary import Vocabulary
from reluformer.data.windows import WindowOptions
from reluformer.errors import UserError
from reluformer.model.transformer import Transformer
from reluformer.training.checkpoint import checkpoint_path, load_weights


@dataclass(frozen=True)
class Run:
    """A trained model with all that translating needs."""

    folder: Path
    model: Transformer
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    data: DataConfig
    windows: WindowOptions


def load_run(
    folder: Path | str,
    checkpoint: str = "best",
    device: str = "auto",
    allow: tuple[str, ...] = (),
) -> Run:
    """Read back the model of a run folder, ready to translate, in evaluation mode.

    `checkpoint`: best, last, avg_<n> or a number of updates. Nothing in the folder decides what
    code runs: its configuration is plain data and may only name classes of this package, or of
    modules in `allow`.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder}: no run folder (it has no config.yaml)")
    config = load_plain(folder / CONFIG)
    try:
        model_config = ModelConfig(**config["model"])
        data = DataConfig(**config["data"])
        windows = WindowOptions(**config.get("windows", {}))  # older runs have none
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / 'config.yaml'}: not a training configuration: {error}"
        ) from None
    source = Vocabulary.load(folder / VOCABULARIES["source"])
    target = Vocabulary.load(folder / VOCABULARIES["target"])
    model = build_model(model_config, len(source), len(target), data.joint_vocabulary, allow)
    load_weights(checkpoint_path(folder, checkpoint), model)
    model.to(choose_device(device)).eval()
    return Run(folder, model, source, target, data, windows)


def read_data(folder: Path) -> DataConfig:
    """The corpus of a trained run."""
    try:
        return DataConfig(**load_plain(folder / CONFIG)["data"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG}: not a training configuration: {error}") from None


def choose_device(device: str) -> torch.device:
    """`auto` takes an NVIDIA GPU where PyTorch sees one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("`device` is cuda, but PyTorch sees no CUDA device: take cpu or auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
