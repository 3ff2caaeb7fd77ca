"""Timing the way from text to a corpus."""

import os
from random import Random

import pytest

from reluformer.config.bench import run_benchmark
from reluformer.console import console
from reluformer.errors import UserError


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "some.de"
    random = Random(1)
    lines = ["".join(random.choices("abcde ", k=40)) for _ in range(30)]
    path.write_text("<d>\n" + "".join(f"{line}.\n" for line in lines), encoding="utf-8")
    return path


def test_both_halves_are_measured(bench_config, text):
    """Of fewer lines than there are."""
    config = bench_config(what="preprocess", text=str(text), lines=20, threads=1, rounds=1)
    tokens, corpus = run_benchmark(config, "command")
    assert list(tokens.outcome.rates) == ["ours, 1 processes", "sacremoses in a loop"]
    assert tokens.outcome.unit == "lines/s"
    assert "20 lines" in tokens.outcome.conditions
    assert list(corpus.outcome.rates) == [
        "ours, vocabulary learnt",
        "ours, vocabulary there",
        "SentencePiece alone",
    ]
    assert all(rate > 0 for rates in corpus.outcome.rates.values() for rate in rates)
    assert not console.quiet


def test_a_text_is_needed(bench_config, tmp_path):
    with pytest.raises(UserError, match="needs `text`"):
        bench_config(what="preprocess")
    (tmp_path / "empty").touch()
    config = bench_config(what="preprocess", text=str(tmp_path / "empty"))
    with pytest.raises(UserError, match="is empty"):
        next(run_benchmark(config, "command"))


def test_a_pipe_is_no_text(bench_config, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    config = bench_config(what="preprocess", text=str(tmp_path / "pipe"), threads=1, rounds=1)
    with pytest.raises(UserError, match="is no file but a pipe or a device"):
        list(run_benchmark(config, "command"))
