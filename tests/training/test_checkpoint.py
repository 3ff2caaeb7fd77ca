"""What is written is what is read, and what is wrong is named."""

import random
from pathlib import Path

import pytest
import torch
from checks import Trials
from safetensors.torch import save_file
from small_models import make_model

from reluformer.errors import UserError
from reluformer.training.checkpoint import (
    DamagedCheckpointError,
    Progress,
    average_checkpoints,
    checkpoint_path,
    load_training_state,
    load_weights,
    numbered_checkpoints,
    own_tensors,
    read_tensors,
    save_checkpoint,
    save_last,
)


def perturbed(seed: int, **changes: object) -> torch.nn.Module:
    model = make_model(**changes)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def test_weights_moments_and_progress_return_bit_for_bit(tmp_path: Path) -> None:
    model = perturbed(1)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    sum(p.sum() ** 2 for p in model.parameters()).backward()
    optimiser.step()
    progress = Progress(
        update=7, stream={"epoch": 1, "offset": 3}, best_metric=2.5, window={"x": 1.0}
    )
    path = checkpoint_path(tmp_path, "last")
    save_last(tmp_path, model, progress, optimiser)
    other = perturbed(2)
    fresh = torch.optim.AdamW(other.parameters(), fused=True)
    assert load_training_state(path, other, fresh) == progress
    for ours, theirs in zip(other.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        for key, value in optimiser.state[theirs].items():
            torch.testing.assert_close(fresh.state[ours][key], value, rtol=0, atol=0)


def test_shared_weights_are_stored_once() -> None:
    names = own_tensors(make_model(share_embeddings="all"))
    shared = {"output_projection.weight"}
    shared |= {f"{side}_embedding.tokens.weight" for side in ("source", "target")}
    assert len(shared & set(names)) == 1


def test_average_is_the_mean(tmp_path: Path) -> None:
    models = [perturbed(seed) for seed in (1, 2, 3)]
    paths = [checkpoint_path(tmp_path, str(100 * i)) for i in range(3)]
    for path, model in zip(paths, models, strict=True):
        save_checkpoint(path, model, Progress())
    mean = average_checkpoints(paths)
    name = "encoder_layers.0.ffn.keys.weight"
    expected = sum(model.get_parameter(name) for model in models) / 3
    torch.testing.assert_close(mean[f"model.{name}"], expected.detach())


def test_numbered_checkpoints_are_found_oldest_first(tmp_path: Path) -> None:
    for name in ("900", "1000", "last", "avg_2"):
        save_checkpoint(checkpoint_path(tmp_path, name), make_model(), Progress())
    found = [path.name for path in numbered_checkpoints(tmp_path)]
    assert found == ["checkpoint_900.safetensors", "checkpoint_1000.safetensors"]
    assert not list((tmp_path / "checkpoints").glob(".*"))  # no temporary file is left


def test_another_model_a_foreign_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, "best")
    with pytest.raises(UserError, match="no such checkpoint; there are: none"):
        load_weights(path, make_model())
    save_checkpoint(path, make_model(), Progress())
    with pytest.raises(UserError, match="holds another model"):
        load_weights(path, make_model(encoder_layers=3))
    with pytest.raises(UserError, match=r"has shape \[24, 16\], the model .* \[32, 16\]"):
        load_weights(path, make_model(ffn_dim=32))
    path.write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_weights(path, make_model())


@pytest.mark.check("A7")
def test_every_damage_is_found(tmp_path: Path, trials: Trials) -> None:
    """A file cut at 100 places, and one bit flipped at 200, half of them in the header."""
    trials(300, 300)
    path = checkpoint_path(tmp_path, "best")
    save_checkpoint(path, make_model(), Progress(update=3))
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    chance = random.Random(1)
    damaged = [whole[: chance.randrange(len(whole))] for _ in range(100)]
    for end in (header, len(whole)):
        for _ in range(100):
            place = chance.randrange(end)
            flipped = whole[place] ^ 1 << chance.randrange(8)
            damaged.append(whole[:place] + bytes([flipped]) + whole[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(DamagedCheckpointError):
            read_tensors(path)


def test_a_checkpoint_without_digest_is_read(tmp_path: Path) -> None:
    """As development versions wrote them."""
    path = checkpoint_path(tmp_path, "best")
    path.parent.mkdir()
    model = perturbed(1)
    tensors = {f"model.{name}": tensor.detach() for name, tensor in own_tensors(model).items()}
    save_file(tensors, path, {"format": "reluformer-1", "progress": '{"update": 5}'})
    other = perturbed(2)
    assert load_weights(path, other).update == 5
    name = "encoder_layers.0.ffn.keys.weight"
    assert torch.equal(other.get_parameter(name), model.get_parameter(name))
