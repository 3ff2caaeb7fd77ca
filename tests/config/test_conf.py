"""Every file in conf/ composes, is checked by its dataclass, and builds what it describes."""

from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

import reluformer.cli.train  # noqa: F401 - registers the schema of conf/train.yaml
from reluformer.cli.catalogue import open_catalogue
from reluformer.config.build import build_model
from reluformer.config.model import ModelConfig
from reluformer.config.paths import config_dir
from reluformer.config.training import TrainConfig
from reluformer.model.transformer import Transformer

CONF = config_dir()
SITES = ("encoder_self_attention", "decoder_self_attention", "cross_attention")
SMALL = ["model.encoder_layers=1", "model.decoder_layers=1"]


def names(group: str) -> list[str]:
    folder = CONF / group
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))


def training(*overrides: str) -> TrainConfig:
    """The checked settings of reluformer-train with these overrides."""
    config = open_catalogue("train").compose(list(overrides))
    OmegaConf.set_struct(config, False)
    config.pop("hydra")
    checked = OmegaConf.to_object(config)
    assert isinstance(checked, TrainConfig)
    return checked


def translate_something(config: ModelConfig) -> Transformer:
    """Build the model and run it forward once."""
    model = build_model(config, 20, 20, joint_vocabulary=True).eval()
    sources = torch.randint(4, 20, (2, 5))
    with torch.no_grad():
        encoded = model.encode(sources, torch.tensor([5, 3]))
        logits = model.step(torch.tensor([1, 1]), model.start(encoded))
    assert logits.shape == (2, 20)
    assert logits.isfinite().all()
    return model


@pytest.mark.parametrize("attention", names("attention"))
def test_every_attention_builds_at_every_site(attention: str) -> None:
    sites = [f"attention@model.{site}={attention}" for site in SITES]
    translate_something(training(*sites, *SMALL).model)


@pytest.mark.parametrize("ffn", names("ffn"))
def test_every_ffn_builds(ffn: str) -> None:
    sites = [f"ffn@model.{site}={ffn}" for site in ("encoder_ffn", "decoder_ffn")]
    translate_something(training(*sites, *SMALL).model)


@pytest.mark.parametrize("model", names("model"))
def test_every_size_builds(model: str) -> None:
    config = training(f"model={model}").model
    built = translate_something(config)
    assert len(built.encoder_layers) == config.encoder_layers
    assert len(built.decoder_layers) == config.decoder_layers


@pytest.mark.parametrize("experiment", names("experiment"))
def test_every_experiment_is_a_run_of_its_own(experiment: str) -> None:
    config = training(f"experiment={experiment}", *SMALL)
    corpus, name = experiment.split("/")
    assert config.data.name == corpus
    assert config.name == name
    translate_something(config.model)


def test_no_two_experiments_share_a_run_folder() -> None:
    configs = [
        open_catalogue("train").compose([f"experiment={one}"]) for one in names("experiment")
    ]
    folders = [config.run for config in configs]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("data", names("data"))
def test_every_corpus_is_checked(data: str) -> None:
    """What a file leaves to the user is given here."""
    node = open_catalogue("train").compose([f"data={data}"]).data
    given = [f"data.{key}=my_{key}" for key in node if OmegaConf.is_missing(node, key)]
    config = training(f"data={data}", *given).data
    assert config.name == ("my_name" if given else data)


@pytest.mark.parametrize("decode", names("decode"))
def test_every_way_to_decode_is_checked(decode: str) -> None:
    assert training(f"decode={decode}").decode.beam_size >= 1


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_command_lists_its_schema_first(path: Path) -> None:
    defaults = yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"]
    assert defaults[0] == f"{path.stem}_schema"
