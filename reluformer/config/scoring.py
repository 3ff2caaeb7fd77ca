"""Settings of `reluformer-score`, and the scores they ask for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reluformer.checks import check_choice, check_not_negative
from reluformer.data.documents import MARK, parse_mark
from reluformer.data.forms import Forms, both_forms
from reluformer.data.text import check_equal_counts, read_lines
from reluformer.errors import UserError
from reluformer.evaluation.documents import DocumentScores, Layout, score_documents
from reluformer.evaluation.probes import Probe, ProbeCount, count_probes, read_probes
from reluformer.evaluation.scores import (
    Score,
    TokenisedScore,
    detokenised_metrics,
    score_detokenised,
    score_tokenised_lowercased,
    tokenised_metrics,
)
from reluformer.evaluation.significance import TESTS, Comparison, compare

SUBWORD_MARKS = ("\u2581", "@@ ")  # SentencePiece's and subword-nmt's


@dataclass
class ScoreConfig:
    """What is scored against what."""

    hypothesis: Any  # a file, or a list of files
    reference: str
    tokenised_reference: str | None
    baseline: str | None
    hypothesis_tokenised: bool | None
    reference_tokenised: bool | None
    lang: str | None
    lowercase: bool
    test: str
    samples: int
    probes: str | None
    timing: str | None
    output: str | None

    def __post_init__(self) -> None:
        check_choice("test", self.test, tuple(TESTS))
        check_not_negative("samples", self.samples)
        names = [self.hypothesis] if isinstance(self.hypothesis, str) else self.hypothesis
        if not names or not all(isinstance(name, str) for name in names):
            raise UserError(
                f"`hypothesis` must be a file or a list of files, but is {self.hypothesis!r}"
            )
        self.hypothesis = list(names)
        if self.samples and self.baseline is None:
            raise UserError("`samples` are of the test against a `baseline`: give one")
        if self.test != "bootstrap" and self.baseline is None:
            raise UserError("`test` is of a difference to a `baseline`: give one")
        if self.timing is not None and (len(names) > 1 or self.baseline is not None):
            raise UserError("`timing` is of one translation: give one `hypothesis`, no `baseline`")

    @property
    def inputs(self) -> list[str | None]:
        """Every file that is read."""
        others = (self.tokenised_reference, self.baseline, self.probes, self.timing)
        return [*self.hypothesis, self.reference, *others]

    @property
    def language(self) -> str:
        """`lang`, or what the reference's name ends in."""
        if self.lang is not None:
            return self.lang
        suffix = Path(self.reference.removesuffix(".gz")).suffix[1:]
        if not (suffix.isalpha() and suffix.islower() and 2 <= len(suffix) <= 3):
            raise UserError(
                f"`reference` {self.reference} does not end in a language, such as .en: say "
                "`lang=en`"
            )
        return suffix


@dataclass(frozen=True)
class SystemScores:
    """Both kinds of scores of one system, and how its text was made fit for them.

    Of documents also their own scores, and where asked for the probes and what became of the
    windows (see `WindowCounts`).
    """

    system: str
    detokenised: Score
    tokenised_lowercased: TokenisedScore
    made: str
    documents: DocumentScores | None = None
    probes: list[ProbeCount] = field(default_factory=list)
    windows: dict[str, int] | None = None


@dataclass(frozen=True)
class ScoreReport:
    """All that `reluformer-score` found out; comparisons are against the baseline."""

    reference: str
    reference_made: str
    systems: list[SystemScores]
    baseline: str | None = None
    detokenised_comparisons: list[Comparison] = field(default_factory=list)
    tokenised_lowercased_comparisons: list[Comparison] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)


def score_files(config: ScoreConfig) -> ScoreReport:
    """Read, bring into both forms, score and compare."""
    lang = config.language
    reference_path = Path(config.reference)
    reference_lines = list(read_lines(reference_path))
    layout = Layout.of(reference_lines)
    if reference_lines and len(layout.marks) == len(reference_lines):
        raise UserError(f"{config.reference} holds marks of documents and no sentence")
    reference = both_forms(layout.sentences(reference_lines), lang, config.reference_tokenised)

    def aligned(name: str) -> list[str]:
        lines = list(read_lines(Path(name)))
        check_equal_counts(Path(name), len(lines), reference_path, len(reference_lines))
        layout.check(lines, name, config.reference)
        return layout.sentences(lines)

    if config.tokenised_reference is not None:
        made = f"{reference.made}; there, the tokens of {config.tokenised_reference} instead"
        reference = replace(reference, tokens=aligned(config.tokenised_reference), made=made)
    names = [*config.hypothesis, *([config.baseline] if config.baseline else [])]
    forms = {
        name: both_forms(aligned(name), lang, config.hypothesis_tokenised)
        for name in dict.fromkeys(names)
    }
    plain, tokens = _comparisons(config, forms, reference)
    return ScoreReport(
        reference=config.reference,
        reference_made=reference.made,
        systems=[_score(name, form, reference, layout, config) for name, form in forms.items()],
        baseline=config.baseline,
        detokenised_comparisons=plain,
        tokenised_lowercased_comparisons=tokens,
        cautions=[
            *_hidden_marks(config.reference, layout, reference_lines),
            *_cautions(config, forms, reference),
        ],
    )


