"""Which run folders can be compared, and what their rows are called."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from reluformer.cli import compare
from reluformer.cli.app import compose
from reluformer.config.compare import CompareConfig
from reluformer.config.compare_runs import run_jobs
from reluformer.config.training import TrainConfig
from reluformer.errors import UserError


def settings(*overrides: str) -> CompareConfig:
    """The checked settings of reluformer-compare with these overrides."""
    return compose("compare", compare.main, CompareConfig, list(overrides))


def write_run(
    folder: Path, training: TrainConfig, name: str, seed: int, **changes: dict[str, Any]
) -> str:
    """A finished run as far as a comparison looks at it; `changes` are by part of the settings."""
    folder.mkdir(parents=True)
    config = {**asdict(training), "name": name, "seed": seed}
    config |= {part: {**config[part], **values} for part, values in changes.items()}
    summary = {"ended": "max_updates", "updates": training.train.max_updates}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "environment.json").write_text('{"corpus": "of 600 pairs"}')
    return str(folder)


def test_runs_are_called_what_their_settings_say(training: TrainConfig, tmp_path: Path) -> None:
    folders = [write_run(tmp_path / f"x{seed}", training, "relu", seed) for seed in (1, 2)]
    config = settings(f"runs=[{','.join(folders)}]", "output=o", "baseline=relu")
    jobs, test = run_jobs(config)
    assert [(job.title, job.run) for job in jobs] == [
        ("relu-seed1", folders[0]),
        ("relu-seed2", folders[1]),
    ]
    assert [step.command for step in jobs[0].steps] == ["translate", "score"]
    assert jobs[0].folder == "o/runs/relu-seed1"
    assert test.kind == "detokenised"


def test_labels_part_runs_of_one_name(training: TrainConfig, tmp_path: Path) -> None:
    """The remedy that is offered does what was wanted; a colon deeper in a path names nothing."""
    one = write_run(tmp_path / "one", training, "relu", 1)
    other = write_run(tmp_path / "and:other", training, "relu", 1)
    with pytest.raises(UserError, match="are both relu with seed 1: give them labels, ") as raised:
        run_jobs(settings(f"runs=[{one},{other}]"))
    remedy = str(raised.value).rpartition(" ")[2]
    assert remedy == f"runs=[relu_a:{one},relu_b:{other}]"
    jobs, _ = run_jobs(settings(remedy, "baseline=relu_b"))
    assert [(job.title, job.run) for job in jobs] == [
        ("relu_a-seed1", one),
        ("relu_b-seed1", other),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim": {"learning_rate": 0.5}}, r"differ in optim.learning_rate \(0.0005 and 0.5\): "),
        ({"train": {"max_updates": 7}}, r"differ in train.max_updates \(20000 and 7\): give them "),
        ({"model": {"encoder_ffn": {"bias": False}}}, r"differ in model.encoder_ffn._target_ "),
        ({"train": {"log_interval": 7}, "data": {"binary": "/elsewhere"}}, ""),
    ],
)
def test_a_row_is_one_system(
    training: TrainConfig, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    one = write_run(tmp_path / "one", training, "relu", 1)
    other = write_run(tmp_path / "other", training, "relu", 2, **changes)
    if message:
        with pytest.raises(UserError, match=message):
            run_jobs(settings(f"runs=[{one},{other}]"))
    else:
        run_jobs(settings(f"runs=[{one},{other}]"))
    run_jobs(settings(f"runs=[{one},other:{other}]"))


def test_a_row_is_trained_on_one_corpus(training: TrainConfig, tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", training, "relu", 1)
    other = write_run(tmp_path / "other", training, "relu", 2)
    (tmp_path / "other/environment.json").write_text('{"corpus": "of 6 pairs"}')
    with pytest.raises(UserError, match=r"differ in corpus \(of 600 pairs and of 6 pairs\)"):
        run_jobs(settings(f"runs=[{one},{other}]"))


@pytest.mark.parametrize(
    "summary",
    [
        None,
        {"ended": "stopped", "updates": 20000},
        {"updates": 20000},
        {"ended": "max_updates", "updates": 10},
    ],
)
def test_unfinished_runs(
    training: TrainConfig, tmp_path: Path, summary: dict[str, Any] | None
) -> None:
    """Never ended, stopped, or killed while 10 updates were being extended to 20,000."""
    folder = write_run(tmp_path / "run", training, "relu", 3)
    (tmp_path / "run/summary.json").unlink()
    if summary is not None:
        (tmp_path / "run/summary.json").write_text(json.dumps(summary))
    message = rf"{folder} is not finished: .* \(reluformer-train ... seed=3 run={folder}\)"
    with pytest.raises(UserError, match=message):
        run_jobs(settings(f"runs=[{folder}]"))
    (tmp_path / "run/summary.json").write_text('{"ended": "patience", "updates": 10}')
    run_jobs(settings(f"runs=[{folder}]"))


def test_what_is_no_run(tmp_path: Path) -> None:
    for given in ("nowhere", "label:nowhere"):
        with pytest.raises(UserError, match="nowhere is no run folder"):
            run_jobs(settings(f"runs=[{given}]"))
    with pytest.raises(UserError, match="`runs` must have labels fit for a folder's name"):
        run_jobs(settings(f"runs=['.a:{tmp_path}']"))
    (tmp_path / "config.yaml").write_text("name: relu\n")
    with pytest.raises(UserError, match=r"config\.yaml: not a training configuration"):
        run_jobs(settings(f"runs=[{tmp_path}]"))


@pytest.mark.check("C6")
@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("", "name", "../../../escaped"),
        ("", "name", ".."),
        ("", "name", "a\nb"),
        ("", "name", "x" * 300),
        ("data", "name", "../escaped"),
        ("data", "target_lang", "x/../../../../escaped"),
        ("data", "source_lang", "\x1b[2J"),
    ],
)
def test_a_name_in_a_run_leads_nowhere(
    training: TrainConfig, tmp_path: Path, part: str, key: str, value: str
) -> None:
    """Names in a run folder, which may be somebody else's, become those of folders and files."""
    folder = write_run(tmp_path / "run", training, "relu", 1)
    stored = {**asdict(training), "seed": 1}
    (stored[part] if part else stored)[key] = value
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(stored))
    with pytest.raises(UserError, match=rf"`({key}|name)` must ") as raised:
        run_jobs(settings(f"runs=[{folder}]"))
    assert str(raised.value).isprintable()


