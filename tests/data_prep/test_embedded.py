"""data_prep/embedded.py as a user runs it, and the probes of its documents."""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import embedded
import pytest
from grammar.documents import documents
from grammar.lexicon import load_lexicon
from grammar.splits import split_of

from reluformer.cli import score
from reluformer.evaluation.probes import (
    BUCKETS,
    ProbeCount,
    bucket,
    count_probes,
    read_probes,
    sum_probes,
)

SENTENCES, DOCUMENTS = Path("data/embedded/text"), Path("data/embedded_documents/text")
SMALL = ("sentences=300", "valid_sentences=40", "test_sentences=50")
FEW = ("documents=20", "valid_documents=10", "test_documents=70")
DIRECTIONS = {"de-en": ("de", "en"), "en-de": ("en", "de")}


def read(path):
    return path.read_bytes().decode().split("\n")[:-1]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Both corpora, small, from a process of their own."""
    folder = tmp_path_factory.mktemp("embedded")
    make(folder, "0", *SMALL, *FEW)
    return folder


def make(folder, hash_seed, *options):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, embedded.__file__, *options]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def documents_of(folder, split):
    """Each document's lines, (German, English), without its mark."""
    pairs = zip(
        *(read(folder / DOCUMENTS / f"{split}.{lang}") for lang in ("de", "en")), strict=True
    )
    found = []
    for pair in pairs:
        if pair == ("<d>", "<d>"):
            found.append([])
        else:
            assert "<d>" not in pair
            found[-1].append(pair)
    return found


def probes_of(folder, split="test"):
    return read_probes(folder / DOCUMENTS / f"{split}.probes.jsonl")


def test_sizes_and_shape(corpus):
    for split, size in (("train", 300), ("valid", 40), ("test", 50)):
        sides = [read(corpus / SENTENCES / f"{split}.{lang}") for lang in ("de", "en")]
        assert [len(side) for side in sides] == [size, size]
        assert all(line == line.strip() and "  " not in line for side in sides for line in side)
        assert all(3 <= len(line.split()) <= 25 for line in sides[1])
    for split, size in (("train", 20), ("valid", 10), ("test", 70)):
        lengths = [len(document) for document in documents_of(corpus, split)]
        assert len(lengths) == size
        assert min(lengths) >= 4
        assert max(lengths) <= 40
    report = json.loads((corpus / DOCUMENTS / "prepare.json").read_text())
    assert report["counts"]["test"]["documents"] == 70
    assert report["counts"]["test"]["probes"] == len(probes_of(corpus))
    assert report["files"]["test.de"]["lines"] == len(read(corpus / DOCUMENTS / "test.de"))


@pytest.mark.check("determinism")
@pytest.mark.slow
def test_the_text_is_the_same_whatever_pythons_hash_seed(corpus, tmp_path, contents):
    make(tmp_path, "12345", *SMALL, *FEW)
    assert contents(tmp_path) == contents(corpus)


def test_other_seeds_give_other_text(corpus, tmp_path):
    make(tmp_path, "0", *SMALL, "documents=0", "seed=2")
    assert not (tmp_path / DOCUMENTS).exists()
    shared = set(read(corpus / SENTENCES / "test.de")) & set(read(tmp_path / SENTENCES / "test.de"))
    assert len(shared) < 10


@pytest.mark.parametrize("lang", ["de", "en"])
def test_no_held_out_sentence_occurs_in_either_training_set(corpus, lang):
    lines = {
        split: {
            line
            for folder in (SENTENCES, DOCUMENTS)
            for line in read(corpus / folder / f"{split}.{lang}")
        }
        - {"<d>"}
        for split in ("train", "valid", "test")
    }
    assert not lines["train"] & (lines["valid"] | lines["test"])
    assert not lines["valid"] & lines["test"]


def test_training_sentences_of_another_seed_hold_none_of_the_test_set_either(corpus, tmp_path):
    make(tmp_path, "0", "sentences=1000", "documents=0", "seed=7")
    train = set(read(tmp_path / SENTENCES / "train.en"))
    assert not train & set(read(corpus / SENTENCES / "test.en"))


def test_the_split_is_blind_to_what_a_pronoun_stands_for():
    assert (
        split_of("She lost her key.")
        == split_of("He lost his key.")
        == split_of("It lost its key.")
    )
    sizes = Counter(split_of(f"Sentence number {number}.") for number in range(4000))
    assert sizes["train"] == pytest.approx(3000, rel=0.05)
    assert sizes["test"] == pytest.approx(500, rel=0.15)


# Probes


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_reference_gets_every_probe_right(corpus, direction):
    target = DIRECTIONS[direction][1]
    asked = [probe for probe in probes_of(corpus) if probe.direction == direction]
    counts = count_probes(read(corpus / DOCUMENTS / f"test.{target}"), asked)
    assert sum_probes(counts, "all", "all") == ProbeCount("all", "all", len(asked), 0, 0)
    assert len(asked) > 30
    kinds = {"pronoun", "term", "acronym", "name" if direction == "de-en" else "job"}
    assert {count.kind for count in counts} == kinds


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("split", ["valid", "test"])
def test_no_system_without_context_gets_more_than_half_right(corpus, direction, split):
    source = read(corpus / DOCUMENTS / f"{split}.{DIRECTIONS[direction][0]}")
    answers = defaultdict(Counter)
    for probe in probes_of(corpus, split):
        if probe.direction == direction:
            answers[source[probe.line - 1]][probe.right] += 1
    total = sum(sum(found.values()) for found in answers.values())
    # The best that a function of the sentence can do, had it seen all the right answers.
    best = sum(max(found.values()) for found in answers.values())
    assert best <= total / 2


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_system_that_always_takes_the_same_sense_is_right_half_of_the_time(corpus, direction):
    source, target = DIRECTIONS[direction]
    lines = dict(zip(
        read(corpus / DOCUMENTS / f"test.{source}"),
        read(corpus / DOCUMENTS / f"test.{target}"),
        strict=True,
    ))  # fmt: skip
    blind = [lines[line] for line in read(corpus / DOCUMENTS / f"test.{source}")]
    asked = [probe for probe in probes_of(corpus) if probe.direction == direction]
    total = sum_probes(count_probes(blind, asked), "all", "all")
    assert total.right <= len(asked) / 2
    assert total.right + total.wrong > 0.9 * len(asked)


