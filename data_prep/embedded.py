"""The embedded corpus: German-English text from a grammar of our own, made without a network."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from grammar.chance import Chance
from grammar.documents import SHORTEST, Document, documents, numbered
from grammar.lexicon import Lexicon, Pair, load_lexicon
from grammar.sentences import Sentences
from grammar.splits import distinct, seed_for
from output import Output, Report

from reluformer.cli.app import command
from reluformer.console import console, track
from reluformer.errors import UserError

LANGS = ("de", "en")
MARK = "<d>"  # the line before each document, on both sides

Fill = Callable[..., Report]  # staging folder, lexicon, sizes and more, seed -> counts


@dataclass
class EmbeddedConfig:
    """Settings of data_prep/embedded.py; conf/data_prep/embedded.yaml explains each."""

    sentences: int
    valid_sentences: int
    test_sentences: int
    documents: int
    valid_documents: int
    test_documents: int
    longest_document: int
    seed: int
    overwrite: bool

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 1 if field.name.endswith("sentences") else 0
            if field.name != "overwrite" and value < least:
                raise UserError(f"`{field.name}` must be at least {least}, but is {value}")
        for setting in ("valid_documents", "test_documents"):
            value = getattr(self, setting)
            if self.documents and (value < 2 or value % 2):
                rule = "must be even and at least 2, as its documents come in pairs"
                raise UserError(f"`{setting}` {rule}, but is {value}")

        if self.longest_document < SHORTEST:
            raise UserError(
                f"`longest_document` must be at least {SHORTEST}, but is {self.longest_document}"
            )

    def sizes(self, kind: str) -> dict[str, int]:
        """How many sentences or documents each split has."""
        names = {"train": kind, "valid": f"valid_{kind}", "test": f"test_{kind}"}
        return {split: getattr(self, name) for split, name in names.items()}


@command("data_prep/embedded", EmbeddedConfig)
def main(config: EmbeddedConfig) -> None:
    """Generate the embedded German-English corpus: sentences and documents from a grammar.

    Writes data/embedded/text with single sentences, and data/embedded_documents/text with
    documents, a line `<d>` before each, in which a later sentence can only be translated rightly
    by looking far back: <split>.probes.jsonl lists these places, and reluformer-score counts how
    many of them a translation got right. The same seed gives the same text everywhere, and no
    sentence of valid or test occurs in train, whatever the seed.

    Examples:
        python data_prep/embedded.py
        python data_prep/embedded.py sentences=100000 documents=0 seed=2
    """
    prepare("embedded", fill_sentences, {"sizes": config.sizes("sentences")}, config)
    if config.documents:
        options = {"sizes": config.sizes("documents"), "longest": config.longest_document}
        prepare("embedded_documents", fill_documents, options, config)


def prepare(name: str, fill: Fill, options: Report, config: EmbeddedConfig) -> None:
    """Make data/<name>/text and say what is in it."""
    seeded = {**options, "seed": config.seed}
    output = Output(name, "embedded", {**seeded, "grammar": grammar_digest()}, {})
    made = partial(fill, lexicon=load_lexicon(), **seeded)
    report = output.make(made, config.overwrite)
    for split, counts in report["counts"].items():
        told = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        console.print(f"{split}: {told}")
    console.print(f"prepared {output.folder}")


def fill_sentences(folder: Path, lexicon: Lexicon, sizes: dict[str, int], seed: int) -> Report:
    counts: Report = {}
    for split, size in sizes.items():
        pairs = list(track(sentences(lexicon, split, size, seed), f"{split} sentences", size))
        write_pairs(folder, split, pairs)
        counts[split] = {"pairs": len(pairs)} | count_words(pairs)
    return counts


def fill_documents(
    folder: Path, lexicon: Lexicon, sizes: dict[str, int], longest: int, seed: int
) -> Report:
    counts: Report = {}
    for split, size in sizes.items():
        drawn = documents(lexicon, split, size, seed, twins=split != "train", longest=longest)
        listed = list(track(drawn, f"{split} documents", size))
        pairs = [pair for document in listed for pair in document.sentences]
        counts[split] = {"documents": len(listed), "pairs": len(pairs)} | count_words(pairs)
        lines = [pair for document in listed for pair in [(MARK, MARK), *document.sentences]]
        write_pairs(folder, split, lines)
        counts[split]["probes"] = write_probes(folder / f"{split}.probes.jsonl", listed)
    return counts


def sentences(lexicon: Lexicon, split: str, count: int, seed: int) -> Iterator[Pair]:
    """The sentence pairs of a split."""
    speaker = Sentences(lexicon, Chance(seed_for(seed, "sentences", split)))
    return distinct(speaker.sentence, split, count)


def write_pairs(folder: Path, split: str, pairs: list[Pair]) -> None:
    """<split>.de and <split>.en, line by line."""
    for side, lang in enumerate(LANGS):
        text = "".join(f"{pair[side]}\n" for pair in pairs)
        (folder / f"{split}.{lang}").write_bytes(text.encode())


def write_probes(path: Path, listed: list[Document]) -> int:
    """One probe a line, by document and line; returns how many."""
    entries = []
    first_line = 2  # the first line is the first document's mark
    for index, document in enumerate(listed, start=1):
        probes = numbered(document, index, first_line)
        entries += [json.dumps(probe.to_json(), ensure_ascii=False) for probe in probes]
        first_line += len(document.sentences) + 1
    path.write_bytes("".join(f"{entry}\n" for entry in entries).encode())
    return len(entries)


def count_words(pairs: list[Pair]) -> Report:
    return {
        f"{lang} words": sum(pair[side].count(" ") + 1 for pair in pairs)
        for side, lang in enumerate(LANGS)
    }


def grammar_digest() -> str:
    """SHA-256 over the grammar's files, so that text of an older grammar is not taken for this."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent / "grammar"
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.txt")]):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
