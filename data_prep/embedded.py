"""The embedded corpus: German-English text from a grammar of our own, made without a network."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grammar.chance import Chance
from grammar.lexicon import Lexicon, Pair, load_lexicon
from grammar.sentences import Sentences
from grammar.splits import SPLITS, distinct, seed_for
from output import Output, Report

from reluformer.cli.app import command
from reluformer.console import console, track
from reluformer.errors import UserError

LANGS = ("de", "en")


@dataclass
class Sizes:
    """How many of each split."""

    train: int
    valid: int
    test: int

    def of(self, split: str) -> int:
        return {"train": self.train, "valid": self.valid, "test": self.test}[split]


@dataclass
class EmbeddedConfig:
    """Settings of data_prep/embedded.py; conf/data_prep/embedded.yaml explains each."""

    sentences: int
    valid_sentences: int
    test_sentences: int
    seed: int
    overwrite: bool

    def __post_init__(self) -> None:
        for setting in ("sentences", "valid_sentences", "test_sentences"):
            if getattr(self, setting) < 1:
                raise UserError(f"`{setting}` must be at least 1, but is {getattr(self, setting)}")


@command("data_prep/embedded", EmbeddedConfig)
def main(config: EmbeddedConfig) -> None:
    """Generate the embedded German-English corpus.

    Writes data/embedded/text, sentence pairs drawn from a grammar; the same seed gives the same
    text everywhere.

    Examples:
        python data_prep/embedded.py
        python data_prep/embedded.py sentences=100000 seed=2
    """
    lexicon = load_lexicon()
    sizes = Sizes(config.sentences, config.valid_sentences, config.test_sentences)
    options = {"sizes": vars(sizes), "seed": config.seed, "grammar": grammar_digest()}
    output = Output("embedded", "embedded", options, {})

    def fill(staging: Path) -> Report:
        return {
            split: write_pairs(
                staging,
                split,
                track(
                    sentences(lexicon, split, sizes.of(split), config.seed),
                    split,
                    sizes.of(split),
                ),
            )
            for split in SPLITS
        }

    report = output.make(fill, config.overwrite)
    for split, counts in report["counts"].items():
        console.print(f"{split}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    console.print(f"prepared {output.folder}")


def sentences(lexicon: Lexicon, split: str, count: int, seed: int) -> Iterator[Pair]:
    """The sentence pairs of a split."""
    speaker = Sentences(lexicon, Chance(seed_for(seed, "sentences", split)))
    return distinct(speaker.sentence, split, count)


def write_pairs(folder: Path, split: str, pairs: Iterator[Pair]) -> Report:
    """<split>.de and <split>.en, line by line; returns what was written."""
    written = list(pairs)
    counts: Report = {"pairs": len(written)}
    for side, lang in enumerate(LANGS):
        lines = [pair[side] for pair in written]
        counts[f"{lang} words"] = sum(line.count(" ") + 1 for line in lines)
        text = "".join(f"{line}\n" for line in lines)
        (folder / f"{split}.{lang}").write_bytes(text.encode())
    return counts


def grammar_digest() -> str:
    """SHA-256 over the grammar's files, so that text of an older grammar is not taken for this."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent / "grammar"
    for path in sorted([*folder.glob("*.py"), *folder.glob("tables/*.txt")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
