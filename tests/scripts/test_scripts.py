"""The shell scripts' help and refusals, and the table at the end of the quick start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_help(script: Path) -> None:
    shown = run("bash", str(script), "--help")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"Usage: bash scripts/{script.name}")


def test_setup_names_an_interpreter_that_is_not_there() -> None:
    refused = run("bash", str(SCRIPTS / "setup.sh"), PYTHON="python-of-nowhere")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: there is no python-of-nowhere: install Python 3.10")


def test_setup_refuses_an_old_interpreter(tmp_path: Path) -> None:
    """A stand-in for Python 3.9: it says so, and fails the check of its version."""
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    refused = run("bash", str(SCRIPTS / "setup.sh"), PYTHON=str(old))
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: Python 3.9.2 is too old: reluformer needs 3.10")


def test_the_table_shows_scores_size_and_speed(tmp_path: Path) -> None:
    for name, bleu in (("relu", 41.25), ("softmax", 39.0)):
        folder = tmp_path / name
        folder.mkdir()
        detokenised = {
            "bleu": bleu,
            "bleu_signature": "nrefs:1|case:mixed",
            "chrf": 60.04,
            "chrf_signature": "nrefs:1|nc:6",
        }
        tokens = {"bleu": bleu - 1, "bleu_signature": "nrefs:1|case:lc"}
        scores = {"systems": [{"detokenised": detokenised, "tokenised_lowercased": tokens}]}
        (folder / "scores.json").write_text(json.dumps(scores))
        summary = {"parameters": 1234567, "tokens_per_second": 8765.4, "minutes": 2.34}
        summary |= {"updates": 4321, "best_update": 4000}
        (folder / "summary.json").write_text(json.dumps(summary))
    table = str(SCRIPTS / "runs_table.py")
    shown = run(sys.executable, table, str(tmp_path / "relu"), str(tmp_path / "softmax"))
    assert shown.returncode == 0, shown.stderr
    for text in ("41.2", "40.2", "39.0", "60.0", "1,234,567", "8,765", "2.3", "4,321", "4,000"):
        assert text in shown.stdout
    for signature in ("nrefs:1|case:mixed", "nrefs:1|nc:6", "nrefs:1|case:lc"):
        assert signature in shown.stdout
    markdown = run(sys.executable, table, "--markdown", str(tmp_path / "relu"))
    assert "| relu | 41.2 | 60.0 | 40.2 |" in markdown.stdout
    missed = run(sys.executable, table, str(tmp_path / "nothing"))
    assert missed.returncode == 2
    assert "summary.json is missing" in missed.stderr
