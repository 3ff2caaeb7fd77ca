"""The search: what it proposes, that it continues, and what it says of wrong spaces."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from reversal import write_reversal_text

from reluformer.config.search import SearchConfig, all_trials, check_dimension, overrides_of, search
from reluformer.errors import UserError

SPACE = {
    "attention.gamma": {"low": 0.5, "high": 8.0, "log": True},
    "model.pre_norm": [True, False],
}


def search_config(folder: Path, **changes: object) -> SearchConfig:
    settings = {
        "name": "test",
        "output": str(folder / "search"),
        "train": f"data=custom data.name=reversal data.source_lang=aa data.target_lang=bb "
        f"data.text={folder}/text data.binary={folder}/binary data.vocab_size=20 model=tiny "
        "model.d_model=16 model.ffn_dim=16 model.encoder_layers=1 model.decoder_layers=1",
        "changes": "train.max_updates=2 train.valid_sentences=0 train.best_metric=loss",
        "space": SPACE,
        "metric": "nll",
        "trials": 2,
        "seed": 1,
        "threads": 1,
        "device": "cpu",
    }
    return SearchConfig(**{**settings, **changes})


def test_trials_train_and_the_same_search_continues(tmp_path: Path) -> None:
    """One trial, then one more of the same study; settings of both reach every site."""
    pytest.importorskip("optuna")
    write_reversal_text(tmp_path / "text", {"train": 200, "valid": 20})
    data = search_config(tmp_path).train.partition(" model=")[0].split()
    subprocess.run([sys.executable, "-m", "reluformer.cli.preprocess", *data], check=True)
    (first,) = search(search_config(tmp_path, trials=1))
    (second,) = search(search_config(tmp_path, trials=2))
    assert (first.number, second.number) == (0, 1)
    assert list(search(search_config(tmp_path, trials=2))) == []
    config = search_config(tmp_path)
    trials = all_trials(config)
    assert [trial.value for trial in trials] == sorted([first.value, second.value])
    for trial in trials:
        assert 0.5 <= trial.settings["attention.gamma"] <= 8
        written = (tmp_path / f"search/runs/trial{trial.number}/config.yaml").read_text("utf-8")
        assert written.count(f"gamma: {trial.settings['attention.gamma']}") == 3
    with pytest.raises(UserError, match="holds a search with other `train`, `changes` or `space`"):
        next(search(search_config(tmp_path, changes="train.max_updates=3", trials=3)))


def test_a_search_whose_first_trial_fails_ends_with_its_reason(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    config = search_config(tmp_path, space={"model.num_heads": [3]})
    with pytest.raises(UserError, match=r"the first trial failed: .*num_heads"):
        next(search(config))


def test_settings_go_to_every_site(tmp_path: Path) -> None:
    overrides = overrides_of(search_config(tmp_path), {"attention.gamma": 2.0})
    assert overrides[-3:] == [
        "model.encoder_self_attention.gamma=2.0",
        "model.decoder_self_attention.gamma=2.0",
        "model.cross_attention.gamma=2.0",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "`space.x` must be a list of choices or have low, high"),
        ({"low": 1}, "`space.x` must be a list of choices or have low, high"),
        ({"low": 1, "high": 2, "step": 1}, "`space.x` must be a list of choices"),
        ({"low": 2, "high": 1}, "`space.x` must have 0 < low < high for log"),
        ({"low": 0, "high": 1, "log": True}, "`space.x` must have 0 < low < high for log"),
    ],
)
def test_wrong_dimensions_are_named(values: object, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        check_dimension("x", values)