def test_probes_come_in_pairs_with_opposite_answers(corpus):
    found = probes_of(corpus)
    pairs = defaultdict(list)
    for probe in found:
        pairs[probe.pair].append(probe)
    assert all(len(pair) == 2 for pair in pairs.values())
    for first, second in pairs.values():
        assert (first.right, first.wrong) == (second.wrong, second.right)
        assert first.document + 1 == second.document


def test_distances_are_those_of_the_text(corpus):
    for probe in probes_of(corpus):
        lines = read(corpus / DOCUMENTS / f"test.{probe.direction[:2]}")
        opens = probe.line - 1 - probe.sentences
        assert "<d>" not in lines[opens : probe.line]
        words = " ".join(lines[opens : probe.line]).split()
        plain = [word.strip(".,?!()") for word in words]
        start = plain.index(probe.antecedent)
        assert plain[start + probe.words].lower() == probe.source.lower()
    spread = Counter(bucket(probe.words) for probe in probes_of(corpus))
    assert all(spread[name] >= 4 for name in BUCKETS[:6]), spread  # to 255 words


def test_short_documents_ask_more_often():
    short = list(documents(load_lexicon(), "train", 40, 3, twins=False, longest=8))
    assert {len(one.sentences) for one in short} == set(range(4, 9))
    assert sum(len(one.probes) for one in short) / sum(len(one.sentences) for one in short) > 0.15


def test_training_documents_leave_the_answers_balanced():
    drawn = documents(load_lexicon(), "train", 250, 3, twins=False, longest=40)
    senses = defaultdict(Counter)
    for document in drawn:
        for probe in document.probes:
            if probe.kind == "pronoun" and probe.direction == "de-en":
                senses[probe.source in ("sie", "ihr")][probe.right[0] == "it"] += 1
            elif probe.kind in ("name", "job"):
                senses[probe.kind][probe.antecedent in ("Frau", "Ms")] += 1
    for found in senses.values():
        assert sum(found.values()) > 20
        assert 0.3 < found[True] / sum(found.values()) < 0.7


# The commands


def test_running_again_does_nothing_and_never_overwrites(run, contents):
    options = (*SMALL, "documents=0")
    assert run(embedded.main, *options)[0] == 0
    before = contents(SENTENCES)
    code, told = run(embedded.main, *options)
    assert (code, "already prepared" in told) == (0, True)
    code, told = run(embedded.main, *options, "seed=5")
    assert code == 2
    assert "seed was 1, now 5" in told
    assert "overwrite=true" in told
    assert contents(SENTENCES) == before
    assert run(embedded.main, *options, "seed=5", "overwrite=true")[0] == 0
    assert contents(SENTENCES) != before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("sentences=0", "`sentences` must be at least 1, but is 0"),
        ("documents=-1", "`documents` must be at least 0, but is -1"),
        ("test_documents=3", "`test_documents` must be even and at least 2"),
        ("seed=-1", "`seed` must be at least 0, but is -1"),
        ("longest_document=3", "`longest_document` must be at least 4"),
    ],
)
def test_impossible_sizes_are_refused(run, option, message):
    code, told = run(embedded.main, option)
    assert code == 2
    assert message in told
    assert not Path("data").exists()


def test_the_reference_has_full_scores(corpus, run, tmp_path):
    """Of sentences, of documents and of what needs context; a document at a time, too."""
    text, output = corpus / DOCUMENTS, tmp_path / "scores.json"
    probes = f"probes={text / 'test.probes.jsonl'}"
    same = (f"hypothesis={text / 'test.en'}", f"reference={text / 'test.en'}")
    code, told = run(score.main, *same, probes, f"output={output}")
    assert code == 0, told
    (system,) = json.loads(output.read_text())["systems"]
    assert system["documents"]["bleu"] == pytest.approx(100)
    assert sum(bucket["documents"] for bucket in system["documents"]["buckets"]) == 70
    asked = [probe for probe in probes_of(corpus) if probe.direction == "de-en"]
    assert sum(count["right"] for count in system["probes"]) == len(asked)
    assert not any(count["wrong"] for count in system["probes"])


def test_a_translation_without_marks_is_refused(corpus, run, tmp_path):
    text = corpus / DOCUMENTS
    lines = ["x" if line == "<d>" else line for line in read(text / "test.en")]
    (tmp_path / "out.en").write_text("\n".join(lines) + "\n")
    code, told = run(score.main, f"hypothesis={tmp_path / 'out.en'}", f"reference={text}/test.en")
    assert code == 2
    assert "must both begin a document (`<d>`) or neither" in " ".join(told.split())
