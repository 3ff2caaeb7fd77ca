"""The test set of a corpus, and how translations of it are made and scored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reluformer.config.data import DataConfig
from reluformer.data.moses import detokenise_lines
from reluformer.data.text import plain_or_compressed, read_lines, scan_text
from reluformer.errors import UserError
from reluformer.evaluation.documents import joined_documents


@dataclass(frozen=True)
class Texts:
    """Lines for BLEU and lines for chrF, which is of plain text always."""

    bleu: list[str]
    chrf: list[str]


@dataclass(frozen=True)
class TestSet:
    """Source and references: `plain` as it was before any treatment, `treated` as in training.

    Lower-cased Moses tokens do not survive being detokenised and tokenised again, so a corpus
    of them is scored `as_tokens`; every other one in plain text. Of documents the score is d-BLEU:
    each document is one line.
    """

    source: Path
    plain: Path
    treated: Path
    target_lang: str
    moses: bool
    lowercase: bool
    documents: bool = False

    @classmethod
    def of(cls, data: DataConfig) -> "TestSet":
        """That of a corpus; UserError names the file that is missing."""
        folder = Path(data.text)
        source = plain_or_compressed(folder / f"test.{data.source_lang}")
        treated = plain_or_compressed(folder / f"test.{data.target_lang}")
        for path in (source, treated):
            if not path.exists():
                raise UserError(
                    f"{path} does not exist, but a comparison translates the test set: make the "
                    "text with a script of data_prep/, or say with `data.text` where it is"
                )
        raw = plain_or_compressed(folder / f"test.raw.{data.target_lang}")
        plain = raw if raw.exists() else treated
        treatment = data.moses, data.lowercase, data.documents
        return cls(source, plain, treated, data.target_lang, *treatment)

    @property
    def content(self) -> tuple[Any, ...]:
        """All that scores depend on: equal for equal texts, wherever they lie."""
        texts = (self.source, self.plain, self.treated)
        hashes = (scan_text(path).sha256 for path in texts)
        return (*hashes, self.target_lang, self.moses, self.lowercase, self.documents)

    @property
    def as_tokens(self) -> bool:
        return self.moses and self.lowercase

    @property
    def kind(self) -> str:
        """Which BLEU this is, in words."""
        form = "tokenised, lower-cased" if self.as_tokens else "detokenised"
        return f"{form}, of documents" if self.documents else form

    def translate_settings(self) -> list[str]:
        """What reluformer-translate has to know about the source and the output wanted."""
        settings = [f"input={self.source}"]
        if self.moses:
            settings += ["input_tokenised=true", f"detokenise={not self.as_tokens}".lower()]
        return settings

    def score_settings(self) -> list[str]:
        """The same for reluformer-score."""
        untouched = self.plain != self.treated or not self.moses
        settings = [
            f"reference={self.plain}",
            f"lang={self.target_lang}",
            f"lowercase={self.lowercase}".lower(),
            f"hypothesis_tokenised={self.as_tokens}".lower(),
            f"reference_tokenised={not untouched}".lower(),
        ]
        probes = self.source.with_name("test.probes.jsonl")
        if self.documents and probes.exists():
            settings.append(f"probes={probes}")
        if self.as_tokens and untouched:
            settings.append(f"tokenised_reference={self.treated}")
        return settings

    def hypotheses(self, path: Path) -> Texts:
        """Translations that were made with `translate_settings`."""
        lines = list(read_lines(path))
        return self._texts(lines, self._detokenised(lines) if self.as_tokens else lines)

    def references(self) -> Texts:
        treated = list(read_lines(self.treated))
        plain = list(read_lines(self.plain))
        if self.moses and self.plain == self.treated:
            plain = self._detokenised(plain)
        return self._texts(treated if self.as_tokens else plain, plain)

    def _texts(self, bleu: list[str], chrf: list[str]) -> Texts:
        """For either metric, each document as one line where there are documents."""
        if self.documents:
            bleu, chrf = (joined_documents(lines) for lines in (bleu, chrf))
        return Texts(bleu, chrf)

    def _detokenised(self, lines: list[str]) -> list[str]:
        return list(detokenise_lines(lines, self.target_lang))
