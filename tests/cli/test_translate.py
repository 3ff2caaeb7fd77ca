"""reluformer-translate as its users call it, on a run folder with a small random model."""

import json
import os
import re
import shutil
import sys

import pytest
import yaml
from commands import give
from small_runs import write_run

from reluformer.cli.translate import main
from reluformer.config.run import load_run
from reluformer.config.shortlist import find_shortlist
from reluformer.data.assembly import VocabularyOptions
from reluformer.data.corpus import SIDES
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import prepare_corpus
from reluformer.data.vocabulary import Vocabulary, train_vocabulary
from reluformer.training.checkpoint import read_tensors, write_tensors

LINES = ["Der Hund läuft.", "", "Ein kleines Haus, ein großer Hund!", "Warum nicht?"]
SHORT = ("decode.max_len_a=0", "decode.max_len_b=6", "threads=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run whose training text was in Moses tokens and lower case."""
    lines = [line.lower().replace(".", " .") for line in LINES * 50]
    return write_run(tmp_path_factory.mktemp("run"), lines, moses=True)


@pytest.fixture
def here(run, tmp_path):
    """The working folder, with a text in it."""
    (tmp_path / "here" / "in.de").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return tmp_path / "here"


@pytest.fixture
def document_folder(folder, tmp_path):
    """The same model, as if it had been trained on windows of documents."""
    copy = tmp_path / "documents"
    shutil.copytree(folder, copy)
    config = yaml.safe_load((copy / "config.yaml").read_text(encoding="utf-8"))
    config["data"]["documents"] = True
    config["windows"] = {"length": 16, "join": False}
    (copy / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    lines = [line.lower().replace(".", " .") for line in LINES]
    vocabulary = train_vocabulary([write(tmp_path / "t", lines * 50)], size=45, documents=True)
    for side in ("source", "target"):
        (copy / f"vocabulary.{side}.model").write_bytes(vocabulary.vocabulary.model)
    return copy


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_documents(run, document_folder, here):
    """Marks stay where they are, and each line has its own; windows are counted in `timing`."""
    write(here / "docs.de", ["<d 1>", *LINES, "<d 1>", *LINES[:1]])
    done = run(main, f"run={document_folder}", "input=docs.de", "output=o", "timing=t.json", *SHORT)
    assert done.code == 0, done.err
    lines = (here / "o").read_text(encoding="utf-8").split("\n")
    assert [lines[0], lines[2], lines[5]] == ["<d 1>", "", "<d 1>"]
    assert len(lines) == 8
    counts = json.loads((here / "t.json").read_text())["windows"]
    assert counts["windows"] >= counts["repaired"] >= 0


def test_windows_that_the_run_was_not_trained_for(run, folder, document_folder, here):
    message = run(main, f"run={folder}", "input=in.de", "documents.length=9").error()
    assert "was trained on single sentences: `documents.length`" in message
    message = run(main, f"run={document_folder}", "input=in.de", "documents.length=40").error()
    assert "was trained on windows of 16: give that at most, or say `long_input=extr" in message
    settings = ["documents.length=40", "long_input=extrapolate", "output=out.en", *SHORT]
    assert run(main, f"run={document_folder}", "input=in.de", *settings).code == 0
    message = run(main, f"run={document_folder}", "decode.n_best=2", "format=jsonl").error()
    assert "`decode.n_best` must be 1 where documents are translated in windows" in message


def test_a_file_and_standard_input_give_the_same(run, folder, here, monkeypatch):
    done = run(main, f"run={folder}", "input=in.de", "output=out.en", *SHORT)
    assert done.code == 0
    written = (here / "out.en").read_text(encoding="utf-8")
    assert [bool(line) for line in written.split("\n")] == [True, False, True, True, False]
    give(monkeypatch, "\n".join(LINES) + "\n")
    done = run(main, f"run={folder}", *SHORT)
    assert (done.code, done.out) == (0, written)


def test_n_best_as_json_lines(run, folder, here):
    settings = ("format=jsonl", "decode.n_best=3", "output=out.jsonl")
    assert run(main, f"run={folder}", "input=in.de", *settings, *SHORT).code == 0
    lines = (here / "out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    records = [json.loads(line) for line in lines]
    assert [len(record["hypotheses"]) for record in records] == [3, 0, 3, 3]
    for record in records:
        scores = [hypothesis["score"] for hypothesis in record["hypotheses"]]
        assert scores == sorted(scores, reverse=True)


def test_sampling_is_fixed_by_the_seed(run, folder, here):
    def sample(seed):
        settings = ("decode=sampling", f"decode.seed={seed}", *SHORT)
        return run(main, f"run={folder}", "input=in.de", *settings).out

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_a_terminal_gets_a_prompt_and_the_n_best(run, folder, here, monkeypatch):
    give(monkeypatch, "Der Hund läuft.\n\nWarum nicht?\n", terminal=True)
    done = run(main, f"run={folder}", "decode.n_best=2", *SHORT)
    assert done.code == 0
    answers = [line for line in done.out.split("\n") if "  " in line]
    assert len(answers) == 4
    best, second = (float(answer.removeprefix("de> ").split()[0]) for answer in answers[:2])
    assert best >= second


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["input=nowhere.de"], "cannot read nowhere.de: No such file or directory"),
        (["input=in.de", "output=in.de"], "`output` and an input are the same file, in.de"),
        (["input=in.de", "output=."], "`output` . is no regular file"),
        (["input=in.de", "decode.n_best=2"], "`decode.n_best` is 2, but `format` text holds one"),
        (["compile=true", "precision=int8"], "`compile` is for fp32 and bf16"),
        (["input=in.de", "decode.n_best=9"], "`n_best` must not exceed `beam_size` (5)"),
        (["input=in.de", "format=xml"], "`format` must be one of text, jsonl, fairseq"),
        (["reference=in.de"], "`reference` goes with `input` and `format` jsonl or fairseq only"),
        pytest.param(
            ["input=bad.de"],
            "bad.de, line 2, byte 1: not valid UTF-8 (0xff)",
            marks=pytest.mark.check("B2"),
        ),
        pytest.param(
            ["input=in.de", "reference=bad.de", "format=jsonl"],
            "bad.de, line 2, byte 1: not valid UTF-8 (0xff)",
            marks=pytest.mark.check("B2"),
        ),
        pytest.param(
            ["input=in.de", "reference=short.en", "format=jsonl", "output=out"],
            "in.de has 4 lines, but short.en has 3; judging by the lines' lengths they part near",
            marks=pytest.mark.check("B1"),
        ),
        pytest.param(["input=pipe"], "pipe is no file but a pipe", marks=pytest.mark.check("B3")),
        (["input=in.de", "reference=pipe", "format=jsonl"], "pipe is no file but a pipe"),
        (["input=in.de", "output=out.gz"], "`output` out.gz would not be compressed"),
        (["input=in.de", "decode.seed=3"], "are for sampling only"),
        (["input=in.de", "decode.length_penalty=250"], "`length_penalty` must be at most 10"),
        (["input=in.de", "decode.max_len_a=1e300"], "`max_len_a` must be at most 1,000"),
        (["input=in.de", "threads=1000000"], "`threads` must be at most 1,024"),
        (
            ["input=in.de", "decode.max_len_a=0", "decode.max_len_b=3", "decode.min_length=4"],
            "leaves no room for `decode.min_length`, 4",
        ),
        (["input=in.de", "checkpoint=7"], "checkpoint_7.safetensors: no such checkpoint"),
    ],
)
def test_wrong_settings_and_files(run, folder, here, settings, message):
    (here / "bad.de").write_bytes(b"gut\n\xff\n")
    os.mkfifo(here / "pipe")
    write(here / "short.en", LINES[1:])
    before = sorted(path.name for path in here.iterdir())
    assert message in run(main, f"run={folder}", *settings).error()
    assert sorted(path.name for path in here.iterdir()) == before


