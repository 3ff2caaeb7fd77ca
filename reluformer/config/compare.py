"""Settings of `reluformer-compare`, and the systems that a suite consists of."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import PurePath
from typing import Any

from reluformer.checks import check_choice, check_name, check_not_negative, check_positive
from reluformer.config.sites import at_sites
from reluformer.errors import UserError

ALL = "all"
OWN_OF_TRAINING = {
    "run": "each training has a folder of its own",
    "name": "the label is its name",
    "seed": "`seeds` of a comparison, or `seed` of a search, does",
}
OWN_OF_TRANSLATING = dict.fromkeys(
    ("run", "checkpoint", "input", "output", "reference", "format", "timing"),
    "the same of all systems is compared",
)
SEEDS = [1]  # as in conf/compare.yaml: none were given


@dataclass
class CompareConfig:
    """What is compared and how; a file of conf/suite sets the parts that make a suite."""

    name: str
    output: str
    runs: list[str]
    train: str
    changes: str
    systems: dict[str, str]
    grid: dict[str, Any]
    seeds: list[int]
    baseline: str | None
    average_last: int
    translate: str
    samples: int
    jobs: int
    memory_gb: float | None
    threads: int | None
    device: str
    allow: list[str]
    job: int | None

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_positive("jobs", self.jobs)
        if self.samples < 10:
            raise UserError(f"`samples` must be 10 or more, but is {self.samples}")
        for name in ("memory_gb", "threads"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        check_not_negative("average_last", self.average_last)
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        for seed in self.seeds:
            check_not_negative("seeds", seed)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"`seeds` must name each seed once, and one at least: {self.seeds}")
        for label, text in self.systems.items():
            check_label(label, "systems")
            refuse_own(split(text, f"systems.{label}"), f"systems.{label}", OWN_OF_TRAINING)
        refuse_own([f"{key}=" for key in self.grid], "grid", OWN_OF_TRAINING)
        for name in ("train", "changes"):
            refuse_own(split(getattr(self, name), name), name, OWN_OF_TRAINING)
        refuse_own(split(self.translate, "translate"), "translate", OWN_OF_TRANSLATING)
        if self.job is None:
            self._check_one_source()

    def _check_one_source(self) -> None:
        names = ("systems", "grid", "train", "changes")
        given = [f"`{name}`" for name in names if getattr(self, name)]
        given += ["`seeds`"] if self.seeds != SEEDS else []
        if self.runs and given:
            raise UserError(
                f"`runs` are trained already, but {', '.join(given)} would train: leave out "
                "`runs`, or those and suite=..., which sets them too"
            )
        if not (self.runs or self.systems or self.grid):
            raise UserError(
                "nothing to compare: give a suite, such as suite=quick, or run folders: "
                "runs=[FOLDER,FOLDER]"
            )


def refuse_own(overrides: Sequence[str], setting: str, own: Mapping[str, str]) -> None:
    """Raise UserError for one that a comparison or a search sets itself."""
    for override in overrides:
        name = override.lstrip("+~").partition("=")[0]
        if name in own:
            raise UserError(f"`{setting}` cannot set `{name}`: {own[name]}")


def check_label(label: str, setting: str) -> None:
    """A label names a folder and a row."""
    if not label or set(label) & {"/", ","} or label.strip() != label or label.startswith("."):
        raise UserError(f"`{setting}` must have labels fit for a folder's name, not {label!r}")
    check_name(setting, label)


def expand_systems(
    config: CompareConfig, options: Callable[[str], list[str]]
) -> dict[str, list[str]]:
    """Each system's own overrides of reluformer-train by its label.

    `options` lists the files of a group, for `all`. Raises UserError where two systems have the
    same label, or the baseline is none of them.
    """
    systems = {label: split(text, f"systems.{label}") for label, text in config.systems.items()}
    for label, overrides in grid_systems(config.grid, options):
        check_label(label, "grid")
        if label in config.systems:
            raise UserError(f"two systems are called {label!r}: rename the one in `systems`")
        if label in systems:
            raise UserError(
                f"`grid` makes two systems called {label!r}: name each value once, or write them "
                "in `systems`, with labels of their own"
            )
        systems[label] = overrides
    check_baseline(config.baseline, list(systems))
    return systems


def check_baseline(baseline: str | None, labels: Sequence[str]) -> None:
    if baseline is not None and baseline not in labels:
        raise UserError(f"`baseline` must be one of {', '.join(labels)}, but is {baseline!r}")


def grid_systems(
    grid: dict[str, Any], options: Callable[[str], list[str]]
) -> Iterator[tuple[str, list[str]]]:
    """Label and overrides of each combination.

    Its values, joined by hyphens, name it; of one with slashes, a file or folder, the last part.
    """
    if not grid:
        return
    axes = [options(key) if values == ALL else values for key, values in grid.items()]
    for key, values in zip(grid, axes, strict=True):
        if not isinstance(values, list) or not values:
            raise UserError(f"`grid.{key}` must be a list of values, or all, but is {values!r}")
    for values in product(*axes):
        words = [as_typed(value) for value in values]
        chosen = [f"{key}={word}" for key, word in zip(grid, words, strict=True)]
        label = "-".join(PurePath(word).name for word in words)
        yield label, [override for text in chosen for override in at_sites(text)]


def as_typed(value: Any) -> str:
    """A value as one types it: true, null."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def split(text: str, name: str) -> list[str]:
    """The overrides in one line, at every site that they stand for."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"`{name}` cannot be read ({error}): {text}") from None
    return [override for word in words for override in at_sites(word)]
