"""reluformer-score as its users call it: what is said, written and refused."""

import json

import pytest

from reluformer.cli.score import main
from reluformer.data.moses import tokenise
from reluformer.evaluation.scores import score_detokenised

REFERENCE = [
    "A man isn't here, he said.",
    "Two dogs run through the high grass.",
    "The girl's brother went to Berlin (Germany).",
] * 4
HYPOTHESIS = [line.replace("the high", "tall").replace("went", "drove") for line in REFERENCE]
BASELINE = [line.replace(" run", " are running").replace("he", "she") for line in REFERENCE]


@pytest.fixture
def here(run, tmp_path):
    """The working folder with all texts, plain and in lower-cased Moses tokens."""
    folder = tmp_path / "here"
    for name, lines in {"ref": REFERENCE, "hyp": HYPOTHESIS, "base": BASELINE}.items():
        tokens = [tokenise(line, "en").lower() for line in lines]
        (folder / f"{name}.en").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / f"{name}.tok.en").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return folder


def report(run, here, *arguments):
    done = run(main, *arguments, "output=scores.json")
    assert done.code == 0, done.err
    return json.loads((here / "scores.json").read_text(encoding="utf-8")), done.out


def test_scores_come_with_their_names_and_signatures(run, here):
    found, said = report(run, here, "hypothesis=hyp.en", "reference=ref.en")
    [system] = found["systems"]
    expected = score_detokenised(HYPOTHESIS, REFERENCE)
    assert system["detokenised"]["bleu"] == pytest.approx(expected.bleu)
    assert f"{expected.bleu:.2f}" in said
    assert expected.bleu_signature in said
    assert "|tok:none|" in system["tokenised_lowercased"]["bleu_signature"]
    assert "hyp.en: plain text (detected), tokenised by Moses (en)" in said


@pytest.mark.parametrize("hypothesis", ["hyp.en", "hyp.tok.en"])
@pytest.mark.parametrize("reference", ["ref.en", "ref.tok.en"])
def test_the_literatures_score_is_the_same_from_text_and_from_tokens(
    run, here, hypothesis, reference
):
    """Nothing is tokenised twice, in any combination."""
    plain, _ = report(run, here, "hypothesis=hyp.en", "reference=ref.en")
    found, _ = report(run, here, f"hypothesis={hypothesis}", f"reference={reference}")
    expected = plain["systems"][0]["tokenised_lowercased"]
    assert found["systems"][0]["tokenised_lowercased"] == expected


def test_scores_of_one_sweep_do_not_overwrite_one_another(run, here):
    settings = "-m", "hypothesis=hyp.en,base.en", "reference=ref.en"
    outcome = run(main, *settings, "output=scores.json")
    assert outcome.code == 2
    assert outcome.err.endswith(
        "error: `output` scores.json is that of another job of this sweep, and stays as it is: let "
        "it differ with what does, as in output='${KEY}.txt'\n"
    )
    assert "hyp.en" in (here / "scores.json").read_text()
    assert run(main, *settings, "output=${hypothesis}.json").code == 0
    assert (here / "base.en.json").exists()


def test_doubtful_comparisons_are_cautioned_against(run, here):
    found, said = report(run, here, "hypothesis=hyp.en", "reference=ref.tok.en")
    tokens, case = found["cautions"]
    assert "give the untouched text" in tokens
    assert "hyp.en is not all lower-case, but the reference is" in case
    assert said.count("caution: ") == 2
    clean, _ = report(run, here, "hypothesis=hyp.en", "reference=ref.en")
    assert clean["cautions"] == []


@pytest.mark.parametrize(
    ("change", "caution"),
    [
        (lambda line: line.replace(" ", "@@ "), "worse.en is full of `@@`"),
        (lambda line: f"\u2581{line}", "worse.en is full of `\u2581`"),
        (str.upper, "worse.en is all in capitals"),
    ],
)
def test_text_that_was_not_finished_is_cautioned_against(run, here, change, caution):
    lines = (here / "hyp.en").read_text(encoding="utf-8").splitlines()
    changed = "".join(f"{change(line)}\n" for line in lines)
    (here / "worse.en").write_text(changed, encoding="utf-8")
    found, _ = report(run, here, "hypothesis=worse.en", "reference=ref.en")
    assert any(caution in one for one in found["cautions"])


def test_marks_behind_the_first_sentence_are_cautioned_against(run, here):
    for name in ("hyp.en", "ref.en"):
        first, *others = (here / name).read_text(encoding="utf-8").splitlines()
        (here / name).write_text("\n".join([first, "<d>", *others]) + "\n", encoding="utf-8")
    found, _ = report(run, here, "hypothesis=hyp.en", "reference=ref.en")
    assert any("its 1 lines `<d>` are scored as sentences" in one for one in found["cautions"])


