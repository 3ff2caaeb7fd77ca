"""Parallel text to a prepared corpus: vocabularies, token files, manifest.

Every file is written under a temporary name and put in its place whole; `unfinished.json` keeps
what is done so far, and `manifest.json` comes last. A run that was stopped is continued by the
same call, with the same bytes as a result; a finished corpus is left as it is.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reluformer.console import console
from reluformer.data.binary import TokenFile, index_path, temporary, tokens_path, write_whole
from reluformer.data.corpus import MANIFEST, SIDES, Corpus, Manifest
from reluformer.data.encoding import Limits, Side, encode_split
from reluformer.data.text import TextScan, check_equal_counts, scan_text
from reluformer.data.vocabulary import Vocabulary, train_vocabulary
from reluformer.errors import UserError

UNFINISHED = "unfinished.json"
LOCK = ".preprocess.lock"
NEEDED, OPTIONAL = ("train", "valid"), ("test",)
PLACES = ("text", "binary")  # settings that say where a corpus lies, not what it is

Texts = dict[str, dict[str, Path]]  # split, side -> file


@dataclass(frozen=True)
class VocabularyOptions:
    """How the vocabularies are learnt; see `train_vocabulary`."""

    size: int
    joint: bool
    character_coverage: float
    byte_fallback: bool
    normalisation: str
    max_lines: int
    seed: int

    def learn(self, paths: list[Path]) -> tuple[Vocabulary, dict[str, int]]:
        trained = train_vocabulary(
            paths,
            self.size,
            self.character_coverage,
            self.byte_fallback,
            self.normalisation,
            self.max_lines,
            self.seed,
        )
        return trained.vocabulary, {"lines": trained.lines, "too_long": trained.too_long}


def prepare_corpus(
    texts: Texts,
    folder: Path,
    data: dict[str, Any],
    vocabulary: VocabularyOptions,
    limits: Limits,
    threads: int | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Make the corpus of these texts in `folder`, or finish it, and return its manifest.

    `data` is the whole configuration, for the manifest. What can be wrong with the texts or the
    vocabulary is found before anything is written or replaced. Raises UserError if the folder
    holds another corpus and `overwrite` is not set, or if another process is at work in it.
    """
    inputs = scan_texts(texts)
    with locked(folder):
        if not overwrite and (folder / MANIFEST).exists():
            return finished_corpus(folder, data, inputs)
        work = Work(folder, data, inputs, threads or available_cores())
        work.learn_vocabularies(texts, vocabulary)
        work.begin()
        for name in texts:
            work.make_split(name, texts[name], replace(limits, enforced=name == "train"))
        return work.finish()


def find_texts(folder: Path, source_lang: str, target_lang: str) -> Texts:
    """{train,valid,test}.{source_lang,target_lang}, plain or .gz; test may be missing."""
    texts: Texts = {}
    for split in NEEDED + OPTIONAL:
        found = {
            side: find_text(folder / f"{split}.{language}")
            for side, language in zip(SIDES, (source_lang, target_lang), strict=True)
        }
        present = {side: path for side, path in found.items() if path.exists()}
        if len(present) == len(SIDES):
            texts[split] = present
        elif present or split in NEEDED:
            missing = next(path for path in found.values() if not path.exists())
            raise UserError(
                f"{missing} does not exist; make the text with a script of data_prep/, or say "
                "with `data.text` in which folder it is"
            )
    return texts


def find_text(path: Path) -> Path:
    """`path` or, if only that is there, its compressed form."""
    compressed = path.with_name(path.name + ".gz")
    return compressed if compressed.exists() and not path.exists() else path


def scan_texts(texts: Texts) -> dict[str, dict[str, Any]]:
    """Lines and SHA-256 of every file; UserError for what is empty, unequal or not UTF-8."""
    inputs: dict[str, dict[str, Any]] = {}
    for split, paths in texts.items():
        scans: dict[str, TextScan] = {side: scan_text(path) for side, path in paths.items()}
        lines = {side: scan.lines for side, scan in scans.items()}
        check_equal_counts(paths["source"], lines["source"], paths["target"], lines["target"])
        if not lines["source"]:
            raise UserError(f"{paths['source']} and {paths['target']} are empty")
        inputs[split] = {side: vars(scan) for side, scan in scans.items()}
    return inputs


