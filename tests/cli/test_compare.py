"""reluformer-compare: refusals, and a small comparison that is killed and continued."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from reversal import write_reversal_text

from reluformer.cli import compare, launchers
from reluformer.cli.app import compose
from reluformer.cli.arguments import as_given, parse_arguments
from reluformer.cli.compare import main, shared_by, with_threads
from reluformer.cli.launchers import check_launcher
from reluformer.comparison.jobs import FAILED, Outcome
from reluformer.config.compare import CompareConfig
from reluformer.config.compare_runs import check_finished
from reluformer.config.data import DataConfig
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import VocabularyOptions, find_texts, prepare_corpus
from reluformer.data.processes import available_cores
from reluformer.errors import UserError
from reluformer.training.metrics import read_metrics

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
        (["suite=quick", "runs=[a]"], "`grid`, `train`, `seeds` would train: leave out"),
        (["systems=relu"], "`systems` must name its parts, and text in quotes: '++sys"),
        (['systems={a: "attention=relu"}'], "`systems`: write '++systems={a: \"attention=relu\"}'"),
        (["systems=[a,b]"], "`systems` must name its parts"),
        (["suite=quick", "seeds=[1,1]"], "`seeds` must name each seed once"),
        (["suite=quick", "samples=1"], "`samples` must be 10 or more, but is 1"),
        (["suite=quick", "jobs=2", "hydra/launcher=basic"], "`jobs` is 2, which is for runs on"),
        (["suite=quick", "jobs=2", "++hydra.launcher.account=us"], "(++hydra.launcher.account=us)"),
        (["suite=quick", "baseline=softmx"], "but is 'softmx'"),
        (["suite=quik"], "group `suite` has no option `quik`; did you mean quick?"),
        (["+systems.a=attention=rely"], "system a: group `attention` has no option `rely`"),
        (["+systems.a=train.max_update=1"], "`train.max_update`; did you mean train.max_updates"),
        (["systems.a=attention=relu"], "no setting `systems.a` yet: add it as +systems.a=..."),
        (["suite=ffn_memory", "grid.model.ffn_dim=[3]"], "'++grid={model.ffn_dim: [3]}'"),
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


@pytest.mark.parametrize(
    "words",
    [
        ["suite=quick", "changes='train.log_interval=100' train.patience=0"],
        ['+systems={good: "attention=softmax model.pre_norm=false", b: "train.patience=1"}'],
        ["+systems.a=''", "train=data.text='a b' it=x", "seeds=[1, 2]", "memory_gb=1.5"],
        ["runs=[a b:folder/one,folder/two]", "baseline=a b", "translate=x=it's \\' y"],
        ["name=two words", "+systems={a: x}", "~suite", "translate=", "name='quoted'"],
    ],
)
def test_what_was_typed_is_written_down(words: list[str]) -> None:
    """Typed into a shell again, it comes to the same configuration."""
    given = parse_arguments(words, CompareConfig).overrides
    line = shlex.join(as_given(one, CompareConfig) for one in given)
    assert parse_arguments(shlex.split(line), CompareConfig).overrides == given
    again = compose("compare", main, CompareConfig, shlex.split(line))
    assert again == compose("compare", main, CompareConfig, words)


def test_words_are_written_as_they_were_typed() -> None:
    words = ["changes='train.log_interval=100' train.patience=0", "train=a=1 b=2", "jobs=2"]
    assert [
        as_given(one, CompareConfig) for one in parse_arguments(words, CompareConfig).overrides
    ] == words


@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        ({"n_jobs": 4}, 4),
        ({"n_jobs": -1}, available_cores()),
        ({"n_jobs": None}, 1),
        ({"partition": "gpu"}, 1),
    ],
)
def test_how_many_jobs_of_a_launcher_share_the_cores(launcher: dict[str, Any], number: int) -> None:
    assert shared_by(launcher) == number


def test_cores_are_shared_by_the_runs_that_there_are() -> None:
    """Not by all that were allowed at the same time."""
    suite = compose("compare", main, CompareConfig, ["+grid.ffn=[relu,gelu]", "seeds=[1,2]"])
    runs = compose("compare", main, CompareConfig, ["runs=[a]"])
    assert with_threads(suite, 1).threads is None
    assert with_threads(suite, 3).threads == max(1, available_cores() // 3)
    assert with_threads(suite, 1000).threads == max(1, available_cores() // 4)
    assert with_threads(runs, 1000).threads == available_cores()
    assert with_threads(replace(suite, threads=5), 3).threads == 5


def write_mechanism(folder: Path) -> None:
    (folder / "mine/attention").mkdir(parents=True)
    (folder / "mine/attention/halved.yaml").write_text(MINE)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Two systems, one of them a new file, on a small corpus."""
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
        workers=1,
    )
    return [
        *(sys.executable, "-m", "reluformer.cli.compare", "--config-dir", "mine"),
        f"train={data} {SMALL}",
        *("+grid.attention=[softmax,halved]", "seeds=[2]", "baseline=softmax"),
        *("output=out", "threads=1", "samples=50"),
        "changes='train.patience=0' train.log_interval=40",
    ]


