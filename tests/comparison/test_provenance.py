"""What is recorded and said about how a comparison's numbers came about."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from reluformer.config import run_folder
from reluformer.config.compare_report import conditions
from reluformer.config.provenance import run_environment
from reluformer.config.run_folder import uncommitted_changes
from reluformer.config.training import TrainConfig


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that passes for the one that this code runs from."""
    for folder in ("reluformer/config", "conf/attention", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(run_folder, "__file__", str(tmp_path / "reluformer/config/run_folder.py"))
    return tmp_path


def commit(checkout: Path) -> None:
    author = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "--allow-empty", "-m."]):
        subprocess.run(["git", "-C", str(checkout), *words], check=True)


def test_changes_are_those_of_code_and_settings(checkout: Path) -> None:
    """A mechanism that was only dropped into its folder is one."""
    (checkout / "conf/attention/relu.yaml").write_text("gamma: 1\n")
    assert uncommitted_changes() is None
    commit(checkout)
    assert uncommitted_changes() is False
    (checkout / "docs/notes.md").write_text("new")
    assert uncommitted_changes() is False
    mine = checkout / "conf/attention/mine.yaml"
    mine.write_text("gamma: 2\n")
    assert uncommitted_changes() is True
    mine.unlink()
    (checkout / "conf/attention/relu.yaml").write_text("gamma: 3\n")
    assert uncommitted_changes() is True


@pytest.mark.parametrize(
    ("accelerator", "device", "found"),
    [(None, "auto", "cpu"), ("H200", "auto", "cuda"), ("H200", "cpu", "cpu")],
)
def test_the_environment_of_a_run(
    training: TrainConfig, tmp_path: Path, accelerator: str | None, device: str, found: str
) -> None:
    assert run_environment(tmp_path) == {}
    settings = {**asdict(training), "device": device, "threads": 3}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    recorded = {"commit": "abc", "accelerator": accelerator}
    (tmp_path / "environment.json").write_text(json.dumps(recorded))
    assert run_environment(tmp_path) == {**recorded, "device": found, "threads": 3}


def test_the_notes_say_only_what_is_known() -> None:
    """Not how many ran at the same time: runs are measured in many calls and by many launchers."""
    said = "\n".join(conditions(torch.device("cpu")))
    assert "up to 200 sentences of the validation set" in said
    assert "at a time" not in said