def finished_corpus(folder: Path, data: dict[str, Any], inputs: dict[str, Any]) -> Manifest:
    """The manifest of a corpus that is just what was asked for; otherwise UserError."""
    corpus = Corpus.open(folder)
    differences = compare(corpus.manifest.data, corpus.manifest.inputs, data, inputs)
    if differences:
        raise UserError(
            f"{folder} already holds another corpus ({'; '.join(differences)}); "
            "overwrite=true replaces it, `data.binary` puts the new one elsewhere"
        )
    for name in corpus.manifest.splits:
        corpus.split(name)
    console.print(f"{folder}: nothing to do, the corpus is finished", markup=False)
    return corpus.manifest


def compare(
    old_data: dict[str, Any], old_inputs: dict[str, Any], data: dict[str, Any], inputs: Any
) -> list[str]:
    """What differs between two corpora, for a reader."""
    differences = [
        f"`{key}` is {old_data.get(key)} there and {data.get(key)} here"
        for key in sorted((old_data.keys() | data.keys()) - set(PLACES))
        if old_data.get(key) != data.get(key)
    ]
    splits = sorted(old_inputs.keys() | inputs.keys())
    changed = [name for name in splits if old_inputs.get(name) != inputs.get(name)]
    return differences + [f"the {name} text has changed" for name in changed]


class Work:
    """The corpus in the making: its parts, each recorded as soon as it is in place."""

    def __init__(
        self, folder: Path, data: dict[str, Any], inputs: dict[str, Any], threads: int
    ) -> None:
        self.folder = folder
        self.inputs = inputs
        self.data = data
        self.threads = threads
        self.vocabularies: dict[str, Any] = {}
        self.splits: dict[str, Any] = {}
        self._learnt: dict[str, Vocabulary] = {}  # not yet written
        self._resume()

    def learn_vocabularies(self, texts: Texts, options: VocabularyOptions) -> None:
        """Learn one vocabulary of both training texts, or one of each; nothing is written yet."""
        if self.vocabularies:
            return
        train = texts["train"]
        if options.joint:
            described = self._learn_vocabulary("vocabulary.model", [*train.values()], options)
            self.vocabularies = dict.fromkeys(SIDES, described)
        else:
            self.vocabularies = {
                side: self._learn_vocabulary(f"vocabulary.{side}.model", [train[side]], options)
                for side in SIDES
            }

    def begin(self) -> None:
        """Take possession of the folder: from here on, what another corpus left is gone."""
        (self.folder / MANIFEST).unlink(missing_ok=True)
        self._remove_foreign_files()
        for file, vocabulary in self._learnt.items():
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
        described = encode_split(sides[0], sides[1], lines, limits, self.threads)
        if not described["sentences"]:
            raise UserError(f"no pair of {sides[0].text} and {sides[1].text} is left to train on")
        console.print(f"{name}: {described['sentences']:,} of {lines:,} pairs")
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
        names = {"vocabulary.model", *(f"vocabulary.{side}.model" for side in SIDES)}
        for split in NEEDED + OPTIONAL:
            for side in SIDES:
                path = self.folder / f"{split}.{side}"
                names |= (files := {tokens_path(path).name, index_path(path).name})
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
        self._learnt[file] = vocabulary
        return {
            "file": file,
            "size": len(vocabulary),
            "sha256": vocabulary.digest,
            "learnt_from": learnt_from,
        }

    def _record(self) -> None:
        state = {
            "data": self.data,
            "inputs": self.inputs,
            "vocabularies": self.vocabularies,
            "splits": self.splits,
        }
        write_whole(self.folder / UNFINISHED, json.dumps(state).encode())

    def _resume(self) -> None:
        """Take over the parts of a stopped run that are whole and are parts of this corpus."""
        try:
            state = json.loads((self.folder / UNFINISHED).read_bytes())
            if compare(state["data"], state["inputs"], self.data, self.inputs):
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
        except UserError:
            return False
        return tokens.index_crc == described[side]["index_crc32"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep the folder to this process; UserError if another one is at work in it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise UserError(f"another process is preparing the corpus in {folder}") from None


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
