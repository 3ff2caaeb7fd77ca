"""What a suite's lines stand for, and that everything in conf/suite can be trained."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reluformer.cli import compare, train
from reluformer.cli.app import compose
from reluformer.config.build import build_model
from reluformer.config.compare import (
    ALL,
    CompareConfig,
    as_typed,
    expand_systems,
    split,
)
from reluformer.config.compare_jobs import check_average, check_training, suite_jobs
from reluformer.config.groups import group_node, group_options
from reluformer.config.paths import config_dir
from reluformer.config.sites import at_sites
from reluformer.config.train_run import check_lengths
from reluformer.config.training import TrainConfig
from reluformer.data.corpus import Corpus, seal
from reluformer.data.windows import WindowOptions
from reluformer.errors import UserError

SUITES = sorted(path.stem for path in (config_dir() / "suite").glob("*.yaml"))
SMALL = ["model.encoder_layers=1", "model.decoder_layers=1"]


def settings(*overrides: str) -> CompareConfig:
    """The checked settings of reluformer-compare with these overrides."""
    return compose("compare", compare.main, CompareConfig, list(overrides))


def test_a_line_is_read_as_a_shell_would() -> None:
    assert split("a=1 'b=two words'  c=3", "train") == ["a=1", "b=two words", "c=3"]
    with pytest.raises(UserError, match="`train` cannot be read"):
        split("a='1", "train")


def test_a_grid_has_every_combination() -> None:
    norms = "+grid={ffn: [relu,gelu], model.pre_norm: [true,false]}"
    systems = expand_systems(settings("+systems.plain=train.patience=1", norms), group_options)
    assert list(systems) == ["plain", "relu-true", "relu-false", "gelu-true", "gelu-false"]
    assert systems["gelu-false"] == [*at_sites("ffn=gelu"), "model.pre_norm=false"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("+systems.a=seed=2", "`systems.a` cannot set `seed`"),
        ("+systems.a=run=x", "`systems.a` cannot set `run`"),
        ("+grid={seed: [1, 2]}", "`grid` cannot set `seed`"),
        ("translate=run=other", "`translate` cannot set `run`"),
        ("translate=format=jsonl", "`translate` cannot set `format`"),
    ],
)
def test_what_a_comparison_sets_itself(given, message):
    with pytest.raises(UserError, match=message):
        settings("+systems.b=''", given)


def test_the_last_part_of_a_path_is_its_label() -> None:
    systems = expand_systems(
        settings("+grid={experiment: [embedded/softmax,embedded/reluformer], x: [1]}"),
        group_options,
    )
    assert list(systems) == ["softmax-1", "reluformer-1"]
    assert systems["softmax-1"] == ["experiment=embedded/softmax", "x=1"]


def test_runs_leave_nothing_to_train() -> None:
    for given in ("changes=a=1", "train=a=1", "seeds=[1,2]", "+systems.a=''", "+grid.ffn=[relu]"):
        name = given.lstrip("+").partition("=")[0].partition(".")[0]
        with pytest.raises(UserError, match=f"`runs` are trained already, but `{name}` would"):
            settings("runs=[a]", given)


def test_all_are_the_files_of_the_group() -> None:
    config = settings("+grid.attention=all")
    systems = expand_systems(config, lambda group: [f"a_new_{group}", "softmax"])
    assert systems == {
        name: at_sites(f"attention={name}") for name in ("a_new_attention", "softmax")
    }


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+grid.ffn=relu"], "`grid.ffn` must be a list of values, or all, but is 'relu'"),
        (["+grid.ffn=[relu]", "+systems.relu=''"], "'relu': rename the one in `systems`"),
        (["+grid.ffn=[relu,relu]"], "`grid` makes two systems called 'relu': name each value once"),
        (["+grid.ffn=['..']"], "`grid` must have labels fit for a folder's name, not '..'"),
        (["+grid.ffn=[relu]", "baseline=gelu"], "`baseline` must be one of relu, but is 'gelu'"),
    ],
)
def test_systems_that_make_no_sense(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        expand_systems(settings(*overrides), group_options)


def thinned(config: CompareConfig) -> CompareConfig:
    """The same with the first and the last value of each axis only, beside the first of others.

    Values in between differ by a number, or name one of the options of a group, all of which
    tests/config builds.
    """
    systems = dict(config.systems)
    axes = {key: group_options(key) if one == ALL else one for key, one in config.grid.items()}
    first = {key: values[0] for key, values in axes.items()}
    for key, values in axes.items():
        if key in ("attention", "ffn"):
            assert set(values) <= set(group_options(key))
        for value in (values[0], values[-1]):
            words = [f"{name}={as_typed(one)}" for name, one in {**first, key: value}.items()]
            systems["-".join(words)] = " ".join(words)
    return replace(config, systems=systems, grid={}, baseline=None)


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_builds(name: str) -> None:
    """Each system, of a grid its corners, with one layer and without memory."""
    config = settings(f"suite={name}")
    assert config.name == name
    assert expand_systems(config, group_options)
    shared = [*split(config.train, "train"), *SMALL]
    for label, own in expand_systems(thinned(config), group_options).items():
        training = compose("train", train.main, TrainConfig, [*shared, *own, f"name={label}"])
        check_average(config, training)
        with torch.device("meta"):
            build_model(training.model, 20, 20, joint_vocabulary=True)


def test_feed_forward_memories_are_alike_but_for_what_is_compared() -> None:
    """No network has biases that the others lack."""
    config = settings("suite=ffn_memory")
    systems = expand_systems(config, group_options)
    shared = split(config.train, "train")
    for label in ("relu-32", "softmax_layernorm-32"):
        training = compose("train", train.main, TrainConfig, [*shared, *systems[label]])
        assert training.model.encoder_ffn["bias"] is training.model.decoder_ffn["bias"] is False


def test_a_job_for_each_system_and_seed(training: TrainConfig) -> None:
    overrides = ["+systems.a=''", "+systems.b=''", "seeds=[3,5]", "output=o", "average_last=2"]
    config = settings(*overrides, "translate=decode.beam_size=2", "threads=1")
    own = {"a": ["x=1"], "b": ["x=2"]}
    jobs, _ = suite_jobs(config, own, {"a": training, "b": training}, ["--config-dir", "mine"])
    assert [job.title for job in jobs] == ["a-seed3", "b-seed3", "a-seed5", "b-seed5"]
    train_step, average, translate, score = jobs[3].steps
    assert train_step.arguments == [
        *("x=2", "name=b", "seed=5", "run=o/runs/b-seed5", "threads=1", "--config-dir", "mine")
    ]
    assert train_step.settings["seed"] == 5
    assert average.arguments == ["run=o/runs/b-seed5", "last=2"]
    assert {"checkpoint=avg_2", "decode.beam_size=2", "threads=1"} <= set(translate.arguments)
    assert "threads=1" not in translate.settings
    assert translate.output == score.inputs[0] == "o/runs/b-seed5/test.bb"


def prepared(training: TrainConfig, folder: Path) -> TrainConfig:
    """The same with a copy of its corpus that was made with just these data settings."""
    data = replace(training.data, binary=str(folder))
    manifest = folder / "manifest.json"
    shutil.copytree(training.data.binary, folder)
    values = {**json.loads(manifest.read_text()), "data": asdict(data)}
    manifest.write_text(json.dumps(seal(values)))
    return replace(training, data=data)


def test_what_training_would_refuse(training: TrainConfig, tmp_path: Path) -> None:
    config = settings("+systems.a=''")
    good = prepared(training, tmp_path / "corpus")
    check_training(config, good)
    pointwise = {**group_node("attention", "pointwise"), "alpha": 3}
    wrong = [
        (replace(good, data=replace(good.data, lowercase=True)), "`lowercase` is False there"),
        (with_model(good, cross_attention=pointwise), r"`alpha` must lie in \[0, 1\], but is 3"),
        (with_model(good, max_positions=4), "`model.max_positions` is 4, but a sentence"),
        (replace(good, data=replace(good.data, binary="nowhere")), "no finished corpus in nowhere"),
    ]
    for one, message in wrong:
        with pytest.raises(UserError, match=message):
            check_training(config, one)


def test_a_window_longer_than_the_model_has_positions(training: TrainConfig) -> None:
    corpus = Corpus.open(training.data.binary)
    splits = {name: corpus.split(name) for name in ("train", "valid")}
    with pytest.raises(UserError, match=r"`windows.length` is 65, but `model.max_positions` is 64"):
        check_lengths(corpus, splits, WindowOptions(65), 64)
    check_lengths(corpus, splits, WindowOptions(4), 4)  # longer sentences are left out
    with pytest.raises(UserError, match=r"max_positions` is 4, but a sentence of the train split"):
        check_lengths(corpus, splits, WindowOptions(4, sentence_updates=1), 4)


def with_model(training: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(training, model=replace(training.model, **changes))


def test_an_average_of_more_checkpoints_than_are_kept(training: TrainConfig) -> None:
    fit = replace(training.train, max_updates=5000, save_interval=1000)
    short = replace(training, train=fit)
    check_average(settings("+systems.a=''", "average_last=5"), short)
    with pytest.raises(UserError, match="`average_last` is 6, but of 5000 updates 5 checkpoints"):
        check_average(settings("+systems.a=''", "average_last=6"), short)
    with pytest.raises(UserError, match="`average_last` is 11, but of 20000 updates 10"):
        check_average(settings("+systems.a=''", "average_last=11"), training)
