"""Run folders whose configuration is damaged: one clear line that names the file and the value."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from limits import cheap
from small_runs import write_run

from reluformer.config.data import DataConfig
from reluformer.config.run import load_run, part_of
from reluformer.errors import UserError

DATA = {
    "name": "mine",
    "source_lang": "de",
    "target_lang": "en",
    "text": "data/mine/text",
    "binary": "data/mine/binary",
}


def test_a_part_is_its_dataclass() -> None:
    found = part_of({"data": DATA}, "data", DataConfig, Path("config.yaml"))
    assert found == DataConfig(**DATA)


@pytest.mark.check("C4")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({**DATA, "vocab_size": "many"}, "`vocab_size` of DataConfig must be a whole number"),
        ({**DATA, "vocab_size": 3}, "`vocab_size` must be above 4"),
        ({**DATA, "lowercase": "no"}, "`lowercase` of DataConfig must be true or false"),
        ({**DATA, "colour": 1}, "DataConfig has no setting `colour`"),
        ({**DATA, 1: 2}, "DataConfig has no setting `1`"),
        ({"name": "mine"}, "DataConfig needs the setting `source_lang`"),
        ([1, 2], r"`data` must have settings, but is \[1, 2\]"),
        (None, "`data` must have settings, but is None"),
        ({**DATA, "name": "../mine"}, "`name` must be one folder's name, without `/`"),
        ({**DATA, "source_lang": "d\ne"}, r"`source_lang` must be one folder's name, .* 'd\\ne'"),
    ],
)
def test_damage_is_named(tmp_path: Path, data: Any, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"data": data}))
    with pytest.raises(UserError, match=rf"config\.yaml: not a training configuration: {message}"):
        part_of(yaml.safe_load(path.read_text()), "data", DataConfig, path)
    with pytest.raises(UserError, match="`model` must have settings, but is None"):
        load_run(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), ["Der Hund läuft .", "Ein Haus ."] * 50, 30)


@pytest.mark.check("C4")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"encoder_layers": 10**9},
            "or more, but .*safetensors has only .* do not belong together",
        ),
        ({"d_model": 10**9, "max_positions": 1 << 20}, "must be 268,435,456 at most"),
        ({"d_model": 10**7, "max_positions": 20}, "do not belong together"),
        ({"ffn_dim": 10**12}, "do not belong together"),
        ({"decoder_layers": 3}, "holds another model: missing"),
        ({"max_positions": 10**12}, "`max_positions` times `d_model` must be 268,435,456 at most"),
        ({"d_model": 4, "num_heads": 2}, "has shape"),
        ({"encoder_ffn": {"_target_": "os.system", "command": "id"}}, "may only name classes of"),
        ({"encoder_ffn": {"_target_": "reluformer.cli.train.main"}}, "has no Module of that name"),
        ({"encoder_self_attention": "softmax"}, "a setting with a `_target_`"),
        ({"cross_attention": {"_target_": "reluformer.attention.relu.ReluAttention"}}, "needs the"),
    ],
)
def test_a_model_that_is_not_the_checkpoints_is_not_built(
    folder: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """A stored configuration gets no memory that the checkpoint cannot fill."""
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run/config.yaml"
    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    stored["model"] |= change
    path.write_text(yaml.safe_dump(stored), encoding="utf-8")
    with cheap(), pytest.raises(UserError, match=message) as caught:
        load_run(tmp_path / "run")
    assert str(caught.value).startswith(str(tmp_path / "run"))  # one of its files
    assert load_run(folder).folder == folder
