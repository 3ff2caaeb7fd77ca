"""Checkpoints that earlier versions wrote: they load, and say what they said then.

tests/fixtures/checkpoints/<format>.safetensors with <format>.json, the log-probabilities of then;
a new format gets a pair from `write_fixture`, and no pair is ever changed.
"""

import json
from pathlib import Path

import pytest
import torch
from small_models import VOCAB, model_config

from reluformer.config.build import build_model
from reluformer.model.transformer import Transformer
from reluformer.training.checkpoint import FORMAT, Progress, load_weights, save_checkpoint

pytestmark = pytest.mark.unchecked

FOLDER = Path(__file__).parents[1] / "fixtures" / "checkpoints"
FORMATS = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
SOURCE = torch.tensor([[4, 5, 6, 7, 3], [8, 9, 3, 1, 1]])
TARGET = torch.tensor([[2, 7, 6, 5], [2, 10, 9, 1]])


def make_model() -> Transformer:
    config = model_config("relu_centered", encoder_layers=1, decoder_layers=1, pre_norm=True)
    return build_model(config, VOCAB, VOCAB, True).eval()


@torch.no_grad()
def log_probabilities(model: Transformer) -> torch.Tensor:
    output = model(SOURCE, torch.tensor([5, 3]), TARGET, torch.tensor([4, 3]))
    return model.output_projection(output.states).log_softmax(-1)


def write_fixture() -> None:
    """The pair of the present format."""
    model = make_model()
    save_checkpoint(FOLDER / f"{FORMAT}.safetensors", model, Progress(update=5))
    numbers = log_probabilities(model).tolist()
    (FOLDER / f"{FORMAT}.json").write_text(json.dumps(numbers), encoding="utf-8")


def test_every_format_has_its_fixture() -> None:
    assert FORMAT in FORMATS


@pytest.mark.check("A12")
@pytest.mark.parametrize("name", FORMATS)
def test_an_old_checkpoint_says_what_it_said(name: str) -> None:
    model = make_model()
    assert load_weights(FOLDER / f"{name}.safetensors", model).update == 5
    then = torch.tensor(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))
    torch.testing.assert_close(log_probabilities(model), then, rtol=1e-6, atol=1e-6)
