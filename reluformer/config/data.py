"""Settings of a corpus and of `reluformer-preprocess`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from reluformer.checks import check_choice, check_name, check_positive, check_threads
from reluformer.errors import UserError

LARGEST_VOCABULARY = 1_000_000


@dataclass
class DataConfig:
    """What a corpus is and how its vocabulary is made; a prepared corpus and a run keep a copy."""

    name: str  # the corpus lies in data/<name>
    source_lang: str  # the suffix of the text files to translate from
    target_lang: str  # the suffix of the text files to translate into
    text: str  # folder of {train,valid,test}.{source_lang,target_lang}
    binary: str  # folder of the prepared corpus
    moses: bool = False  # the text is tokenised with Moses' rules; translate undoes it
    lowercase: bool = False  # the text is lower-cased; translate does so with its input
    documents: bool = False  # lines `<d>` begin documents; windows of them can be trained on
    vocab_size: int = 10_000  # symbols of a vocabulary, the four special ones included
    joint_vocabulary: bool = True  # one vocabulary for both languages
    character_coverage: float = 1.0  # share of the characters in the text that get a symbol
    byte_fallback: bool = False  # spell other characters in bytes (needs 256 symbols)
    normalisation: str = "identity"  # identity | nfkc | nmt_nfkc, before splitting into subwords
    vocabulary_sentences: int = 250_000  # drawn from each language to learn the vocabulary from
    vocabulary_seed: int = 1  # of that draw
    vocabulary_of: str | None = None  # folder of a corpus or run whose vocabularies to take instead
    max_length: int = 256  # tokens without EOS that a training sentence may have on a side
    too_long: str = "drop"  # drop | truncate: what happens to longer ones in training
    max_ratio: float | None = None  # drop training pairs with more tokens to a token; null: keep

    def __post_init__(self) -> None:
        for name in ("name", "source_lang", "target_lang"):
            check_name(name, getattr(self, name))
        if self.source_lang == self.target_lang:
            raise UserError(f"`source_lang` and `target_lang` are both {self.source_lang!r}")
        for name in ("text", "binary"):
            if not getattr(self, name):
                raise UserError(f"`{name}` must be a folder, but is empty")
        if Path(self.text).resolve() == Path(self.binary).resolve():
            raise UserError(
                f"`text` and `binary` are the same folder, {self.text}: keep them apart"
            )
        if not 4 < self.vocab_size <= LARGEST_VOCABULARY:
            raise UserError(
                f"`vocab_size` must be above 4, the special symbols, and at most "
                f"{LARGEST_VOCABULARY:,}, but is {self.vocab_size}"
            )
        for name in ("vocabulary_sentences", "max_length"):
            check_positive(name, getattr(self, name))
        if not 0.98 <= self.character_coverage <= 1:  # SentencePiece's own limits
            raise UserError(
                f"`character_coverage` must lie in [0.98, 1], but is {self.character_coverage}"
            )
        check_choice("normalisation", self.normalisation, ("identity", "nfkc", "nmt_nfkc"))
        check_choice("too_long", self.too_long, ("drop", "truncate"))
        if self.max_ratio is not None and not self.max_ratio >= 1:
            raise UserError(f"`max_ratio` must be 1 or greater, but is {self.max_ratio}")

    @classmethod
    def of_manifest(cls, values: dict[str, Any]) -> "DataConfig":
        """The settings that a prepared corpus was made with."""
        try:
            return cls(**values)
        except TypeError as error:
            raise UserError(f"the corpus was made by another version: {error}") from None


@dataclass
class PreprocessConfig:
    """Settings of reluformer-preprocess."""

    workers: int | None  # processes, for large texts; null: one per core
    overwrite: bool  # replace another corpus in the same folder
    data: DataConfig = MISSING

    def __post_init__(self) -> None:
        check_threads(self.workers, "workers")
