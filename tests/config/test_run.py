"""Run folders whose configuration is damaged: one clear line that names the file and the value."""

from pathlib import Path
from typing import Any

import pytest
import yaml

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
    ],
)
def test_damage_is_named(tmp_path: Path, data: Any, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"data": data}))
    with pytest.raises(UserError, match=rf"config\.yaml: not a training configuration: {message}"):
        part_of(yaml.safe_load(path.read_text()), "data", DataConfig, path)
    with pytest.raises(UserError, match="`model` must have settings, but is None"):
        load_run(tmp_path)
