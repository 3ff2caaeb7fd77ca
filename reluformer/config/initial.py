"""Training that begins with what another run has learned."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reluformer.config.instantiate import load_plain
from reluformer.config.model import ModelConfig
from reluformer.config.run import part_of, read_data, trained_length
from reluformer.config.run_folder import CONFIG
from reluformer.config.training import TrainConfig
from reluformer.config.vocabularies import read_vocabularies
from reluformer.data.corpus import Corpus
from reluformer.data.windows import WindowOptions
from reluformer.errors import UserError
from reluformer.training.checkpoint import checkpoint_path

# What the weights of a model do not depend on.
FREE = ("dropout", "attention_dropout", "activation_dropout", "max_positions")


@dataclass(frozen=True)
class InitialWeights:
    """A checkpoint to begin with, and the run that it is of."""

    checkpoint: Path
    run: Path

    def describe(self) -> dict[str, Any]:
        """What a run's numbers depend on, for its environment.json."""
        config = {"windows": {}, **load_plain(self.run / CONFIG)}  # older runs have none
        windows = part_of(config, "windows", WindowOptions, self.run / CONFIG)
        return {
            "checkpoint": str(self.checkpoint),
            "sha256": hashlib.sha256(self.checkpoint.read_bytes()).hexdigest(),
            "trained_length": trained_length(self.run, read_data(self.run), windows),
        }


def find_initial_weights(config: TrainConfig, corpus: Corpus) -> InitialWeights | None:
    """The best checkpoint of the run `initial_weights`, or the checkpoint at that path.

    Raises UserError if there is none, if it is of another model, or if it was trained with other
    vocabularies.
    """
    if config.initial_weights is None:
        return None
    given = Path(config.initial_weights)
    path = checkpoint_path(given, "best") if given.is_dir() else given
    run = path.parent.parent
    if not path.is_file() or not (run / CONFIG).is_file():
        raise UserError(f"`initial_weights`: {given} is no run with {path.name}, nor such a file")
    theirs = part_of(load_plain(run / CONFIG), "model", ModelConfig, run / CONFIG)
    if differences := different_models(asdict(theirs), asdict(config.model)):
        raise UserError(f"`initial_weights`: {run} has another model: {'; '.join(differences)}")
    vocabularies = read_vocabularies(run)[1]
    ours = {"source": corpus.source_vocabulary, "target": corpus.target_vocabulary}
    for side, vocabulary in vocabularies.items():
        if vocabulary.digest != ours[side].digest:
            raise UserError(
                f"`initial_weights`: {run} has another {side} vocabulary than {corpus.folder}: "
                f"preprocess into another folder (`data.binary`) with `data.vocabulary_of={run}`"
            )
    return InitialWeights(path, run)


def different_models(
    there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "model."
) -> list[str]:
    """Settings that decide what the weights mean and differ, for a reader."""
    differences = []
    for key in dict.fromkeys([*there, *here]):
        if key in FREE:
            continue
        theirs, ours = there.get(key), here.get(key)
        if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
            differences += different_models(theirs, ours, f"{prefix}{key}.")
        elif theirs != ours:
            differences.append(f"`{prefix}{key}` is {theirs} there and {ours} here")
    return differences
