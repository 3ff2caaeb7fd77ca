"""What is written is what is read, and what is wrong is named."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checks import Trials
from limits import cheap
from safetensors.torch import save_file
from small_models import make_model

from reluformer.errors import UserError
from reluformer.training.checkpoint import (
    FORMAT,
    MOST_TENSORS,
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
    write_tensors,
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
    """A file cut at 100 places, and one bit flipped at 200, half of them in the header, of which
    all trials flip every bit."""
    path = checkpoint_path(tmp_path, "best")
    save_checkpoint(path, make_model(), Progress(update=3))
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    chance = random.Random(1)
    damaged = [whole[: chance.randrange(len(whole))] for _ in range(100)]
    bits = chance.sample(range(8 * header), trials(100, 8 * header))
    for bit in [*bits, *chance.sample(range(8 * header, 8 * len(whole)), trials(100, 1000))]:
        place = bit // 8
        flipped = whole[place] ^ 1 << bit % 8
        damaged.append(whole[:place] + bytes([flipped]) + whole[place + 1 :])
    trials(100, 100)
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


def header_of(tensors: bytes) -> bytes:
    """A header in our format; `tensors` are its other entries, as JSON."""
    return b'{"__metadata__":{"format":"%s"}%s}' % (FORMAT.encode(), b"," + tensors)


def entry(name: str, shape: list[int], begin: int, end: int, dtype: str = "F32") -> bytes:
    described = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return f"{json.dumps(name)}:{json.dumps(described)}".encode()


def empty_tensors(count: int) -> bytes:
    described = b'"model.%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    return b",".join([described % number for number in range(count)])


HEADERS: dict[str, Callable[[], bytes]] = {
    "overlapping offsets": lambda: entry("a", [1], 0, 4) + b"," + entry("b", [1], 2, 6),
    "a gap between tensors": lambda: entry("a", [1], 0, 4) + b"," + entry("b", [1], 8, 12),
    "negative offsets": lambda: entry("a", [1], -4, 0),
    "offsets that go back": lambda: entry("a", [1], 4, 0),
    "negative shape": lambda: entry("a", [-1], 0, 4),
    "2^60 numbers": lambda: entry("a", [2**60], 0, 2**62),
    "2^60 times 2^60 numbers": lambda: entry("a", [2**60, 2**60], 0, 16),
    "2^60 times no numbers": lambda: entry("a", [2**60, 0], 0, 0),
    "2^70": lambda: entry("a", [2**70], 0, 2**72),
    "100,000 dimensions": lambda: entry("model.a", [1] * 100_000, 0, 4),
    "the same name twice": lambda: entry("a", [1], 0, 4) + b"," + entry("a", [1], 0, 4),
    "no such dtype": lambda: entry("a", [1], 0, 4, "F33"),
    "half a byte each": lambda: entry("a", [32], 0, 16, "F4"),
    "truth values that are neither": lambda: entry("a", [16], 0, 16, "BOOL"),
    "a name that is no text": lambda: b'"\\ud800":' + entry("a", [1], 0, 4).partition(b":")[2],
    "nesting": lambda: b'"a":' + b"[" * 1_000_000,
    "a long value": lambda: b'"a":"' + b"x" * 5_000_000 + b'"',
    "more tensors than are read": lambda: empty_tensors(MOST_TENSORS + 1),
    "10^6 tensors": lambda: empty_tensors(1_000_000),
}


@pytest.mark.check("C2")
@pytest.mark.parametrize("kind", HEADERS)
def test_a_hostile_header_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    header, path, model = header_of(HEADERS[kind]()), tmp_path / "x.safetensors", make_model()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(range(16)))
    del header
    with cheap(), pytest.raises(DamagedCheckpointError, match=r"x\.safetensors: "):
        load_weights(path, model)
    with cheap(), pytest.raises(DamagedCheckpointError):
        read_tensors(path)


@pytest.mark.check("C2")
@pytest.mark.parametrize("size", [0, 1, 5 << 20, 2**40, 2**60, 2**63, 2**64 - 1])
def test_a_hostile_size_of_the_header_is_refused_at_once(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", size) + b"{}")
    with cheap(), pytest.raises(DamagedCheckpointError, match="not a readable checkpoint"):
        read_tensors(path)


@pytest.mark.check("C2")
def test_a_file_far_larger_than_the_model_is_not_read(tmp_path: Path) -> None:
    """A terabyte, which costs its sender a header."""
    path, model = tmp_path / "x.safetensors", make_model()
    header = header_of(entry("model.a", [1 << 40], 0, 1 << 40, "U8"))
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with path.open("r+b") as file:
        file.truncate(8 + len(header) + (1 << 40))
    with cheap(), pytest.raises(DamagedCheckpointError, match="but no checkpoint of this model"):
        load_weights(path, model)
    optimiser = torch.optim.AdamW(model.parameters())
    with cheap(), pytest.raises(DamagedCheckpointError, match="but no checkpoint of this model"):
        load_training_state(path, model, optimiser)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and metadata of a full checkpoint."""
    model = perturbed(1)
    optimiser = torch.optim.AdamW(model.parameters())
    sum(p.sum() ** 2 for p in model.parameters()).backward()
    optimiser.step()
    run = tmp_path_factory.mktemp("full")
    save_last(run, model, Progress(update=1), optimiser)
    return read_tensors(checkpoint_path(run, "last"))


