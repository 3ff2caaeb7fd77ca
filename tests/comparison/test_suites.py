"""What a suite's lines stand for, and that everything in conf/suite can be trained."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from reluformer.cli import compare, train
from reluformer.cli.app import compose
from reluformer.config.build import build_model
from reluformer.config.compare import (
    ALL,
    CompareConfig,
    as_typed,
    at_sites,
    expand_systems,
    split,
)
from reluformer.config.compare_jobs import run_jobs, suite_jobs
from reluformer.config.groups import group_options
from reluformer.config.paths import config_dir
from reluformer.config.training import TrainConfig
from reluformer.data.corpus import Corpus
from reluformer.errors import UserError

SUITES = sorted(path.stem for path in (config_dir() / "suite").glob("*.yaml"))
SMALL = ["model.encoder_layers=1", "model.decoder_layers=1"]


def settings(*overrides: str) -> CompareConfig:
    """The checked settings of reluformer-compare with these overrides."""
    return compose("compare", compare.main, CompareConfig, list(overrides))


def test_attention_stands_for_three_sites_and_ffn_for_two() -> None:
    assert at_sites("attention=relu") == [
        "attention@model.encoder_self_attention=relu",
        "attention@model.decoder_self_attention=relu",
        "attention@model.cross_attention=relu",
    ]
    assert at_sites("attention.gamma=2") == [
        "model.encoder_self_attention.gamma=2",
        "model.decoder_self_attention.gamma=2",
        "model.cross_attention.gamma=2",
    ]
    assert at_sites("ffn=gelu") == ["ffn@model.encoder_ffn=gelu", "ffn@model.decoder_ffn=gelu"]
    for one in ("attention@model.cross_attention=relu", "model.d_model=8", "~experiment"):
        assert at_sites(one) == [one]


def test_a_line_is_read_as_a_shell_would() -> None:
    assert split("a=1 'b=two words'  c=3", "train") == ["a=1", "b=two words", "c=3"]
    with pytest.raises(UserError, match="`train` cannot be read"):
        split("a='1", "train")


def test_a_grid_has_every_combination() -> None:
    norms = "+grid={ffn: [relu,gelu], model.pre_norm: [true,false]}"
    systems = expand_systems(settings("+systems.plain=seed=1", norms), group_options)
    assert list(systems) == ["plain", "relu-true", "relu-false", "gelu-true", "gelu-false"]
    assert systems["gelu-false"] == [*at_sites("ffn=gelu"), "model.pre_norm=false"]


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
        (["+grid.ffn=[relu]", "+systems.relu=''"], "two systems are called 'relu'"),
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
        if config.average_last:
            saved = training.train.max_updates // training.train.save_interval
            assert min(saved, training.train.keep_checkpoints) >= config.average_last
        with torch.device("meta"):
            build_model(training.model, 20, 20, joint_vocabulary=True)


@pytest.fixture
def training(reversal: Corpus) -> TrainConfig:
    """The settings of a training on the small corpus."""
    text, binary = reversal.folder.parent / "text", reversal.folder
    names = ["data.name=reversal", "data.source_lang=aa", "data.target_lang=bb"]
    folders = [f"data.text={text}", f"data.binary={binary}"]
    overrides = ["data=custom", *names, *folders]
    return compose("train", train.main, TrainConfig, overrides)


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


def write_run(folder: Path, training: TrainConfig, name: str, seed: int, **data: object) -> str:
    folder.mkdir(parents=True)
    settings = {"name": name, "seed": seed, "data": {**vars(training.data), **data}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
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


def test_runs_that_cannot_be_told_apart_or_compared(training: TrainConfig, tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", training, "relu", 1)
    same = write_run(tmp_path / "same", training, "relu", 1)
    back = {"source_lang": "bb", "target_lang": "aa"}
    other = write_run(tmp_path / "other", training, "softmax", 1, **back)
    with pytest.raises(UserError, match="are both relu with seed 1"):
        run_jobs(settings(f"runs=[{one},{same}]"))
    with pytest.raises(UserError, match="relu and softmax have different test sets"):
        run_jobs(settings(f"runs=[{one},{other}]"))
    with pytest.raises(UserError, match="nowhere is no run folder"):
        run_jobs(settings("runs=[nowhere]"))


def test_lower_cased_tokens_are_scored_as_tokens(training: TrainConfig, tmp_path: Path) -> None:
    """Translated from tokens to tokens, against the tokens and the untouched text."""
    for name in ("test.aa", "test.bb", "test.raw.bb"):
        (tmp_path / name).write_text("a b .\n")
    data = {"text": str(tmp_path), "moses": True, "lowercase": True}
    folder = write_run(tmp_path / "run", training, "relu", 1, **data)
    (job,), test = run_jobs(settings(f"runs=[{folder}]"))
    translate, score = job.steps
    assert {"input_tokenised=true", "detokenise=false"} <= set(translate.arguments)
    assert {
        "lowercase=true",
        f"reference={tmp_path}/test.raw.bb",
        f"tokenised_reference={tmp_path}/test.bb",
    } <= set(score.arguments)
    assert test.kind == "tokenised, lower-cased"
