"""What is refused before training, and what a continued run may change."""

import copy
from pathlib import Path

import pytest

from reluformer.config.run_folder import check_not_of_run
from reluformer.config.training import changed_settings
from reluformer.errors import UserError

SETTINGS = {
    "name": "a",
    "device": "cpu",
    "train": {"max_updates": 10, "update_freq": 1},
    "optim": {"schedule": "inverse_sqrt", "learning_rate": 1e-3},
}


def changed(path: str, value: object, **start: object) -> list[str]:
    before = copy.deepcopy(SETTINGS)
    before["optim"] |= start
    now = copy.deepcopy(before)
    *parents, key = path.split(".")
    node = now
    for parent in parents:
        node = node[parent]
    node[key] = value
    return changed_settings(before, now)


def test_numbers_so_far_must_not_depend_on_what_changes() -> None:
    assert changed("optim.learning_rate", 2e-3) == ["optim.learning_rate: 0.001 -> 0.002"]
    assert changed("device", "cuda") == []
    assert changed("train.max_updates", 20) == []
    assert len(changed("train.max_updates", 20, schedule="cosine")) == 1


def test_what_an_older_version_did_not_know_was_off() -> None:
    new = {**SETTINGS, "windows": {"length": None, "growth_updates": 0, "join": False}}
    assert changed_settings(SETTINGS, new) == []
    new["windows"]["growth_updates"] = 5
    assert changed_settings(SETTINGS, new) == ["windows.growth_updates: None -> 5"]


def test_a_translation_does_not_replace_the_run(tmp_path: Path) -> None:
    own = (
        "config.yaml",
        "vocabulary.source.model",
        "checkpoints/checkpoint_best.safetensors",
    )
    (tmp_path / "checkpoints").mkdir()
    for name in own:
        check_not_of_run(tmp_path / name)  # in a folder that is no run
    (tmp_path / "config.yaml").touch()
    for name in own:
        with pytest.raises(UserError, match="is a file of the run itself"):
            check_not_of_run(tmp_path / name)
    check_not_of_run(tmp_path / "test.en")