def _score(
    name: str, text: Forms, reference: Forms, layout: Layout, config: ScoreConfig
) -> SystemScores:
    documents = None
    if layout.starts:
        documents = score_documents(text, reference, layout.starts, config.lowercase)
    probes = []
    if config.probes is not None:
        asked = [
            probe
            for probe in read_probes(Path(config.probes))
            if probe.direction.endswith(f"-{config.language}")
        ]
        check_probes(layout.lines(reference.plain), asked, config)
        probes = count_probes(layout.lines(text.plain), asked)
    return SystemScores(
        documents=documents,
        probes=probes,
        windows=None if config.timing is None else read_windows(Path(config.timing)),
        system=name,
        detokenised=score_detokenised(text.plain, reference.plain, config.lowercase),
        tokenised_lowercased=score_tokenised_lowercased(text.tokens, reference.tokens),
        made=text.made,
    )


def check_probes(reference: list[str], asked: list[Probe], config: ScoreConfig) -> None:
    """Raise UserError if most of them do not find their words in the reference itself."""
    counts = count_probes(reference, asked)
    right, total = (sum(getattr(one, name) for one in counts) for name in ("right", "total"))
    if right < total / 2:
        raise UserError(
            f"{config.probes} is not of {config.reference}: the reference itself has only "
            f"{right:,} of the {total:,} words that it asks for"
        )


def read_windows(path: Path) -> dict[str, int]:
    """What `reluformer-translate timing=...` wrote of the windows."""
    try:
        windows: dict[str, int] = json.loads(path.read_bytes())["windows"]
        if not all(isinstance(windows[name], int) for name in ("windows", "repaired")):
            raise ValueError
        return windows
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path} is not what reluformer-translate wrote with `timing`: it has no windows"
        ) from None


def _comparisons(
    config: ScoreConfig, forms: dict[str, Forms], reference: Forms
) -> tuple[list[Comparison], list[Comparison]]:
    """Every system against the baseline, on plain text and on tokens."""
    if config.baseline is None:
        return [], []
    others = [name for name in forms if name != config.baseline]
    if not others:
        raise UserError(f"`baseline` {config.baseline} is the only system: nothing to compare")
    plain = compare(
        {name: forms[name].plain for name in others},
        forms[config.baseline].plain,
        reference.plain,
        detokenised_metrics(config.lowercase),
        config.test,
        config.samples,
    )
    tokens = compare(
        {name: forms[name].tokens for name in others},
        forms[config.baseline].tokens,
        reference.tokens,
        tokenised_metrics(),
        config.test,
        config.samples,
    )
    return plain, tokens


def _cautions(config: ScoreConfig, forms: dict[str, Forms], reference: Forms) -> list[str]:
    """What makes these scores hard to compare with anyone else's."""
    found = []
    if reference.tokenised:
        found.append(
            "the reference came in Moses tokens and was detokenised, which does not give the "
            "original text back: for detokenised scores that others can compare, give the "
            "untouched text (data/<name>/text/test.raw.*), and this as `tokenised_reference`"
        )
    if config.probes is not None:
        directions = {probe.direction for probe in read_probes(Path(config.probes))}
        if not any(one.endswith(f"-{config.language}") for one in directions):
            found.append(f"{config.probes} has no probe of translations into {config.language}")
    if mark := _unfinished(reference.plain):
        found.append(f"the reference is full of `{mark.strip()}`: join its pieces to words first")
    lower, upper = _is_lower(reference.plain), _is_upper(reference.plain)
    for name, text in forms.items():
        if mark := _unfinished(text.plain):
            found.append(f"{name} is full of `{mark.strip()}`: join its pieces to words first")
        if not config.lowercase and _is_upper(text.plain) != upper:
            which = "the reference" if upper else name
            found.append(f"{which} is all in capitals, the other not: scores suffer")
        if not config.lowercase and _is_lower(text.plain) != lower:
            found.append(
                f"{name} is {'not ' if lower else ''}all lower-case, but the reference is"
                f"{'' if lower else ' not'}: its detokenised scores suffer; `lowercase=true` "
                "leaves case out"
            )
        if not text.tokenised and _is_lower(text.plain):
            found.append(
                f"{name} is lower-case plain text, in which Moses misses ends of sentences: for "
                "the literature's score translate with `detokenise=false` and give those tokens"
            )
    return found


def _hidden_marks(name: str, layout: Layout, lines: list[str]) -> Iterator[str]:
    """A caution where lines `<d>` count as sentences."""
    marks = 0 if layout.marks else sum(parse_mark(line) is not None for line in lines)
    if marks:
        yield (
            f"{name} does not begin with `{MARK}`, so that its {marks:,} lines `{MARK}` are scored "
            "as sentences: documents have one before their first sentence, too"
        )


def _unfinished(lines: list[str]) -> str | None:
    """What shows that these are no sentences yet, but pieces of a subword vocabulary."""
    for mark in SUBWORD_MARKS:
        if sum(mark in line for line in lines) > len(lines) / 2:
            return mark
    return None


def _is_lower(lines: list[str]) -> bool:
    return all(line == line.lower() for line in lines)


def _is_upper(lines: list[str]) -> bool:
    """Whether most lines have letters that come in two cases, and none has a small one."""
    cased = sum(line.lower() != line.upper() for line in lines)
    return cased > len(lines) / 2 and all(line == line.upper() for line in lines)
