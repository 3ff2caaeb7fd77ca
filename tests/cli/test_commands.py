"""Every command that the package installs: its help, its examples, its answers to mistakes."""

import re
import shlex
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from reluformer.cli import bench
from reluformer.cli.catalogue import Catalogue, choices, open_catalogue, settings

COMMANDS = sorted(
    (one for one in entry_points(group="console_scripts") if one.value.startswith("reluformer.")),
    key=lambda one: one.name,
)
# What each command reads first, as settings that name something that is not there.
ABSENT = {
    "analyze": ["run=runs/nowhere"],
    "average": ["run=runs/nowhere"],
    "compare": ["runs=[runs/nowhere]"],
    "preprocess": ["data.text=data/nowhere"],
    "score": ["hypothesis=nowhere.en", "reference=nowhere.en"],
    "train": ["data.binary=data/nowhere"],
    "translate": ["run=runs/nowhere"],
}

each_command = pytest.mark.parametrize("script", COMMANDS, ids=lambda one: one.name)


def name_of(script: EntryPoint) -> str:
    return script.name.removeprefix("reluformer-")


def catalogue_of(script: EntryPoint) -> Catalogue:
    script.load()  # registers the schema
    return open_catalogue(name_of(script))


def swap_letters(word: str) -> str:
    """A usual slip: two letters in the wrong order."""
    middle = len(word) // 2
    return word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]


@each_command
def test_help_names_every_setting(run: Callable[..., Any], script: EntryPoint) -> None:
    outcome = run(script.load(), "--help")
    assert outcome.code == 0, outcome.err
    assert f"Usage: {script.name} " in outcome.out
    assert "Exit codes: 0 done" in outcome.out
    for key in settings(catalogue_of(script).compose([])):
        if not key.endswith("_target_"):
            assert re.search(rf"^  {re.escape(key)}=", outcome.out, re.MULTILINE), key


@each_command
def test_examples_can_be_composed(run: Callable[..., Any], script: EntryPoint) -> None:
    text = run(script.load(), "--help").out
    examples = re.findall(rf"^  ({script.name} .*)$", text, re.MULTILINE)
    assert len(examples) >= 3
    for example in examples:
        arguments = shlex.split(example.partition(" < ")[0].partition(" > ")[0])[1:]
        outcome = run(script.load(), *arguments, "--cfg", "job")
        assert outcome.code == 0, (example, outcome.err)


@each_command
def test_a_misspelt_setting(run: Callable[..., Any], script: EntryPoint) -> None:
    keys = settings(catalogue_of(script).compose([]))
    key = max(keys, key=len)
    message = run(script.load(), f"{swap_letters(key)}=1").error()
    assert f"{script.name} has no setting `{swap_letters(key)}`; did you mean " in message
    assert key in message


@each_command
def test_a_misspelt_option_of_every_group(run: Callable[..., Any], script: EntryPoint) -> None:
    catalogue = catalogue_of(script)
    places = {key.partition("@")[0]: key for key in choices(catalogue.compose([]))}
    for group, key in places.items():
        option = max(catalogue.groups[group], key=len)
        message = run(script.load(), f"{key}={option}x").error()
        assert f"group `{group}` has no option `{option}x`; did you mean {option}" in message


@each_command
def test_a_value_of_the_wrong_type(run: Callable[..., Any], script: EntryPoint) -> None:
    known = settings(catalogue_of(script).compose([]))
    for key, value in known.items():
        if isinstance(value, bool | int | float) and "attention" not in key:
            message = run(script.load(), f"{key}=blue").error()
            assert message.startswith(f"`{key}` must be ")
            assert message.endswith("but is 'blue'")
            break


def test_every_command_that_reads_files_is_asked_for_one_that_is_not_there() -> None:
    """All but the benchmark, which reads none, and the search, whose trainings do."""
    assert {name_of(one) for one in COMMANDS} - set(ABSENT) == {"bench", "search"}


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_not_there_is_named(run: Callable[..., Any], name: str) -> None:
    (script,) = (one for one in COMMANDS if name_of(one) == name)
    message = run(script.load(), *ABSENT[name]).error()
    assert "nowhere" in message
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("search", ["sweep=gamma_grid"], "does not fit reluformer-search: Key 'model' not in"),
        ("train", ["sweep=gamma_search"], "does not fit reluformer-train: "),
        ("train", ["sweep=gamma_grid"], "a grid of model.encoder_self_attention.gamma"),
    ],
)
def test_a_sweep_in_the_wrong_place(
    run: Callable[..., Any], name: str, overrides: list[str], message: str
) -> None:
    (script,) = (one for one in COMMANDS if name_of(one) == name)
    assert message in run(script.load(), *overrides).error()


def test_a_benchmark_that_memory_does_not_hold(run: Callable[..., Any]) -> None:
    said = run(bench.main, "what=attention", "lengths=[999999999999]", "systems=[relu]").err
    assert "error: memory does not hold this: give smaller `lengths`" in said
