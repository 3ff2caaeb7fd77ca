"""Run folders with small random models, as training would leave them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from small_models import model_config

from reluformer.config.build import build_model
from reluformer.config.data import DataConfig
from reluformer.data.vocabulary import train_vocabulary
from reluformer.training.checkpoint import Progress, save_checkpoint


def write_run(
    folder: Path, text: Sequence[str], vocab_size: int = 45, moses: bool = False, **model: object
) -> Path:
    """A run on sentences like these; with `moses` their form is Moses tokens in lower case."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text").write_text("\n".join(text) + "\n", encoding="utf-8")
    vocabulary = train_vocabulary([folder / "text"], size=vocab_size).vocabulary
    data = DataConfig("tiny", "de", "en", "text", "binary", moses=moses, lowercase=moses)
    changes = {"max_positions": 32, "share_embeddings": "none", **model}
    config = model_config("relu", **changes)
    settings = {"model": asdict(config), "data": asdict(data)}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    for side in ("source", "target"):
        (folder / f"vocabulary.{side}.model").write_bytes(vocabulary.model)
    torch.manual_seed(1)
    built = build_model(config, len(vocabulary), len(vocabulary), True)
    save_checkpoint(folder / "checkpoints" / "checkpoint_best.safetensors", built, Progress())
    return folder
