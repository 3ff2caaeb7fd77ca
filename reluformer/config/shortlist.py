"""The shortlist of a run: kept in its folder, and learnt from its corpus the first time."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from reluformer.config.run import Run
from reluformer.config.run_folder import SHORTLIST
from reluformer.console import console
from reluformer.data.corpus import Corpus
from reluformer.data.shortlist import Shortlist, learn_shortlist
from reluformer.data.vocabulary import Vocabulary
from reluformer.errors import UserError
from reluformer.training.checkpoint import read_tensors, write_tensors


def find_shortlist(run: Run, size: int) -> Shortlist:
    """So many target types for each source type, and the common ones.

    Raises UserError if there is no shortlist yet and the run's corpus is not there, or if it is
    damaged or of another run.
    """
    path = run.folder / SHORTLIST
    if not path.exists():
        try:
            with FileLock(run.folder / f".{path.stem}.lock"):
                if not path.exists():
                    learn(run, path)
        except OSError as error:
            raise UserError(
                f"{path} is not there, and cannot be made ({error.strerror}): copy one from where "
                "this run's `shortlist` was learnt, or leave `shortlist` off"
            ) from None
    found = read(run, path)
    separator = run.target_vocabulary.separator  # it stands in windows, not in sentences
    always = np.array([] if separator is None else [separator], dtype=np.int32)
    return Shortlist(found.best[:, : 1 + size], np.append(found.common, always))


def learn(run: Run, path: Path) -> None:
    """Make the file from what the run was trained on."""
    folder = run.data.binary
    try:
        corpus = Corpus.open(folder)
        vocabularies = corpus.source_vocabulary, corpus.target_vocabulary
        if digests(*vocabularies) != digests(run.source_vocabulary, run.target_vocabulary):
            raise UserError(f"{folder} has other vocabularies than the run")
        with console.status(f"learning {path} from {folder}"):
            found = learn_shortlist(corpus.split("train"), *vocabularies)
    except UserError as error:
        raise UserError(f"{path} is not there, and to learn it: {error}") from None
    tensors = {"best": torch.from_numpy(found.best), "common": torch.from_numpy(found.common)}
    write_tensors(path, tensors, {"vocabularies": digests(*vocabularies)})


def read(run: Run, path: Path) -> Shortlist:
    try:
        tensors, metadata = read_tensors(path)
    except UserError as error:
        raise UserError(f"{error}: delete it, and it is learnt again") from None
    source, target = run.source_vocabulary, run.target_vocabulary
    fits = tensors.keys() == {"best", "common"}
    fits = fits and metadata.get("vocabularies") == digests(source, target)
    if not (fits and tensors["best"].shape[:1] == (len(source),) and names(tensors, len(target))):
        raise UserError(f"{path} is not of this run: delete it, and it is learnt again")
    return Shortlist(tensors["best"].numpy(), tensors["common"].numpy())


def names(tensors: Mapping[str, Tensor], size: int) -> bool:
    """Whether all are numbers of types, of so many."""
    return all(
        tensor.dtype == torch.int32 and bool(((tensor >= 0) & (tensor < size)).all())
        for tensor in tensors.values()
    )


def digests(source: Vocabulary, target: Vocabulary) -> str:
    """What a shortlist belongs to."""
    return f"{source.digest} {target.digest}"