@pytest.fixture(scope="module")
def fresh() -> torch.nn.Module:
    return perturbed(2)


WEIGHT = "model.encoder_layers.0.ffn.keys.weight"
MOMENT = WEIGHT.replace("model.", "optimiser.exp_avg.")
ZERO = torch.zeros(2)


@pytest.mark.check("C2")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: {WEIGHT: found[WEIGHT].float()}, r"is of torch\.float32, the model of this"),
        (lambda found: {WEIGHT: found[WEIGHT].long()}, r"is of torch\.int64, the model of this"),
        (lambda found: {WEIGHT: found[WEIGHT].T}, r"has shape \[16, 24\], the model"),
        (lambda found: {WEIGHT: None}, "holds another model: missing"),
        (lambda found: {"model.more": ZERO}, r"unexpected \['model\.more'\]"),
        (lambda found: {MOMENT: None}, "is not what Adam needs"),
        (lambda found: {MOMENT: found[MOMENT].T}, "is not what Adam needs"),
        (lambda found: {MOMENT: found[MOMENT].long()}, "is not what Adam needs"),
        (lambda found: {f"{MOMENT}x": ZERO}, "is not what Adam needs"),
        (lambda found: {MOMENT.replace("avg", "more"): ZERO}, "is not what Adam needs"),
        (lambda found: {"optimiser.": ZERO}, "`optimiser.` is not what Adam needs"),
    ],
)
def test_tensors_of_another_kind_are_refused(
    tmp_path: Path,
    full: tuple[dict, dict],
    fresh: torch.nn.Module,
    change: Callable[[dict], dict],
    message: str,
) -> None:
    """In a file whose digest is right: who wrote it meant it."""
    tensors, metadata = full
    changed = {**tensors, **change(tensors)}
    path = tmp_path / "x.safetensors"
    kept = {name: one for name, one in changed.items() if one is not None}
    write_tensors(path, kept, metadata)
    before = own_tensors(fresh)[WEIGHT.removeprefix("model.")].clone()
    with pytest.raises(UserError, match=message):
        load_training_state(path, fresh, torch.optim.AdamW(fresh.parameters()))
    assert torch.equal(own_tensors(fresh)[WEIGHT.removeprefix("model.")], before)


@pytest.mark.check("C2")
@pytest.mark.parametrize(
    "progress",
    [
        "[" * 100_000,
        '{"update": ' + "9" * 5_000 + "}",
        '{"update": "7"}',
        '{"update": 7, "stream": []}',
        '{"update": null}',
        '{"window": 3}',
        '{"best_metric": [1]}',
        '{"colour": 1}',
        "[1]",
        "{",
    ],
    ids=lambda text: text[:30],
)
def test_progress_of_another_kind_is_refused(tmp_path: Path, progress: str) -> None:
    path, model = tmp_path / "x.safetensors", make_model()
    weights = {f"model.{name}": tensor.detach() for name, tensor in own_tensors(model).items()}
    write_tensors(path, weights, {"progress": progress})
    with cheap(), pytest.raises(UserError, match="was written by another version"):
        load_weights(path, model)


@pytest.mark.check("C6")
def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    """As a run folder from elsewhere may hold one."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    path = checkpoint_path(tmp_path, "best")
    path.parent.mkdir()
    path.with_name(path.name + ".tmp").symlink_to(outside)
    save_checkpoint(path, make_model(), Progress(update=3))
    assert outside.read_text() == "mine"
    assert load_weights(path, make_model()).update == 3
    assert not path.is_symlink()