@pytest.mark.check("B2")
def test_wrong_bytes_at_a_terminal(run, folder, here, monkeypatch):
    for errors in ("strict", "surrogateescape"):
        give(monkeypatch, b"gut\nb\xfcse\n", terminal=True)
        sys.stdin.reconfigure(errors=errors)
        done = run(main, f"run={folder}", *SHORT)
        assert done.code == 2
        assert re.search(r"error: line \d is not valid UTF-8", done.err)


@pytest.mark.check("B2")
def test_wrong_bytes_on_standard_input(run, folder, here, monkeypatch):
    give(monkeypatch, b"gut\nb\xfcse\n")
    assert "<stdin>, line 2, byte 2: not valid UTF-8 (0xfc)" in run(main, f"run={folder}").error()


@pytest.mark.check("A7")
def test_another_runs_vocabulary_is_found(run, folder, here):
    shutil.copytree(folder, here / "mixed")
    models = {side: here / f"mixed/vocabulary.{side}.model" for side in ("source", "target")}
    digests = {side: Vocabulary.load(path).digest for side, path in models.items()}
    environment = here / "mixed" / "environment.json"
    environment.write_text(json.dumps({"vocabularies": digests}))
    assert run(main, "run=mixed", "input=in.de", *SHORT).code == 0
    environment.write_text(json.dumps({"vocabularies": {**digests, "target": "0" * 64}}))
    said = run(main, "run=mixed", "input=in.de").error()
    assert "vocabulary.target.model is not the vocabulary that the run was trained with" in said