@pytest.mark.check("C4")
@pytest.mark.parametrize("text", ["[]", "3", "{", "", "[" * 100_000, '{"a": \0}'])
@pytest.mark.parametrize("name", ["summary.json", "environment.json"])
def test_a_record_of_a_run_that_is_none(
    training: TrainConfig, tmp_path: Path, name: str, text: str
) -> None:
    folder = write_run(tmp_path / "run", training, "relu", 1)
    (tmp_path / "run" / name).write_text(text)
    with pytest.raises(UserError, match=rf"{name} is damaged, or was not written by reluformer"):
        run_jobs(settings(f"runs=[{folder}]"))


def test_a_test_set_is_its_content(
    training: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same text by another path, relative or a copy, is the same; another text is not."""
    text = Path(training.data.text)
    monkeypatch.chdir(text.parent)
    shutil.copytree(text, tmp_path / "copy")
    shutil.copytree(text, tmp_path / "changed")
    (tmp_path / "changed/test.bb").write_text("a b c\n")
    runs = [write_run(tmp_path / "a", training, "a", 1)]
    places = {"b": text.name, "c": str(tmp_path / "copy"), "d": str(tmp_path / "changed")}
    for name, place in places.items():
        runs.append(write_run(tmp_path / name, training, name, 1, data={"text": place}))
    jobs, _ = run_jobs(settings(f"runs=[{','.join(runs[:3])}]"))
    assert len(jobs) == 3
    with pytest.raises(UserError, match="a and d have different test sets"):
        run_jobs(settings(f"runs=[{','.join(runs)}]"))


def test_other_languages_are_another_test_set(training: TrainConfig, tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", training, "relu", 1)
    back = {"source_lang": "bb", "target_lang": "aa"}
    other = write_run(tmp_path / "other", training, "softmax", 1, data=back)
    with pytest.raises(UserError, match="relu and softmax have different test sets"):
        run_jobs(settings(f"runs=[{one},{other}]"))


def test_lower_cased_tokens_are_scored_as_tokens(training: TrainConfig, tmp_path: Path) -> None:
    """Translated from tokens to tokens, against the tokens and the untouched text."""
    for name in ("test.aa", "test.bb", "test.raw.bb"):
        (tmp_path / name).write_text("a b .\n")
    data = {"text": str(tmp_path), "moses": True, "lowercase": True}
    folder = write_run(tmp_path / "run", training, "relu", 1, data=data)
    (job,), test = run_jobs(settings(f"runs=[{folder}]"))
    translate, score = job.steps
    assert {"input_tokenised=true", "detokenise=false"} <= set(translate.arguments)
    assert {
        "lowercase=true",
        f"reference={tmp_path}/test.raw.bb",
        f"tokenised_reference={tmp_path}/test.bb",
    } <= set(score.arguments)
    assert test.kind == "tokenised, lower-cased"
