"""A trained run, read back from its folder."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from reluformer.config.build import build_model
from reluformer.config.data import DataConfig
from reluformer.config.instantiate import check_parameters, load_plain
from reluformer.config.model import ModelConfig
from reluformer.config.run_folder import CONFIG, ENVIRONMENT
from reluformer.data.vocabulary import SIDE_FILES, Vocabulary
from reluformer.data.windows import WindowOptions
from reluformer.errors import UserError
from reluformer.model.transformer import Transformer
from reluformer.training.checkpoint import checkpoint_path, load_weights, own_tensors

Part = TypeVar("Part")


@dataclass(frozen=True)
class Run:
    """A trained model with all that translating needs."""

    folder: Path
    model: Transformer
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    data: DataConfig
    windows: WindowOptions
    length_ratio: float  # target tokens to a source token in training
    trained_length: int  # pieces of a sequence that the model is good for, without EOS


def load_run(
    folder: Path | str,
    checkpoint: str = "best",
    device: str = "auto",
    allow: tuple[str, ...] = (),
) -> Run:
    """Read back the model of a run folder, ready to translate, in evaluation mode.

    `checkpoint`: best, last, previous, avg_<n> or a number of updates. Nothing in the folder
    decides what code runs: its configuration is plain data and may only name classes of this
    package, or of modules in `allow`.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder}: no run folder (it has no config.yaml)")
    path = folder / CONFIG
    config = {"windows": {}, **load_plain(path)}  # older runs have none
    model_config = part_of(config, "model", ModelConfig, path)
    data = part_of(config, "data", DataConfig, path)
    windows = part_of(config, "windows", WindowOptions, path)
    source = Vocabulary.load(folder / SIDE_FILES["source"])
    target = Vocabulary.load(folder / SIDE_FILES["target"])
    check_vocabularies(folder, {"source": source, "target": target})
    weights = checkpoint_path(folder, checkpoint)
    built = (model_config, len(source), len(target), data.joint_vocabulary, allow)
    check_fits(path, weights, *built)
    model = model_of(path, *built)
    load_weights(weights, model)
    model.to(choose_device(device)).eval()
    ratio, length = length_ratio(folder), longest_trained(folder, data, windows)
    if windows.length is None:  # of sentences as many pieces as preprocessing would have taken
        length = max(length, data.max_length)
    return Run(folder, model, source, target, data, windows, ratio, length)


def check_vocabularies(folder: Path, found: Mapping[str, Vocabulary]) -> None:
    """Raise UserError for one that is not what the run was trained with; older runs noted none."""
    noted = read_environment(folder).get("vocabularies")
    for side, vocabulary in found.items():
        if isinstance(noted, dict) and noted.get(side, vocabulary.digest) != vocabulary.digest:
            raise UserError(
                f"{folder / SIDE_FILES[side]} is not the vocabulary that the run was trained with: "
                "copy it from the run again"
            )


def longest_trained(folder: Path, data: DataConfig, windows: WindowOptions) -> int:
    """Pieces of the longest sequence that training can have seen, without EOS.

    The run's own, or that of the run whose weights it began with.
    """
    environment = read_environment(folder)
    sentence = environment.get("longest_sentence")  # not noted by earlier versions
    own = min(data.max_length, sentence) if isinstance(sentence, int) else data.max_length
    if windows.length is not None:
        own = max(windows.length - 1, own if windows.sentence_updates else 0)
    began_with = environment.get("initial_weights")
    before = began_with.get("trained_length") if isinstance(began_with, dict) else 0
    return max(own, before if isinstance(before, int) else 0)


def length_ratio(folder: Path) -> float:
    """1 for a run of an earlier version, which did not note it."""
    ratio = read_environment(folder).get("length_ratio")
    return ratio if isinstance(ratio, float) and 0 < ratio < math.inf else 1.0


def read_environment(folder: Path) -> dict[str, Any]:
    """Nothing where there is none."""
    try:
        environment = json.loads((folder / ENVIRONMENT).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return environment if isinstance(environment, dict) else {}


def check_fits(path: Path, weights: Path, config: ModelConfig, *built: Any) -> None:
    """Raise UserError if the model has more weights than the checkpoint, before it takes memory.

    Queries, keys, values and outputs alone tell for many layers; a model without memory for all.
    """
    if not weights.is_file():
        return  # which is told when it is read
    layers = config.encoder_layers + 2 * config.decoder_layers
    needed = 4 * layers * config.d_model**2
    if needed <= weights.stat().st_size:
        # A class of the user's own may need real numbers, and is built with them later.
        with torch.device("meta"), suppress(RuntimeError):
            needed = sum(map(torch.numel, own_tensors(model_of(path, config, *built)).values()))
    if needed > weights.stat().st_size:
        raise UserError(
            f"{path}: its model has {needed:,} weights or more, but {weights} has only "
            f"{weights.stat().st_size:,} bytes: they do not belong together"
        )


def model_of(path: Path, *built: Any) -> Transformer:
    """The model of a run's configuration, which an error names."""
    try:
        return build_model(*built)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_data(folder: Path) -> DataConfig:
    """The corpus of a trained run."""
    return part_of(load_plain(folder / CONFIG), "data", DataConfig, folder / CONFIG)


def part_of(config: Mapping[str, Any], name: str, kind: type[Part], path: Path) -> Part:
    """A part of a stored configuration as its dataclass; UserError names the file and the value."""
    values = config.get(name)
    try:
        if not isinstance(values, Mapping):
            raise UserError(f"`{name}` must have settings, but is {values!r}")
        settings = {str(key): value for key, value in values.items()}
        check_parameters(kind, settings, {})
        return kind(**settings)
    except UserError as error:
        raise UserError(f"{path}: not a training configuration: {error}") from None


def choose_device(device: str) -> torch.device:
    """`auto` takes an NVIDIA GPU where PyTorch sees one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("`device` is cuda, but PyTorch sees no CUDA device: take cpu or auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
