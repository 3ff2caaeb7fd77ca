"""A corpus in the making: its parts, each put in its place whole and recorded at once."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reluformer.console import console
from reluformer.data.binary import TokenFile, index_path, tokens_path
from reluformer.data.corpus import MANIFEST, SIDES, Manifest, documents_path, is_sealed, seal
from reluformer.data.documents import Documents
from reluformer.data.encoding import Limits, Side, encode_split
from reluformer.data.vocabulary import (
    JOINT_FILE,
    SIDE_FILES,
    Vocabulary,
    train_vocabulary,
)
from reluformer.durable import temporary, write_whole
from reluformer.errors import UserError

UNFINISHED = "unfinished.json"
VOCABULARY = "vocabulary"  # among the inputs, where it is not learnt from them
NEEDED, OPTIONAL = ("train", "valid"), ("test",)
PLACES = ("text", "binary", "vocabulary_of")  # where things lie, not what the corpus is

Texts = dict[str, dict[str, Path]]  # split, side -> file


@dataclass(frozen=True)
class VocabularyOptions:
    """How the vocabularies are learnt; see `train_vocabulary`."""

    size: int
    joint: bool = True
    character_coverage: float = 1.0
    byte_fallback: bool = False
    normalisation: str = "identity"
    max_lines: int = 250_000
    seed: int = 1
    documents: bool = False

    def learn(self, paths: list[Path]) -> tuple[Vocabulary, dict[str, int]]:
        trained = train_vocabulary(
            paths,
            self.size,
            self.character_coverage,
            self.byte_fallback,
            self.normalisation,
            self.max_lines,
            self.seed,
            self.documents,
        )
        return trained.vocabulary, {"lines": trained.lines, "too_long": trained.too_long}


class Assembly:
    """The corpus in the making: its parts, each recorded as soon as it is in place."""

    def __init__(
        self, folder: Path, data: dict[str, Any], inputs: dict[str, Any], workers: int
    ) -> None:
        self.folder = folder
        self.inputs = inputs
        self.data = data
        self.workers = workers
        self.vocabularies: dict[str, Any] = {}
        self.splits: dict[str, Any] = {}
        self._unwritten: dict[str, Vocabulary] = {}
        self._resume()

    def learn_vocabularies(self, texts: Texts, options: VocabularyOptions) -> None:
        """Learn one vocabulary of both training texts, or one of each; nothing is written yet."""
        if self.vocabularies:
            return
        train = texts["train"]
        if options.joint:
            described = self._learn_vocabulary(JOINT_FILE, [*train.values()], options)
            self.vocabularies = dict.fromkeys(SIDES, described)
        else:
            self.vocabularies = {
                side: self._learn_vocabulary(SIDE_FILES[side], [train[side]], options)
                for side in SIDES
            }

    def take_vocabularies(self, taken: dict[str, Vocabulary], joint: bool) -> None:
        """Use these instead; nothing is written yet."""
        if self.vocabularies:
            return
        for side, vocabulary in taken.items():
            file = JOINT_FILE if joint else SIDE_FILES[side]
            self.vocabularies[side] = self._add_vocabulary(file, vocabulary)

    def begin(self) -> None:
        """Take possession of the folder: from here on, what another corpus left is gone."""
        (self.folder / MANIFEST).unlink(missing_ok=True)
        self._remove_foreign_files()
        for file, vocabulary in self._unwritten.items():
            write_whole(self.folder / file, vocabulary.model)
        self._record()

    def make_split(self, name: str, texts: dict[str, Path], limits: Limits) -> None:
        """Encode one split, unless that was done before."""
        if name in self.splits:
            console.print(f"{name}: already done")
            return
        sides = [
            Side(
                texts[side],
                Vocabulary.load(self.folder / self.vocabularies[side]["file"]),
                self.folder / f"{name}.{side}",
            )
            for side in SIDES
        ]
        lines = self.inputs[name]["source"]["lines"]
        documents = documents_path(self.folder, name) if self.data.get("documents") else None
        described = encode_split(sides[0], sides[1], lines, limits, self.workers, documents)
        if not described["sentences"]:
            raise UserError(f"no pair of {sides[0].text} and {sides[1].text} is left to train on")
        said = f"{name}: {described['sentences']:,} of {described['lines']:,} pairs"
        if documents:
            said += f" in {described['documents']['count']:,} documents"
        console.print(said)
        self.splits[name] = described
        self._record()

    def finish(self) -> Manifest:
        """Write the manifest, which makes a corpus of the files."""
        manifest = Manifest(
            data=self.data,
            inputs=self.inputs,
            vocabularies=self.vocabularies,
            splits=self.splits,
            written_by={name: version(name) for name in ("reluformer", "sentencepiece")},
        )
        write_whole(self.folder / MANIFEST, manifest.to_json().encode())
        (self.folder / UNFINISHED).unlink()
        return manifest

    def _remove_foreign_files(self) -> None:
        """Remove what an earlier, other corpus or a killed run left under names of ours."""
        kept = {described["file"] for described in self.vocabularies.values()}
        names = {JOINT_FILE, *SIDE_FILES.values()}
        for split in NEEDED + OPTIONAL:
            for side in SIDES:
                path = self.folder / f"{split}.{side}"
                files = {tokens_path(path).name, index_path(path).name}
                files.add(documents_path(self.folder, split).name)
                names |= files
                kept |= files if split in self.splits else set()
        for name in names:
            temporary(self.folder / name).unlink(missing_ok=True)
            if name not in kept:
                (self.folder / name).unlink(missing_ok=True)

    def _learn_vocabulary(
        self, file: str, texts: list[Path], options: VocabularyOptions
    ) -> dict[str, Any]:
        with console.status(f"learning {file}"):
            vocabulary, learnt_from = options.learn(texts)
        console.print(f"{file}: {len(vocabulary):,} symbols from {learnt_from['lines']:,} lines")
        return {**self._add_vocabulary(file, vocabulary), "learnt_from": learnt_from}

    def _add_vocabulary(self, file: str, vocabulary: Vocabulary) -> dict[str, Any]:
        self._unwritten[file] = vocabulary
        return {"file": file, "size": len(vocabulary), "sha256": vocabulary.digest}

    def _record(self) -> None:
        """Note which parts are in place."""
        state = {
            "data": self.data,
            "inputs": self.inputs,
            "vocabularies": self.vocabularies,
            "splits": self.splits,
        }
        write_whole(self.folder / UNFINISHED, json.dumps(seal(state)).encode())

    def _resume(self) -> None:
        """Take over the parts of a stopped run that are whole and are parts of this corpus."""
        try:
            state = json.loads((self.folder / UNFINISHED).read_bytes())
            if not is_sealed(state) or compare(
                state["data"], state["inputs"], self.data, self.inputs
            ):
                return
            for described in state["vocabularies"].values():
                if Vocabulary.load(self.folder / described["file"]).digest != described["sha256"]:
                    return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
            return
        self.vocabularies = state["vocabularies"]
        self.splits = {
            name: described
            for name, described in state["splits"].items()
            if all(self._is_whole(name, side, described) for side in SIDES)
        }

    def _is_whole(self, name: str, side: str, described: dict[str, Any]) -> bool:
        try:
            tokens = TokenFile(self.folder / f"{name}.{side}")
            tokens.verify()
            if found := described.get("documents"):
                Documents.load(documents_path(self.folder, name), len(tokens), found["sha256"])
        except UserError:
            return False
        return tokens.index_crc == described[side]["index_crc32"]


def compare(
    old_data: dict[str, Any], old_inputs: dict[str, Any], data: dict[str, Any], inputs: Any
) -> list[str]:
    """What differs between two corpora, for a reader."""
    differences = different_settings(old_data, data)
    splits = sorted(old_inputs.keys() | inputs.keys())
    changed = [name for name in splits if old_inputs.get(name) != inputs.get(name)]
    texts = {VOCABULARY: "the vocabulary"}
    return differences + [f"{texts.get(name, f'the {name} text')} has changed" for name in changed]


def different_settings(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Settings that decide what a corpus is and differ, for a reader.

    One that an older version did not have is as good as off.
    """
    return [
        f"`{key}` is {there.get(key)} there and {here.get(key)} here"
        for key in sorted((there.keys() | here.keys()) - set(PLACES))
        if (there.get(key) or None) != (here.get(key) or None)
    ]