def test_samples_need_a_baseline(run, here):
    done = run(main, "hypothesis=hyp.en", "reference=ref.en", "samples=10")
    assert done.code == 2
    assert "give one" in done.err


def test_a_test_needs_a_baseline(run, here):
    done = run(main, "hypothesis=hyp.en", "reference=ref.en", "test=randomisation")
    assert "`test` is of a difference to a `baseline`" in done.error()


def test_probes_of_another_text_are_refused(run, here):
    probe = {"direction": "de-en", "kind": "name", "document": 1, "line": 1, "sentences": 1}
    probe |= {"words": 3, "antecedent": "a", "source": "b", "pair": 1}
    probe |= {"right": ["nowhere"], "wrong": ["here"]}
    (here / "other.jsonl").write_text(json.dumps(probe) + "\n")
    done = run(main, "hypothesis=hyp.en", "reference=ref.en", "probes=other.jsonl")
    assert "other.jsonl is not of ref.en: the reference itself has only 0 of the 1" in done.error()


def test_probes_of_the_other_direction_are_said(run, here):
    (here / "none.jsonl").write_text("")
    arguments = ["hypothesis=hyp.en", "reference=ref.en", "probes=none.jsonl"]
    found, _ = report(run, here, *arguments)
    assert found["cautions"] == ["none.jsonl has no probe of translations into en"]


def test_lower_case_text_is_scored_exactly_from_tokens(run, here):
    """Moses finds no end of sentence before a lower-case word, so its tokens must be kept."""
    (here / "two.en").write_text("He left. We stayed.\n")
    (here / "two.tok.en").write_text("he left . we stayed .\n")
    (here / "two.low.en").write_text("he left. we stayed.\n")
    both = ("reference=two.en", "tokenised_reference=two.tok.en", "lowercase=true")
    found, said = report(run, here, "hypothesis=two.tok.en", *both)
    assert found["systems"][0]["tokenised_lowercased"]["bleu"] == pytest.approx(100)
    assert found["systems"][0]["detokenised"]["bleu"] == pytest.approx(100)
    assert found["cautions"] == []
    assert "the tokens of two.tok.en" in said
    found, _ = report(run, here, "hypothesis=two.low.en", *both)
    assert found["systems"][0]["tokenised_lowercased"]["bleu"] < 90
    assert "two.low.en is lower-case plain text" in found["cautions"][0]


def test_a_baseline_is_compared_by_every_score(run, here):
    found, said = report(
        run, here, "hypothesis=[hyp.en,ref.en]", "baseline=base.en", "reference=ref.en"
    )
    plain = {(c["system"], c["metric"]): c for c in found["detokenised_comparisons"]}
    assert set(plain) == {(s, m) for s in ("hyp.en", "ref.en") for m in ("BLEU", "chrF2")}
    assert plain["ref.en", "BLEU"]["p"] < 0.05
    assert len(found["tokenised_lowercased_comparisons"]) == 2
    assert "|bs:1000|seed:12345|" in said
    found, said = report(
        run, here, "hypothesis=hyp.en", "baseline=base.en", "reference=ref.en",
        "test=randomisation", "samples=200",
    )  # fmt: skip
    assert "|ar:200|seed:12345|" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hypothesis=hyp.en", "reference=no.en"], "cannot read no.en: No such file"),
        (["hypothesis=short.en", "reference=ref.en"], "short.en has 1 lines, but ref.en has 12"),
        (["hypothesis=empty.en", "reference=empty.en"], "there is nothing to score: no lines"),
        (["hypothesis=hyp.en", "reference=ref"], "`reference` ref does not end in a language"),
        (["hypothesis=bad.en", "reference=ref.en"], "bad.en, line 1, byte 1: not valid UTF-8"),
        (["hypothesis=[]", "reference=ref.en"], "`hypothesis` must be a file or a list of files"),
        (["hypothesis=hyp.en", "reference=ref.en", "test=t"], "`test` must be one of bootstrap"),
        (["hypothesis=hyp.en", "baseline=hyp.en", "reference=ref.en"], "is the only system"),
        (["hypothesis=marks.en", "reference=marks.en"], "marks of documents and no sentence"),
        (["hypothesis=hyp.en", "reference=ref.en", "timing=bad.json"], "has no windows"),
    ],
)
def test_wrong_settings_and_files(run, here, arguments, message):
    (here / "short.en").write_text("one\n")
    (here / "empty.en").write_text("")
    (here / "marks.en").write_text("<d>\n<d>\n")
    (here / "bad.json").write_text('{"windows": {}}')
    (here / "bad.en").write_bytes(b"\xff\n" * 12)
    (here / "scores.json").write_text("older")
    assert message in run(main, *arguments, "output=scores.json").error()
    assert (here / "scores.json").read_text() == "older"
