"""A prepared corpus: vocabularies, token files and the manifest that binds them together.

manifest.json                          written last: a folder without it is no corpus
vocabulary.model                       or vocabulary.source.model, vocabulary.target.model
{train,valid,test}.{source,target}.{bin,idx}
{train,valid,test}.documents.npy       where documents begin, in a corpus of documents
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from reluformer.data.binary import Ids, TokenFile, damaged, tokens_path
from reluformer.data.documents import Documents
from reluformer.data.vocabulary import Vocabulary
from reluformer.errors import UserError

FORMAT = 1
MANIFEST = "manifest.json"
SIDES = ("source", "target")
CHECKSUM = "checksum"


@dataclass(frozen=True)
class Manifest:
    """What a corpus consists of and how it was made.

    `data` is the configuration it was made with and `inputs` the lines and SHA-256 of each text
    file, by split and side: together they decide the content, byte for byte. `vocabularies` maps
    each side to the `file`, `size` and `sha256` of its model; `splits` maps each split to its
    counts and, by side, to those of its tokens and the checksums of its files.
    """

    data: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    vocabularies: dict[str, dict[str, Any]]
    splits: dict[str, dict[str, Any]]
    written_by: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """SHA-256 of the content: equal for equal vocabularies and tokens, wherever they lie."""
        parts = [self.vocabularies[side]["sha256"] for side in SIDES]
        for name in sorted(self.splits):
            split = self.splits[name]
            parts += [name, *(split[side]["sha256"] for side in SIDES)]
            if "documents" in split:
                parts.append(split["documents"]["sha256"])
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def length_ratio(self) -> float:
        """Target tokens to a source token in the training split."""
        source, target = (self.splits["train"][side]["tokens"] for side in SIDES)
        return float(target / max(source, 1))

    @property
    def longest_sentence(self) -> int:
        """Tokens of the longest sentence of the training split, on either side."""
        return max(int(self.splits["train"][side]["longest"]) for side in SIDES)

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Raises UserError if the file is missing, unreadable or of another format."""
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise UserError(
                f"no finished corpus in {path.parent} ({path.name} is missing); "
                "make one with reluformer-preprocess"
            ) from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise damaged(path, "it is not JSON") from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise damaged(path, f"it is not a manifest of format {FORMAT}")
        if not is_sealed(values, needed=False):  # earlier versions wrote no checksum
            raise damaged(path, "it does not match its checksum")
        fields = {key: value for key, value in values.items() if key not in ("digest", CHECKSUM)}
        try:
            manifest = cls(**fields)
            manifest.check_shape()
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise damaged(path, f"it is no manifest ({type(error).__name__}: {error})") from None
        return manifest

    def check_shape(self) -> None:
        """Raise an error of whatever kind unless all that binds the files is there."""
        splits = [split[side] for split in self.splits.values() for side in SIDES]
        kinds: list[tuple[Any, type]] = [(self.data, dict), (self.inputs, dict)]
        kinds += [(split["index_crc32"], int) for split in splits]
        for value, kind in kinds:
            if not isinstance(value, kind):
                raise TypeError(f"{value!r} is no {kind.__name__}")
        # Names become paths, which must not lead out of the folder.
        names = [self.vocabularies[side]["file"] for side in SIDES] + list(self.splits)
        for name in names:
            if not re.fullmatch(r"\w+(\.\w+)*", name):
                raise ValueError(f"{name!r} is no name of a file")
        self.digest.encode()

    def to_json(self) -> str:
        values = seal({**vars(self), "digest": self.digest})
        return json.dumps(values, indent=2, ensure_ascii=False)


def seal(values: dict[str, Any]) -> dict[str, Any]:
    """The values, for JSON, and a checksum of them."""
    return {**values, CHECKSUM: _checksum(values)}


def is_sealed(values: dict[str, Any], needed: bool = True) -> bool:
    """Whether values from JSON match their checksum, or may lack one and do."""
    found = values.get(CHECKSUM)
    return found == _checksum(values) if needed or found is not None else True


def _checksum(values: dict[str, Any]) -> str:
    own = {key: value for key, value in values.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def documents_path(folder: Path, split: str) -> Path:
    """The file that says where the documents of a split begin."""
    return folder / f"{split}.documents.npy"


class Sequences(Protocol):
    """Token sequences that can be read by number: a `TokenFile`, or windows of one."""

    def __len__(self) -> int: ...

    def take(self, ids: npt.NDArray[np.integer]) -> tuple[Ids, Ids]:
        """The sequences `ids`, end to end, and the length of each in tokens."""

    def lengths(self) -> npt.NDArray[np.int32]:
        """Tokens of every sequence, without BOS and EOS."""


@dataclass(frozen=True)
class Split:
    """Aligned source and target sequences; lengths are in tokens, without BOS and EOS."""

    name: str
    source: Sequences
    target: Sequences
    documents: Documents | None = None

    def __len__(self) -> int:
        return len(self.source)

    @property
    def source_lengths(self) -> npt.NDArray[np.int32]:
        return self.source.lengths()

    @property
    def target_lengths(self) -> npt.NDArray[np.int32]:
        return self.target.lengths()


@dataclass(frozen=True)
class Corpus:
    """An opened corpus folder; splits and vocabularies are opened when they are asked for.

    Whatever does not match the manifest's checksums raises UserError: the indices when a split
    is opened, the tokens when they are first read.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path | str) -> "Corpus":
        folder = Path(folder)
        return cls(folder, Manifest.load(folder / MANIFEST))

    @cached_property
    def source_vocabulary(self) -> Vocabulary:
        return self._vocabulary("source")

    @cached_property
    def target_vocabulary(self) -> Vocabulary:
        return self._vocabulary("target")

    def split(self, name: str) -> Split:
        if name not in self.manifest.splits:
            names = ", ".join(self.manifest.splits)
            raise UserError(f"{self.folder} has no split `{name}`, only {names}")
        source, target = (self._token_file(name, side) for side in SIDES)
        if len(source) != len(target):
            raise damaged(
                tokens_path(target.path),
                f"it has {len(target)} sentences and its source {len(source)}",
            )
        found = self.manifest.splits[name].get("documents")
        if found is None:
            return Split(name, source, target)
        path = documents_path(self.folder, name)
        return Split(name, source, target, Documents.load(path, len(source), found["sha256"]))

    def verify(self) -> None:
        """Read every file once and compare it with its checksum; UserError names a bad one."""
        for side in SIDES:
            self._vocabulary(side)
        for name in self.manifest.splits:
            self.split(name)
            for side in SIDES:
                self._token_file(name, side).verify()

    def _vocabulary(self, side: str) -> Vocabulary:
        expected = self.manifest.vocabularies[side]
        vocabulary = Vocabulary.load(self.folder / expected["file"])
        if vocabulary.digest != expected["sha256"]:
            raise damaged(self.folder / expected["file"], "its hash is not the manifest's")
        return vocabulary

    def _token_file(self, name: str, side: str) -> TokenFile:
        tokens = TokenFile(self.folder / f"{name}.{side}")
        if tokens.index_crc != self.manifest.splits[name][side]["index_crc32"]:
            raise damaged(tokens_path(tokens.path), "its index is not the manifest's")
        return tokens