@pytest.mark.check("C6")
def test_the_files_of_a_run_are_not_written_over(run, folder, here):
    shutil.copytree(folder, here / "copy")
    for name in ("config.yaml", "checkpoints/checkpoint_best.safetensors"):
        for setting in ("output", "timing"):
            done = run(main, f"run={folder}", "input=in.de", f"{setting}=copy/{name}")
            assert "is a file of the run itself" in done.error()


@pytest.mark.parametrize(("stream", "name"), [("stdin", "input"), ("stdout", "output")])
def test_closed_streams_are_said(run, folder, here, monkeypatch, stream, name):
    monkeypatch.setattr(f"sys.{stream}", None)
    given = [] if name == "input" else ["input=in.de"]
    monkeypatch.setattr(sys, "argv", ["reluformer-translate", f"run={folder}", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_no_run(run, here):
    assert "here: no run folder" in run(main, f"run={here}", "input=in.de").error()


@pytest.fixture
def with_corpus(folder, here, tmp_path):
    """A copy of the run, and beside the text the corpus that it was trained on."""
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    texts = {split: dict.fromkeys(SIDES, folder / "text") for split in ("train", "valid")}
    vocabulary = Vocabulary.load(copy / "vocabulary.source.model")
    taken = dict.fromkeys(SIDES, vocabulary)
    prepare_corpus(texts, here / "binary", {}, VocabularyOptions(45), Limits(99), 1, taken=taken)
    return copy


def test_a_short_vocabulary(run, with_corpus, here):
    """Learnt from the corpus once, and then without it."""
    settings = [f"run={with_corpus}", "input=in.de", *SHORT]
    assert run(main, *settings, "output=first", "shortlist=100").code == 0
    assert (with_corpus / "shortlist.safetensors").is_file()
    shutil.rmtree(here / "binary")
    assert run(main, *settings, "output=again", "shortlist=100").code == 0
    assert (here / "first").read_bytes() == (here / "again").read_bytes()
    assert run(main, *settings, "output=few", "shortlist=1", "precision=int8").code == 0
    assert run(main, *settings, "output=all").code == 0
    # The weights are random, and like best what the corpus does not have.
    assert (here / "first").read_bytes() != (here / "all").read_bytes()
    message = run(main, *settings, f"output={with_corpus}/shortlist.safetensors").error()
    assert "is a file of the run itself" in message


def test_a_short_vocabulary_has_what_stands_between_sentences(document_folder, here):
    """Windows need it, though no sentence of the corpus holds it, so it is none of the frequent."""
    run = load_run(document_folder, device="cpu")
    texts = {split: dict.fromkeys(SIDES, document_folder / "text") for split in ("train", "valid")}
    taken = {"source": run.source_vocabulary, "target": run.target_vocabulary}
    prepare_corpus(texts, here / "binary", {}, VocabularyOptions(45), Limits(99), 1, taken=taken)
    found = find_shortlist(run, 3)
    assert found.best.shape == (len(run.source_vocabulary), 4)
    separator = run.target_vocabulary.separator
    assert separator is not None
    assert found.common[-1] == separator


def test_a_short_vocabulary_that_cannot_be_had(run, folder, with_corpus, here, tmp_path):
    settings = ["input=in.de", "output=o", "shortlist=5", *SHORT]
    path = with_corpus / "shortlist.safetensors"
    assert run(main, f"run={with_corpus}", *settings).code == 0
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + b"abc")
    message = run(main, f"run={with_corpus}", *settings).error()
    assert f"{path}: damaged" in message
    assert "delete it, and it is learnt again" in message
    path.write_bytes(whole)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    text = write(tmp_path / "t", ["anders geht es auch"] * 50)
    for side in SIDES:
        model = train_vocabulary([text], size=45).vocabulary.model
        (other / f"vocabulary.{side}.model").write_bytes(model)
    message = run(main, f"run={other}", *settings).error()
    assert "is not there, and to learn it: binary has other vocabularies than the run" in message
    (other / "shortlist.safetensors").write_bytes(whole)
    assert "is not of this run: delete it" in run(main, f"run={other}", *settings).error()
    tensors, metadata = read_tensors(path)
    for wrong in (tensors["best"][1:], tensors["best"] + 45, tensors["best"].float()):
        write_tensors(path, {**tensors, "best": wrong}, {"vocabularies": metadata["vocabularies"]})
        assert "is not of this run" in run(main, f"run={with_corpus}", *settings).error()
    shutil.rmtree(here / "binary")
    path.unlink()
    message = run(main, f"run={with_corpus}", *settings).error()
    assert f"{path} is not there, and to learn it: no finished corpus in binary" in message
    (with_corpus / ".shortlist.lock").unlink()
    (with_corpus / ".shortlist.lock").mkdir()
    message = run(main, f"run={with_corpus}", *settings).error()
    assert f"{path} is not there, and cannot be made" in message
    message = run(main, f"run={with_corpus}", "input=in.de", "shortlist=101").error()
    assert "`shortlist` must be at most 100, but is 101" in message
