"""Paired tests against sacreBLEU's own command line."""

import random
import re
import subprocess
import sys

import pytest

from reluformer.errors import UserError
from reluformer.evaluation.scores import detokenised_metrics, tokenised_metrics
from reluformer.evaluation.significance import bootstrap, compare

WORDS = ["the", "a", "man", "woman", "dog", "runs", "sleeps", "in", "on", "grass", "house", "old"]


def sentences(seed, count=60):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(6, 14))) + "." for _ in range(count)]


def damaged(lines, share, seed):
    """The lines with this share of their words replaced."""
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(WORDS) if rng.random() < share else word for word in line.split())
        for line in lines
    ]


REFERENCES = sentences(1)
BASELINE = damaged(REFERENCES, 0.30, 2)
SIMILAR = damaged(REFERENCES, 0.29, 3)
BETTER = damaged(REFERENCES, 0.15, 4)


@pytest.mark.parametrize(
    ("test", "flags"),
    [("bootstrap", ["--paired-bs"]), ("randomisation", ["--paired-ar", "--paired-ar-n", "1000"])],
)
def test_p_values_are_those_of_sacrebleus_command(tmp_path, test, flags):
    files = {"ref": REFERENCES, "base": BASELINE, "similar": SIMILAR, "better": BETTER}
    for name, lines in files.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", "base", "similar", "better"]
    command += ["-m", "bleu", "chrf", *flags, "-f", "latex", "-w", "4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    ours = compare(
        {"similar": SIMILAR, "better": BETTER},
        BASELINE,
        REFERENCES,
        detokenised_metrics(),
        test,
        1000,
    )
    assert len(ours) == 4
    for found in ours:
        row = re.search(rf"^ *{found.system} & (.*?) & (.*?) \\\\", done.stdout, re.MULTILINE)
        cell = row[1 if found.metric == "BLEU" else 2]
        score, *resampled, p = map(float, re.findall(r"\d+\.\d+", cell))
        assert found.score == pytest.approx(score, abs=6e-5)
        assert found.p == pytest.approx(p, abs=6e-5)
        if test == "bootstrap":
            assert [found.mean, found.interval] == pytest.approx(resampled, abs=6e-5)


def test_tells_a_real_gain_from_chance():
    found = compare(
        {"similar": SIMILAR, "better": BETTER}, BASELINE, REFERENCES, tokenised_metrics()
    )
    p = {comparison.system: comparison.p for comparison in found}
    assert p["better"] < 0.01
    assert p["similar"] > 0.05
    assert all("bs:1000|seed:12345" in comparison.signature for comparison in found)


@pytest.mark.parametrize("test", ["bootstrap", "randomisation"])
def test_a_system_does_not_differ_from_its_copy(test):
    copied = {"copy": BASELINE}
    found = compare(copied, BASELINE, REFERENCES, detokenised_metrics(), test, 50)
    assert [comparison.p for comparison in found] == [1.0, 1.0]


def test_lines_must_match():
    with pytest.raises(UserError, match="59 hypotheses cannot be scored against 60 references"):
        compare({"short": BETTER[1:]}, BASELINE, REFERENCES, detokenised_metrics())


def test_an_interval_where_hardly_anything_matches():
    """Resamples without any match are among the others."""
    metric = detokenised_metrics()["chrF2"]
    found = bootstrap(["x"] * 19 + ["a"], ["a"] * 20, metric, samples=50)
    assert 0 < found.score < 10
    assert 0 < found.interval < 20
