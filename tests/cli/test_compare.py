"""reluformer-compare: refusals, and a small comparison that is killed and continued."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from reversal import write_reversal_text

from reluformer.cli import launchers
from reluformer.cli.compare import main
from reluformer.cli.launchers import check_launcher
from reluformer.config.data import DataConfig
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import VocabularyOptions, find_texts, prepare_corpus
from reluformer.errors import UserError

Run = Callable[..., Any]
SMALL = (
    "model.encoder_layers=1 model.decoder_layers=1 model.d_model=16 model.ffn_dim=16 "
    "train.max_updates=120 train.max_tokens=64 train.valid_interval=60 train.save_interval=10 "
    "train.valid_sentences=5 train.statistics_interval=1000 optim.warmup_updates=20"
)
MINE = """\
# A mechanism of one's own.
defaults:
  - relu
gamma: 2.0
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to compare: give a suite, such as suite=quick, or run folders"),
        (["suite=quick", "runs=[a]"], "`runs` are trained already: give them or a suite"),
        (["suite=quick", "seeds=[1,1]"], "`seeds` must name each seed once"),
        (["suite=quick", "samples=1"], "`samples` must be 10 or more, but is 1"),
        (["suite=quick", "jobs=2", "hydra/launcher=basic"], "`jobs` is 2, which is for runs on"),
        (["suite=quick", "baseline=softmx"], "but is 'softmx'"),
        (["suite=quik"], "group `suite` has no option `quik`; did you mean quick?"),
        (["+systems.a=attention=rely"], "system a: group `attention` has no option `rely`"),
        (["+systems.a=train.max_update=1"], "`train.max_update`; did you mean train.max_updates"),
        (["systems.a=attention=relu"], "no setting `systems.a` yet: add it as +systems.a=..."),
        (["+systems={a/b: x}"], "labels fit for a folder's name, not 'a/b'"),
        (["+systems.a=", "translate=decode.beam=2"], "`decode.beam`; did you mean"),
        (["runs=[nowhere]"], "`runs`: nowhere is no run folder"),
        (["suite=quick", "hydra/launcher=nothing"], "hydra/launcher"),
        (["suite=quick", "job=3"], "`job` is a number of comparisons/quick's plan"),
    ],
)
def test_what_cannot_be_compared(run: Run, arguments: list[str], message: str) -> None:
    assert message in run(main, *arguments).error()
    assert list(Path.cwd().iterdir()) == []


def test_a_corpus_that_is_not_there(run: Run) -> None:
    message = run(main, "+systems.a=").error()
    assert message.startswith("data/embedded/text/test.de does not exist")


@pytest.mark.parametrize(("name", "extra"), [("joblib", "parallel"), ("submitit_slurm", "slurm")])
def test_a_launcher_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    monkeypatch.setattr(launchers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"pip install 'reluformer\[{extra}\]'"):
        check_launcher(name)


def test_a_mechanism_that_is_only_a_new_file(run: Run, tmp_path: Path) -> None:
    write_mechanism(tmp_path)
    options = ["--config-dir", str(tmp_path / "mine"), "suite=quick", "baseline=nothing"]
    assert ", halved, " in run(main, *options).error()


def write_mechanism(folder: Path) -> None:
    (folder / "mine/attention").mkdir(parents=True)
    (folder / "mine/attention/halved.yaml").write_text(MINE)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Two systems, one of them a new file, with two seeds each, on a small corpus."""
    write_mechanism(tmp_path)
    data = "data=custom data.name=reversal data.source_lang=aa data.target_lang=bb"
    data += " data.vocab_size=20"
    folder = tmp_path / "data/reversal"
    write_reversal_text(folder / "text", {"train": 300, "valid": 20, "test": 20})
    places = {"text": "data/reversal/text", "binary": "data/reversal/binary"}
    settings = DataConfig("reversal", "aa", "bb", **places, vocab_size=20)
    prepare_corpus(
        find_texts(folder / "text", "aa", "bb"),
        folder / "binary",
        asdict(settings),
        VocabularyOptions(20, True, 1.0, False, "identity", 250_000, 1),
        Limits(256, "drop", None),
        threads=1,
    )
    return [
        *(sys.executable, "-m", "reluformer.cli.compare", "--config-dir", "mine"),
        f"train={data} {SMALL}",
        *("+grid.attention=[softmax,halved]", "seeds=[1,2]", "baseline=softmax"),
        *("output=out", "threads=1", "samples=50"),
    ]


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 500
    while not path.exists():
        assert process.poll() is None or "jobs" in path.parts, "it ended too early"
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.02)


@pytest.mark.timeout(1500)
def test_a_comparison_that_was_killed_and_continued(command: list[str], tmp_path: Path) -> None:
    """Killed outright in its first training, which saves and ends; then done to the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out, first = tmp_path / "out", tmp_path / "out/runs/softmax-seed1"
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    ) as process:
        wait_for(first / "checkpoints/checkpoint_last.safetensors", process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(out / "jobs/halved-seed2.json", process)
    ended = {path.stem: json.loads(path.read_text()) for path in out.glob("jobs/*-seed?.json")}
    assert {outcome["status"] for outcome in ended.values()} == {"stopped"}
    assert not (first / ".holder").exists()
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1000
    )
    assert done.returncode == 0, done.stderr
    assert "SIGTERM: finishing this update" in (first / "log.txt").read_text()
    check_folder(out)


def check_folder(out: Path) -> None:
    """Everything that the command promises is there, and agrees with what the runs hold."""
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["softmax", "halved"]
    scores = [
        json.loads((out / f"runs/halved-seed{seed}/scores.json").read_text()) for seed in (1, 2)
    ]
    plain = [score["systems"][0]["detokenised"]["bleu"] for score in scores]
    assert float(rows["halved"]["BLEU (detokenised)"]) == pytest.approx(sum(plain) / 2)
    for name in ("training tokens/s", "translated sentences/s", "peak memory, MB", "updates"):
        assert float(rows["halved"][name]) > 0
    for name in ("entropy, encoder", "sparsity, cross", "dead rows, decoder"):
        assert rows["halved"][name]
    assert float(rows["halved"]["variance ratio, decoder"]) > 0
    assert 0 <= float(rows["halved"]["p of Δ"]) <= 1
    assert rows["softmax"]["p of Δ"] == ""
    config = (out / "runs/halved-seed2/config.yaml").read_text()
    assert config.count("gamma: 2.0") == 3
    environment = json.loads((out / "environment.json").read_text())
    assert len(environment["test_set"]) == 2
    assert "+grid.attention=[softmax,halved]" in (out / "reproduce.sh").read_text()
    assert "torch==" in (out / "requirements.txt").read_text()
    results = json.loads((out / "results.json").read_text())
    assert [run["label"] for run in results["runs"]] == ["softmax", "halved"] * 2
    assert len(results["differences"]) == 4
    for name in ("table.md", "table.tex", "table.html", "settings.yaml"):
        assert (out / name).stat().st_size > 0
