"""Training that begins with what another run has learned."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reluformer.config.instantiate import load_plain
from reluformer.config.model import ModelConfig
from reluformer.config.run import longest_trained, part_of, read_data, read_environment
from reluformer.config.run_folder import CONFIG
from reluformer.config.training import TrainConfig
from reluformer.config.vocabularies import read_vocabularies
from reluformer.data.corpus import Corpus
from reluformer.data.windows import WindowOptions
from reluformer.errors import UserError
from reluformer.training.checkpoint import checkpoint_path

# What the weights of a model do not depend on.
FREE = (
    *("dropout", "attention_dropout", "activation_dropout", "max_positions"),
    *("normalisation_term", "entropy_term", "entropy_c"),
)
SHOWN = 3  # differences of two models in an error


@dataclass(frozen=True)
class InitialWeights:
    """A checkpoint to begin with, and the run that it is of."""

    checkpoint: Path
    run: Path
    sha256: str

    def describe(self) -> dict[str, Any]:
        """What a run's numbers depend on, for its environment.json."""
        config = {"windows": {}, **load_plain(self.run / CONFIG)}  # older runs have none
        windows = part_of(config, "windows", WindowOptions, self.run / CONFIG)
        return {
            "checkpoint": str(self.checkpoint),
            "sha256": self.sha256,
            "trained_length": longest_trained(self.run, read_data(self.run), windows),
        }


def find_initial_weights(config: TrainConfig, corpus: Corpus) -> InitialWeights | None:
    """The best checkpoint of the run `initial_weights`, or the checkpoint at that path.

    None where the setting is null, and where it is gone but the training has checkpoints of its
    own. Raises UserError if there is none, if it is of another model or was trained with other
    vocabularies, or if it is not the one that the training began with.
    """
    if config.initial_weights is None:
        return None
    given, own = Path(config.initial_weights), Path(config.run)
    path = checkpoint_path(given, "best") if given.is_dir() else given
    if not path.is_file() and any(own.glob("checkpoints/checkpoint_*.safetensors")):
        return None
    run = path.resolve().parent.parent
    if not config.initial_weights or not path.is_file():
        raise UserError(
            f"`initial_weights`: '{config.initial_weights}' is no run with {path.name}, nor a "
            "checkpoint of one"
        )
    if not (run / CONFIG).is_file():
        raise UserError(f"`initial_weights`: {path} is not in a run's folder (no {run / CONFIG})")
    check_model(run, config)
    check_vocabularies(run, corpus)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    began = read_environment(own).get("initial_weights")
    if isinstance(began, dict) and began.get("sha256") != digest:
        raise UserError(
            f"`initial_weights`: {path} is not the checkpoint that {own} began with: take another "
            "`name`, or put it back"
        )
    return InitialWeights(path, run, digest)


def check_model(run: Path, config: TrainConfig) -> None:
    """Raise UserError if the run's weights mean something else in the model of `config`."""
    theirs = part_of(load_plain(run / CONFIG), "model", ModelConfig, run / CONFIG)
    differences = different_models(asdict(theirs), asdict(config.model))
    if not differences:
        return
    more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    raise UserError(
        f"`initial_weights`: {run} has another model: {'; '.join(differences[:SHOWN])}{more}"
    )


def check_vocabularies(run: Path, corpus: Corpus) -> None:
    """Raise UserError if the run's are not those of the corpus."""
    ours = {"source": corpus.source_vocabulary, "target": corpus.target_vocabulary}
    for side, vocabulary in read_vocabularies(run)[1].items():
        if vocabulary.digest != ours[side].digest:
            raise UserError(
                f"`initial_weights`: {run} has another {side} vocabulary than {corpus.folder}: "
                f"preprocess into another folder (`data.binary`) with `data.vocabulary_of={run}`"
            )


def different_models(
    there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "model."
) -> list[str]:
    """Settings that decide what the weights mean and differ, for a reader."""
    differences = []
    modes = {there.get("gamma_mode"), here.get("gamma_mode")}
    # A gamma that is learned or calibrated is among the weights.
    free = FREE if "fixed" in modes else (*FREE, "gamma")
    for key in dict.fromkeys([*there, *here]):
        if key in free:
            continue
        theirs, ours = there.get(key), here.get(key)
        if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
            differences += different_models(theirs, ours, f"{prefix}{key}.")
        elif theirs != ours:
            differences.append(f"`{prefix}{key}` is {theirs} there and {ours} here")
    return differences
