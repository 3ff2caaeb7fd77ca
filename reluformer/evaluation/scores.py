"""BLEU and chrF by sacreBLEU, in the two forms that papers report. Never a score without its name.

`score_detokenised` is what sacreBLEU stands for: plain text against plain, untouched references,
comparable between toolkits. `score_tokenised_lowercased` is the number of the IWSLT14 literature
(multi-bleu on Moses tokens in lower case); it is often about a point away from the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from reluformer.errors import UserError


@dataclass(frozen=True)
class Score:
    """Scores from 0 to 100 with the signatures that say how they were computed."""

    bleu: float
    bleu_signature: str
    chrf: float
    chrf_signature: str


@dataclass(frozen=True)
class TokenisedScore:
    """BLEU from 0 to 100 on the tokens as they are, its signature, and the numbers of tokens."""

    bleu: float
    bleu_signature: str
    hypothesis_tokens: int
    reference_tokens: int


class Chrf(CHRF):
    """chrF whose values are all of one type.

    sacreBLEU's are NumPy's float32, but where nothing matches Python's float, and its mean over
    resamples refuses the mixture.
    """

    def _compute_f_score(self, statistics: list[int]) -> float:
        return float(super()._compute_f_score(statistics))


def detokenised_metrics(lowercase: bool = False) -> dict[str, BLEU | CHRF]:
    """BLEU with sacreBLEU's own 13a tokenisation, and chrF2."""
    return {"BLEU": BLEU(lowercase=lowercase), "chrF2": Chrf(lowercase=lowercase)}


def tokenised_metrics() -> dict[str, BLEU | CHRF]:
    """BLEU on space-separated tokens in lower case."""
    # `force` only silences the warning that the text looks tokenised, which it is.
    return {"BLEU": BLEU(lowercase=True, tokenize="none", force=True)}


def score_detokenised(
    hypotheses: Sequence[str], references: Sequence[str], lowercase: bool = False
) -> Score:
    """BLEU and chrF of plain text, case counting unless `lowercase`."""
    check_lines(hypotheses, references)
    bleu, chrf = detokenised_metrics(lowercase).values()
    return Score(
        bleu=bleu.corpus_score(hypotheses, [references]).score,
        bleu_signature=str(bleu.get_signature()),
        chrf=chrf.corpus_score(hypotheses, [references]).score,
        chrf_signature=str(chrf.get_signature()),
    )


def score_tokenised_lowercased(
    hypotheses: Sequence[str], references: Sequence[str]
) -> TokenisedScore:
    """BLEU of Moses tokens, both sides lower-cased here; it is the caller who tokenises."""
    check_lines(hypotheses, references)
    (bleu,) = tokenised_metrics().values()
    found = bleu.corpus_score(hypotheses, [references])
    return TokenisedScore(found.score, str(bleu.get_signature()), found.sys_len, found.ref_len)


def check_lines(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Refuse what cannot be scored line against line."""
    if len(hypotheses) != len(references):
        raise UserError(
            f"{len(hypotheses):,} hypotheses cannot be scored against {len(references):,} "
            "references: line n of one must translate what line n of the other does"
        )
    if not references:
        raise UserError("there is nothing to score: no lines")
