"""The command on tiny models: every system runs, tables appear, errors are clear."""

import json
import re
import sys
from pathlib import Path

import pytest

from reluformer.benchmark.packed import cut_lengths
from reluformer.benchmark.pytorch import PyTorchTransformer
from reluformer.cli.bench import main
from reluformer.config.bench import build_systems, run_benchmark
from reluformer.config.paths import config_dir
from reluformer.errors import UserError
from reluformer.model.transformer import count_parameters

TINY = [
    "model=tiny",
    "model.d_model=16",
    "model.ffn_dim=16",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "vocab_size=40",
    "max_tokens=256",
    "updates=1",
    "rounds=1",
    "sentences=2",
    "beam_size=2",
]
SYSTEMS = ["relu", "relu_centered", "softmax", "PyTorch nn.Transformer"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("what", ["train", "translate"])
def test_every_system_runs(bench_config, what, precision):
    config = bench_config(what=what, precision=precision, rounds=1)
    (report,) = run_benchmark(config, "the command")
    rates = report.outcome.rates
    assert [name.partition(" (")[0] for name in rates] == SYSTEMS
    assert ("no cache" in list(rates)[-1]) == (what == "translate")
    assert all(len(found) == 1 and found[0] > 0 for found in rates.values())
    assert precision in report.outcome.conditions


def test_kernels_are_timed_in_both_directions(bench_config):
    reports = list(run_benchmark(bench_config(what="kernels", lengths=[8], rounds=1), "command"))
    assert ["forward" in r.outcome.title for r in reports] == [True, False]
    for report in reports:
        rates = report.outcome.rates
        assert next(iter(rates)) == "relu"
        assert list(rates)[-1] == "SDPA as PyTorch chooses"
        assert all(found > 0 for (found,) in rates.values())
        assert report.outcome.columns[:2] == ["system", "TFLOP/s"]


def test_kernels_are_timed_on_sentences_without_padding(bench_config):
    config = bench_config(what="kernels", packed=True, lengths=[8], positions=100, rounds=1)
    reports = list(run_benchmark(config, "command"))
    assert len(reports) == 2
    for report in reports:
        rates = report.outcome.rates
        assert "relu, r and e, packed" in rates
        assert list(rates)[-2:] == ["relu, r and e, padded", "SDPA as PyTorch chooses, padded"]
        assert all(found > 0 for (found,) in rates.values())
        assert "100 in all" in report.outcome.conditions


@pytest.mark.parametrize(("mean", "positions"), [(1, 1), (28, 1000), (500, 100)])
def test_packed_sentences_have_just_these_positions(mean, positions):
    lengths = cut_lengths(mean, positions, seed=1)
    assert sum(lengths) == positions
    assert min(lengths) >= 1


def test_systems_differ_in_gamma_alone(bench_config):
    systems = build_systems(bench_config())
    assert isinstance(systems["PyTorch nn.Transformer"], PyTorchTransformer)
    counts = [count_parameters(systems[name]) for name in SYSTEMS]
    gammas = (1 + 2 * 2) * 2  # attention sites times heads
    assert counts == [counts[3] + gammas, counts[3] + gammas, counts[3], counts[3]]


def test_every_attention_is_timed_at_every_length(bench_config):
    """`all` stands for every file in conf/attention."""
    config = bench_config(what="attention", systems=["all", "softmax", "pytorch"], rounds=1)
    reports = list(run_benchmark(config, "the command"))
    assert [r.outcome.title[:13] for r in reports] == ["Attention, 8 ", "Attention, 16"]
    for report in reports:
        *names, last, rival = report.outcome.rates
        files = sorted(path.stem for path in (config_dir() / "attention").glob("*.yaml"))
        assert sorted([*names, last]) == files
        assert (last, rival) == ("softmax", "PyTorch scaled_dot_product_attention")
        assert "regulariser included" in report.outcome.conditions


def test_windows_are_timed_and_weighed_at_every_length(bench_config):
    """Twice the length at equal positions: what is fused keeps as much, ReLA more."""
    lengths = {"lengths": [64, 128], "max_tokens": 256, "rounds": 1}
    systems = ["rela_g", "softmax", "relu", "pytorch"]
    reports = list(run_benchmark(bench_config(what="windows", systems=systems, **lengths), "it"))
    short, long = (list(report.outcome.memory_mb.values()) for report in reports)
    assert len(short) == 4
    assert long[1:3] == pytest.approx(short[1:3], rel=0.01)
    assert long[0] > 1.1 * short[0]
    assert reports[1].outcome.conditions.startswith("2 a batch")
    assert reports[1].outcome.columns[-1] == "MB for backward"
    with pytest.raises(UserError, match=r"`lengths` has 999, but `model\.max_pos"):
        list(run_benchmark(bench_config(what="windows", lengths=[999]), "it"))


def test_unknown_attention_is_named(bench_config):
    with pytest.raises(UserError, match="no attention 'sofmax'; did you mean softmax"):
        build_systems(bench_config(systems=["relu", "sofmax"]))


@pytest.mark.parametrize("what", ["train", "translate"])
def test_command_writes_tables(tmp_path, monkeypatch, capsys, what):
    monkeypatch.chdir(tmp_path)
    arguments = [f"what={what}", *TINY, "output=docs/speed.md", "systems=[softmax,pytorch]"]
    monkeypatch.setattr(sys, "argv", ["reluformer-bench", *arguments])
    main()
    captured = capsys.readouterr()
    assert "softmax" in captured.out
    assert "round 1 of 1" in captured.err
    text = Path("docs/speed.md").read_text(encoding="utf-8")
    assert re.search(r"^\| softmax \| [\d,]+ \| [\d.,]+ \|", text, re.MULTILINE)
    # The command stands there as a shell takes it.
    assert f"`reluformer-bench what={what} model=tiny " in text
    assert "'systems=[softmax,pytorch]'`" in text
    record = json.loads(Path("docs/speed.jsonl").read_text(encoding="utf-8"))
    assert record["outcome"]["parameters"].keys() == record["outcome"]["rates"].keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"what": "speed"},
            "`what` must be one of attention, kernels, preprocess, train, translate",
        ),
        ({"lengths": []}, "`lengths` must name one length"),
        ({"lengths": [0]}, "`lengths` must be greater than 0"),
        ({"systems": []}, "`systems` must name each system once"),
        ({"systems": ["relu", "relu"]}, "`systems` must name each system once"),
        ({"rounds": 0}, "`rounds` must be greater than 0"),
        ({"threads": 0}, "`threads` must be greater than 0"),
        ({"precision": "fp16"}, "`precision` must be one of fp32, bf16"),
        ({"vocab_size": 4}, "`vocab_size` must be above 4"),
        ({"model": {"max_positions": 64}}, "`model.max_positions` must be above 175"),
        ({"output": "speed.txt"}, "`output` must be a Markdown file"),
    ],
)
def test_wrong_settings_are_named(bench_config, changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        bench_config(**changes)
