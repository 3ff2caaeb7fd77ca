"""Hostile files, names and surroundings, as whole commands meet them."""

import io
import pickle
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from checks import Trials
from commands import Run, run
from reversal import COMMAND_SETTINGS
from small_runs import write_run

from reluformer.cli import analyze, average, compare, preprocess, score, train, translate
from reluformer.comparison.jobs import Outcome as JobOutcome
from reluformer.comparison.report import Comparison, write_report
from reluformer.comparison.rows import Result
from reluformer.data.vocabulary import train_vocabulary

__all__ = ["run"]  # a fixture

TEXT = ["Der Hund läuft .", "Ein kleines Haus , ein großer Hund !", "Warum nicht ?"]


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def saved(payload: Payload, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save({"model": payload}, file, **options)
    return file.getvalue()


def as_array(payload: Payload) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([payload], dtype=object), allow_pickle=True)
    return file.getvalue()


PAYLOADS: list[Callable[[Payload], bytes]] = [
    saved,
    as_array,
    lambda payload: saved(payload, _use_new_zipfile_serialization=False),
    *(lambda payload, n=n: pickle.dumps(payload, n) for n in (0, 2, 5)),
]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("run"), TEXT * 50, d_model=8, ffn_dim=8)
    checkpoints = folder / "checkpoints"
    shutil.copy(
        checkpoints / "checkpoint_best.safetensors", checkpoints / "checkpoint_5.safetensors"
    )
    return folder


CORPUS = [
    *("vocabulary.model", "train.source.idx", "train.source.bin"),
    *("train.target.idx", "train.target.bin", "valid.source.bin"),
]
TEXTS = ("in.de", "text/train.aa")
BEST = "run/checkpoints/checkpoint_best.safetensors"
TRAIN = [*COMMAND_SETTINGS, "data.binary=binary"]
TRANSLATE = ["run=run", "input=in.de"]
# The file that is replaced in a run or corpus, and the command that reads it.
PLACES: list[tuple[str, Callable[[], None], list[str]]] = [
    (BEST, translate.main, TRANSLATE),
    ("run/vocabulary.source.model", translate.main, TRANSLATE),
    ("run/config.yaml", translate.main, TRANSLATE),
    ("binary/manifest.json", train.main, TRAIN),
    ("run/config.yaml", train.main, [*TRAIN, "run=run"]),
    ("run/vocabulary.target.model", translate.main, TRANSLATE),
    (BEST, analyze.main, ["run=run"]),
    ("run/checkpoints/checkpoint_5.safetensors", average.main, ["run=run", "last=1"]),
    ("run/config.yaml", compare.main, ["runs=[run]"]),
    *((f"binary/{name}", train.main, TRAIN) for name in CORPUS),
    ("in.de", translate.main, TRANSLATE),
    ("in.de", score.main, ["hypothesis=in.de", "reference=in.de"]),
    ("text/train.aa", preprocess.main, [*COMMAND_SETTINGS[:6], "data.binary=other"]),
]


@pytest.mark.check("C1")
def test_nothing_is_unpickled(
    run: Run, run_folder: Path, reversal_folder: Path, tmp_path: Path, trials: Trials
) -> None:
    """A pickle in the place of a file is refused as what it is not, or read as plain text."""
    payload = Payload(tmp_path / "canary")
    copy_inputs(run_folder, reversal_folder)
    cases = list(product(PAYLOADS, PLACES))
    for make, (name, main, arguments) in cases[: trials(4, len(cases))]:
        path = Path(name)
        whole = path.read_bytes()
        content = make(payload)
        path.write_bytes(content)
        outcome = run(main, *arguments)
        if name not in TEXTS or not content.isascii():  # the oldest pickles are text like any other
            assert path.name in outcome.error()
        path.write_bytes(whole)
        assert not payload.canary.exists()
    pickle.loads(pickle.dumps(payload))
    assert payload.canary.exists()


def copy_inputs(run_folder: Path, reversal_folder: Path) -> None:
    """Into the working folder."""
    shutil.copytree(run_folder, "run")
    shutil.copytree(reversal_folder, "binary")
    shutil.copytree(reversal_folder.parent / "text", "text")
    Path("in.de").write_text("\n".join(TEXT) + "\n", encoding="utf-8")


READERS: list[tuple[Callable[[], None], list[str]]] = [
    (translate.main, TRANSLATE),
    (train.main, [*TRAIN, "run=run"]),
    (analyze.main, ["run=run"]),
    (compare.main, ["runs=[run]"]),
]


