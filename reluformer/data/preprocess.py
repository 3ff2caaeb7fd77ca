"""Parallel text to a prepared corpus: vocabularies, token files, manifest.

Every file is written under a temporary name and put in its place whole; `unfinished.json` keeps
what is done so far, and `manifest.json` comes last. A run that was stopped is continued by the
same call, with the same bytes as a result; a finished corpus is left as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reluformer.console import console
from reluformer.data.assembly import (
    NEEDED,
    OPTIONAL,
    UNFINISHED,
    VOCABULARY,
    Assembly,
    Texts,
    VocabularyOptions,
    compare,
)
from reluformer.data.corpus import MANIFEST, SIDES, Corpus, Manifest
from reluformer.data.encoding import Limits, read_pairs
from reluformer.data.processes import available_cores
from reluformer.data.text import TextScan, check_equal_counts, plain_or_compressed, scan_text
from reluformer.data.vocabulary import Vocabulary
from reluformer.errors import UserError

LOCK = ".preprocess.lock"


def prepare_corpus(
    texts: Texts,
    folder: Path,
    data: dict[str, Any],
    vocabulary: VocabularyOptions,
    limits: Limits,
    workers: int | None = None,
    overwrite: bool = False,
    taken: dict[str, Vocabulary] | None = None,
) -> Manifest:
    """Make the corpus of these texts in `folder`, or finish it, and return its manifest.

    `data` is the whole configuration, for the manifest; `taken` are vocabularies by side that are
    used as they are, instead of being learnt. What can be wrong with the texts or the
    vocabulary is found before anything is written or replaced. Raises UserError if the folder
    holds another corpus and `overwrite` is not set, or if another process is at work in it.
    """
    inputs = scan_texts(texts)
    if taken:
        inputs[VOCABULARY] = {side: {"sha256": one.digest} for side, one in taken.items()}
    with locked(folder):
        if not overwrite and (folder / MANIFEST).exists():
            return finished_corpus(folder, data, inputs)
        check_marks(texts, bool(data.get("documents")))
        assembly = Assembly(folder, data, inputs, workers or available_cores())
        if taken:
            assembly.take_vocabularies(taken, vocabulary.joint)
        else:
            assembly.learn_vocabularies(texts, vocabulary)
        assembly.begin()
        for name in texts:
            assembly.make_split(name, texts[name], replace(limits, enforced=name == "train"))
        return assembly.finish()


def find_texts(folder: Path, source_lang: str, target_lang: str) -> Texts:
    """{train,valid,test}.{source_lang,target_lang}, plain or .gz; test may be missing."""
    texts: Texts = {}
    for split in NEEDED + OPTIONAL:
        found = {
            side: plain_or_compressed(folder / f"{split}.{language}")
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


def check_marks(texts: Texts, documents: bool) -> None:
    """Raise UserError for what `read_pairs` does not take, before anything is learnt."""
    for paths in texts.values():
        pairs = read_pairs(paths["source"], paths["target"], documents)
        for _ in pairs if documents else islice(pairs, 1):
            pass


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
    (folder / UNFINISHED).unlink(missing_ok=True)
    console.print(f"{folder}: nothing to do, the corpus is finished", markup=False)
    return corpus.manifest


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep the folder to this process; UserError if another one is at work in it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise UserError(f"another process is preparing the corpus in {folder}") from None