def test_a_system_that_cannot_be_built_is_refused_before_the_first_is_trained(
    run: Run, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its label, though it is the last; nothing has been written then."""
    monkeypatch.chdir(tmp_path)
    words = [one for one in command[3:] if not one.startswith("+grid")]
    wrong = '+systems={softmax: "", b: "attention=pointwise attention.alpha=3"}'
    message = run(main, *words, wrong).error()
    assert message.startswith("system b: ")
    assert "`alpha` must lie in [0, 1], but is 3" in message
    assert not (tmp_path / "out").exists()


def test_initial_weights_of_each_seed_are_looked_for_beforehand(
    run: Run, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [one for one in command[3:] if not one.startswith(("changes", "seeds"))]
    changes = r"changes='initial_weights=before/\${name}-seed\${seed}'"
    message = run(main, *words, changes, "seeds=[7,8]").error()
    assert message.startswith("system softmax: `initial_weights`: 'before/softmax-seed7' is")


def test_where_all_fail_the_tables_of_before_stay(
    run: Run, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        compare, "carry_out", lambda jobs, *_: [Outcome(job.title, FAILED, "no") for job in jobs]
    )
    found = Path("out/results.json")
    assert "2 of 2 runs failed: softmax-seed2: no" in run(main, *command[3:]).err
    found.write_text("before")
    assert "the tables of before stay" in run(main, *command[3:]).err
    assert found.read_text() == "before"


def test_metrics_of_a_wrong_type_are_named_before_any_work(tmp_path: Path) -> None:
    lines = ['{"kind": "train", "update": 1, "loss": null}', '{"kind": "valid", "update": "x"}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2, is damaged"):
        read_metrics(tmp_path, "train")
    (tmp_path / "summary.json").write_text('{"updates": "x", "ended": "max_updates"}')
    with pytest.raises(UserError, match=r"summary\.json: `updates` must be a number"):
        check_finished(str(tmp_path), {"train": {"max_updates": 3}})


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
    out, first = tmp_path / "out", tmp_path / "out/runs/softmax-seed2"
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
    scores = json.loads((out / "runs/halved-seed2/scores.json").read_text())
    plain = scores["systems"][0]["detokenised"]["bleu"]
    assert float(rows["halved"]["BLEU (detokenised)"]) == pytest.approx(plain)
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
    assert environment["runs"]["halved-seed2"]["threads"] == 1
    check_script(out)
    assert "torch==" in (out / "requirements.txt").read_text()
    results = json.loads((out / "results.json").read_text())
    assert {run["environment"]["device"] for run in results["runs"]} <= {"cpu", "cuda"}
    assert [run["label"] for run in results["runs"]] == ["softmax", "halved"]
    assert len(results["differences"]) == 2
    for name in ("table.md", "table.tex", "table.html", "settings.yaml"):
        assert (out / name).stat().st_size > 0


def check_script(out: Path) -> None:
    """Its command comes to the settings that the comparison had."""
    script = (out / "reproduce.sh").read_text().split("\n")
    (line,) = (one for one in script if one.startswith("reluformer-compare"))
    words = shlex.split(line)
    assert "+grid.attention=[softmax,halved]" in words
    assert "changes='train.patience=0' train.log_interval=40" in words
    again = compose("compare", main, CompareConfig, words[1:-2])
    assert words[-2] == "--config-dir"
    assert asdict(again) == yaml.safe_load((out / "settings.yaml").read_text())
