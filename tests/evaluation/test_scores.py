"""Scores against sacreBLEU's own command line and against BLEU by hand."""

import json
import subprocess
import sys
from math import exp, log

import pytest

from reluformer.errors import UserError
from reluformer.evaluation.scores import score_detokenised, score_tokenised_lowercased

REFERENCES = [
    "A man in an orange hat is starring at something.",
    "Two dogs, one of them black, run through the high grass.",
    "The girl's brother isn't here; he went to Berlin (Germany).",
]
HYPOTHESES = [
    "A man in an orange cap stares at something.",
    "Two dogs, one of which is black, run through high grass.",
    "The brother of the girl is not here; he went to Berlin (Germany).",
]


def command_line(tmp_path, *arguments):
    """What `sacrebleu` itself prints, as JSON."""
    (tmp_path / "ref").write_text("\n".join(REFERENCES) + "\n", encoding="utf-8")
    (tmp_path / "hyp").write_text("\n".join(HYPOTHESES) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", "hyp", *arguments, "-w", "10"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_detokenised_scores_are_those_of_sacrebleus_command(tmp_path):
    bleu, chrf = command_line(tmp_path, "-m", "bleu", "chrf")
    ours = score_detokenised(HYPOTHESES, REFERENCES)
    assert ours.bleu == pytest.approx(bleu["score"], abs=1e-9)
    assert ours.chrf == pytest.approx(chrf["score"], abs=1e-9)
    assert ours.bleu_signature == bleu["signature"]
    assert ours.chrf_signature == chrf["signature"]


def test_lowercase_is_in_the_signature_and_in_the_score(tmp_path):
    shouted = [line.upper() for line in HYPOTHESES]
    ours = score_detokenised(shouted, REFERENCES, lowercase=True)
    assert ours.bleu == pytest.approx(score_detokenised(HYPOTHESES, REFERENCES, True).bleu)
    assert "case:lc" in ours.bleu_signature
    assert "case:lc" in ours.chrf_signature
    assert ours.bleu > score_detokenised(shouted, REFERENCES).bleu


def test_tokenised_score_is_that_of_sacrebleus_command(tmp_path):
    bleu = command_line(tmp_path, "-m", "bleu", "--tokenize", "none", "-lc", "--force")
    ours = score_tokenised_lowercased(HYPOTHESES, REFERENCES)
    assert ours.bleu == pytest.approx(bleu["score"], abs=1e-9)
    assert ours.bleu_signature == bleu["signature"]


def test_tokenised_score_by_hand():
    """Precisions 5/6, 3/5, 2/4, 1/3 and six tokens against seven: brevity exp(1 - 7/6)."""
    score = score_tokenised_lowercased(["the cat sat on a mat"], ["The cat sat on the mat ."])
    precisions = [5 / 6, 3 / 5, 2 / 4, 1 / 3]
    expected = 100 * exp(1 - 7 / 6) * exp(sum(map(log, precisions)) / 4)
    assert score.bleu == pytest.approx(expected)
    assert (score.hypothesis_tokens, score.reference_tokens) == (6, 7)


def test_tokens_are_not_tokenised_again():
    """Tokens that sacreBLEU's 13a would cut up or put together count as they are."""
    same = ["it &apos;s 5,300 well-known ones ..."]
    assert score_tokenised_lowercased(same, same).reference_tokens == 6


@pytest.mark.parametrize("score", [score_detokenised, score_tokenised_lowercased])
def test_lines_must_match(score):
    with pytest.raises(UserError, match="2 hypotheses cannot be scored against 3 references"):
        score(HYPOTHESES[:2], REFERENCES)
    with pytest.raises(UserError, match="nothing to score"):
        score([], [])
