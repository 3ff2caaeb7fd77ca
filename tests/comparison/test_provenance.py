"""What is recorded and said about how a comparison's numbers came about."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from reluformer.comparison.jobs import Job, Step
from reluformer.config import run_folder
from reluformer.config.compare_report import conditions, joined_windows
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


def test_windows_of_several_documents_are_said(tmp_path: Path) -> None:
    """And how many documents are long without that; nothing where none are joined."""
    jobs = []
    for label, join in (("a", False), ("b", True)):
        folder = tmp_path / label
        folder.mkdir()
        windows = {"length": 1024, "join": join}
        (folder / "config.yaml").write_text(yaml.safe_dump({"windows": windows}))
        sizes = {"0-31": 1, "256-511": 5, "512-1023": 3, "2048-4095": 2}
        buckets = [{"words": words, "documents": count} for words, count in sizes.items()]
        scores = {"systems": [{"documents": {"buckets": buckets}}]}
        (folder / "scores.json").write_text(json.dumps(scores))
        jobs.append(Job(label, 1, str(folder), str(folder), "best", [], Step("x", [], {}, [], "")))
    assert joined_windows(jobs[:1]) == []
    [said] = joined_windows(jobs)
    assert said.startswith("Windows of b cross from a document to the next")
    assert "of 11 test documents 5 have 512 words or more, 2 have 1,024." in said
