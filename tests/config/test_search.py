"""The search: what it proposes, that it continues, and what it says of wrong spaces."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reluformer.config.run_folder import RunLock
from reluformer.config.search import (
    SearchConfig,
    all_trials,
    check_dimension,
    next_trial,
    open_study,
    overrides_of,
    propose,
    run_to_its_end,
    search,
)
from reluformer.errors import UserError

pytestmark = pytest.mark.unchecked

SPACE = {
    "attention.gamma": {"low": 0.5, "high": 8.0, "log": True},
    "model.pre_norm": [True, False],
}


def search_config(folder: Path, corpus: Path = Path("binary"), **changes: Any) -> SearchConfig:
    settings = {
        "name": "test",
        "output": str(folder / "search"),
        "train": "data=custom data.name=reversal data.source_lang=aa data.target_lang=bb "
        f"data.text={folder}/text data.binary={corpus} data.vocab_size=20 model=tiny "
        "model.d_model=16 model.ffn_dim=16 model.encoder_layers=1 model.decoder_layers=1",
        "changes": "train.max_updates=2 train.valid_sentences=0 train.best_metric=loss",
        "space": SPACE,
        "metric": "nll",
        "trials": 2,
        "seed": 1,
        "threads": 1,
        "device": "cpu",
        "allow": [],
    }
    return SearchConfig(**{**settings, **changes})


@pytest.fixture(autouse=True)
def optuna() -> None:
    pytest.importorskip("optuna")


def test_trials_train_and_the_same_search_continues(tmp_path: Path, reversal_folder: Path) -> None:
    """One trial, then one more of the same study; settings of both reach every site."""

    def config(**changes: Any) -> SearchConfig:
        return search_config(tmp_path, reversal_folder, **changes)

    (first,) = search(config(trials=1))
    (second,) = search(config(trials=2, name="renamed"))
    assert (first.number, second.number) == (0, 1)
    assert list(search(config(trials=2))) == []
    values = [trial.value for trial in all_trials(config())]
    assert first.value != second.value
    assert values == sorted([first.value, second.value])
    for trial in (first, second):
        assert 0.5 <= trial.settings["attention.gamma"] <= 8
        written = (tmp_path / f"search/runs/trial{trial.number}/config.yaml").read_text("utf-8")
        assert written.count(f"gamma: {trial.settings['attention.gamma']}") == 3


def proposals(config: SearchConfig) -> Iterator[dict[str, Any]]:
    """What this call of a search proposes, where the metric is gamma itself."""
    study = open_study(config)
    while asked := next_trial(study, config):
        settings = propose(asked, config.space)
        study.tell(asked.number, settings["attention.gamma"])
        yield settings


def test_a_continued_search_proposes_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    """Beyond the ten trials that Optuna draws blindly; each is another one."""
    whole = list(proposals(search_config(tmp_path / "whole", trials=15)))
    parts = [
        settings
        for trials in range(1, 16)
        for settings in proposals(search_config(tmp_path / "parts", trials=trials))
    ]
    other = list(proposals(search_config(tmp_path / "other", trials=15, seed=2)))
    assert parts == whole
    gammas = {settings["attention.gamma"] for settings in whole + other}
    assert len(gammas) == 30


def test_a_trial_that_was_only_begun_comes_first(tmp_path: Path) -> None:
    config = search_config(tmp_path)
    begun = next_trial(open_study(config), config)
    again = next_trial(open_study(config), config)
    assert again.number == begun.number == 0
    settings = propose(again, config.space)
    third = next_trial(open_study(config), config)
    assert propose(third, config.space) == settings
    assert settings.keys() == SPACE.keys()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"train": "model=tiny"}, "`train`"),
        ({"changes": "train.max_updates=3"}, "`changes`"),
        ({"space": {"attention.gamma": [1.0, 2.0]}}, "`space`"),
        ({"metric": "loss"}, "`metric`"),
        ({"metric": "bleu", "seed": 2}, "`metric` and `seed`"),
    ],
)
def test_a_search_continues_with_its_own_settings_only(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    open_study(search_config(tmp_path))
    with pytest.raises(UserError, match=f"holds a search with another {named}: name another"):
        open_study(search_config(tmp_path, **changes))
    open_study(search_config(tmp_path, trials=9, device="auto", threads=None))


def test_one_search_at_a_time(tmp_path: Path) -> None:
    config = search_config(tmp_path)
    lock = RunLock(Path(config.output))
    lock.acquire()
    with pytest.raises(UserError, match=r"search is in use by process \d+"):
        next(search(config))
    lock.release()
    assert not (tmp_path / "search/study.db").exists()


def test_a_stopped_search_lets_its_training_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = """if True:
        import pathlib, signal, sys, time
        def save(*signal):
            time.sleep(1)
            pathlib.Path("saved").touch()
            sys.exit(130)
        signal.signal(signal.SIGTERM, save)
        pathlib.Path("ready").touch()
        time.sleep(60)
    """

    def stop() -> None:
        for _ in range(600):
            if not Path("ready").exists():
                time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        threading.Thread(target=stop, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run_to_its_end([sys.executable, "-c", program], tmp_path / "log.txt")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert Path("saved").exists()


def test_a_training_that_has_outlived_its_search_is_no_failure(tmp_path: Path) -> None:
    config = search_config(tmp_path)
    open_study(config)
    lock = RunLock(tmp_path / "search/runs/trial0")
    lock.acquire()
    with pytest.raises(UserError, match=r"trial0 is in use by process \d+"):
        next(search(config))
    lock.release()
    assert all_trials(config) == []


def test_settings_go_to_every_site(tmp_path: Path) -> None:
    overrides = overrides_of(
        search_config(tmp_path, allow=["mine", "yours"]),
        {"data.max_ratio": None, "attention.gamma": 2.0},
    )
    assert overrides[-5:] == [
        "allow=[mine,yours]",
        "data.max_ratio=null",
        "model.encoder_self_attention.gamma=2.0",
        "model.decoder_self_attention.gamma=2.0",
        "model.cross_attention.gamma=2.0",
    ]


@pytest.mark.parametrize("log", [False, True])
def test_whole_numbers_are_searched_between_whole_numbers(tmp_path: Path, log: bool) -> None:
    space = {
        "layers": {"low": 1, "high": 3, "log": log},
        "attention.gamma": {"low": 1, "high": 3.0, "log": log},
    }
    found = list(proposals(search_config(tmp_path, space=space, trials=12)))
    assert {settings["layers"] for settings in found} == {1, 2, 3}
    assert {type(settings["layers"]) for settings in found} == {int}
    assert {type(settings["attention.gamma"]) for settings in found} == {float}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "`space.x` must be a list of choices or have low, high"),
        ({"low": 1}, "`space.x` must be a list of choices or have low, high"),
        ({"low": 1, "high": 2, "step": 1}, "`space.x` must be a list of choices"),
        ({"low": 2, "high": 1}, "`space.x` must have numbers with 0 < low < high for log"),
        ({"low": 0, "high": 1, "log": True}, "`space.x` must have numbers with 0 < low < high"),
        ({"low": "a", "high": 1}, "`space.x` must have numbers with 0 < low < high"),
    ],
)
def test_wrong_dimensions_are_named(values: object, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        check_dimension("x", values)