@pytest.mark.check("C4")
def test_a_configuration_reads_no_environment(
    run: Run,
    run_folder: Path,
    reversal_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    trials: Trials,
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TEST", "canary")
    copy_inputs(run_folder, reversal_folder)
    path = Path("run/config.yaml")
    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    cases = list(product(("name", "data", "model"), READERS))
    for place, (main, arguments) in cases[: trials(2, len(cases))]:
        text = yaml.safe_dump({**stored, place: "${oc.env:SECRET_OF_THE_TEST}"})
        path.write_text(text, encoding="utf-8")
        outcome = run(main, *arguments)
        assert "`${` is not allowed in a stored configuration" in outcome.error()
        assert "canary" not in outcome.err + outcome.out


@pytest.mark.check("C5")
@pytest.mark.parametrize("size", [44])
def test_a_vocabulary_of_another_size(
    run: Run, run_folder: Path, tmp_path: Path, size: int
) -> None:
    shutil.copytree(run_folder, "run")
    other = train_vocabulary([Path("run/text")], size=size).vocabulary
    Path("run/vocabulary.target.model").write_bytes(other.model)
    (tmp_path / "in.de").write_text("Hund\n")
    message = run(translate.main, "run=run", f"input={tmp_path / 'in.de'}").error()
    assert "`target_embedding.tokens.weight` has shape [45, 8], the model of this " in message


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


LEADING_OUT = ["../../x", "..", "a/b", "/x", "a\nb", "\x1b[2J", "x" * 300, ""]


@pytest.mark.check("C6")
def test_a_name_that_leads_out_is_refused(
    run: Run, tmp_path: Path, reversal_folder: Path, trials: Trials
) -> None:
    cases = list(product(LEADING_OUT, ("name", "data.name", "data.target_lang")))
    for name, key in cases[: trials(2, len(cases))]:
        words = [*COMMAND_SETTINGS, f"data.binary={reversal_folder}", f"{key}='{name}'"]
        assert "must be one folder's name" in run(train.main, *words).error()
        assert files_below(tmp_path) == set()


ODD = [
    "<script>[bold] [red] [ $x^{",
    "<script>alert(1)<&>",
    "a b",
    "ü 中 🙂",
    "$x^{",
    "-x",
    "%s{}",
    "x" * 180,
]


@pytest.mark.check("C6")
def test_an_odd_name_is_just_a_name(
    run: Run, tmp_path: Path, reversal_folder: Path, trials: Trials
) -> None:
    """The run is where it should be, and nothing else is anywhere."""
    for name in ODD[: trials(1, len(ODD))]:
        words = [*COMMAND_SETTINGS, f"data.binary={reversal_folder}", "train.max_updates=2"]
        outcome = run(train.main, *words, f"name='{name}'")
        assert outcome.code == 0, outcome
        folder = Path(f"runs/reversal/{name}-seed1").resolve()
        assert f"{name}-seed1: " in outcome.err
        assert (folder / "summary.json").is_file()
        assert all(path.is_relative_to(folder) for path in files_below(tmp_path))
        boards = list((folder / "tensorboard").iterdir())
        assert not any(b"<script" in board.read_bytes() for board in boards)
        shutil.rmtree(folder)


OUTPUTS = {
    "[red][/bold].txt": 0,
    "run/config.yaml": 2,
    "a\nb.txt": 0,
    "a b.txt": 0,
    "../up.txt": 0,
    "ü 中.txt": 0,
    "x" * 300: 2,
    "run": 2,
}


@pytest.mark.check("C6")
def test_an_odd_output_is_the_only_file_written(
    run: Run, run_folder: Path, tmp_path: Path, trials: Trials
) -> None:
    shutil.copytree(run_folder, "run")
    Path("in.de").write_text("Hund\n")
    before = files_below(tmp_path)
    words = ["run=run", "input=in.de", "decode=greedy"]
    words += ["decode.max_len_a=0", "decode.max_len_b=3"]
    for output in list(OUTPUTS)[: trials(2, len(OUTPUTS))]:
        outcome = run(translate.main, *words, f"output='{output}'")
        assert outcome.code == OUTPUTS[output], outcome
        if outcome.code:
            outcome.error()
        written = files_below(tmp_path) - before
        assert written == ({Path(output).resolve()} if outcome.code == 0 else set())
        for path in written:
            path.unlink()


class Tags(HTMLParser):
    """The tags of a page, and the attributes that could hold code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.check("C6")
@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_a_report_holds_no_code(tmp_path: Path, text: str) -> None:
    """In whatever comes from runs: labels, versions and machines, signatures, errors."""
    numbers = {"bleu": 30.0, "chrf": 50.0, "bleu_bootstrap": 1.5}
    signatures = {"bleu_signature": text, "chrf_signature": text}
    results = [
        Result(f"{text}{seed}", seed, numbers, signatures, {}, {"commit": f"{seed}{text}"})
        for seed in (1, 2)
    ]
    failures = [JobOutcome(text, "failed", text)]
    write_report(Comparison(text, results, [], f"{text}1", text, failures, [text]), tmp_path)
    page = Tags((tmp_path / "table.html").read_text(encoding="utf-8"))
    known = {"html", "meta", "title", "style", "h1", "h2", "div", "table", "thead", "tbody"}
    assert page.tags == known | {"tr", "th", "td", "ul", "li"}
    assert page.attributes <= {"lang", "charset", "name", "content", "class"}
