"""Runs that are trained already, as the systems of a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from reluformer.comparison.jobs import Job, read_json
from reluformer.config.compare import CompareConfig, check_baseline, check_label
from reluformer.config.compare_jobs import PASSING, job_of_run, the_test_set
from reluformer.config.data import DataConfig
from reluformer.config.instantiate import load_plain
from reluformer.config.run import read_data
from reluformer.config.run_folder import CONFIG
from reluformer.config.test_set import TestSet
from reluformer.data.windows import WindowOptions
from reluformer.errors import UserError
from reluformer.training.metrics import read_metrics

# What runs of one system may differ in. Corpora are compared by content, not by place.
MAY_DIFFER = {
    *PASSING,
    *("seed", "allow", "data.text", "data.binary", "data.vocabulary_of"),
    *("train.log_interval", "train.statistics_interval", "train.valid_max_tokens"),
}
SHOWN = 3  # differences in a message


@dataclass(frozen=True)
class TrainedRun:
    """A run folder under the label of its row; `settings` by full names, the corpus by digest."""

    folder: str
    label: str
    seed: int
    data: DataConfig
    settings: dict[str, Any]


def run_jobs(config: CompareConfig) -> tuple[list[Job], TestSet]:
    """A job for each run folder that was given."""
    runs = [read_run(given) for given in config.runs]
    check_rows(runs)
    check_baseline(config.baseline, list(dict.fromkeys(run.label for run in runs)))
    test = the_test_set((run.label, run.data) for run in runs)
    jobs = [job_of_run(config, run.label, run.seed, run.folder, test, []) for run in runs]
    return jobs, test


def read_run(given: str) -> TrainedRun:
    """The run behind `folder`, which is called what its settings say, or behind `label:folder`."""
    label, colon, folder = given.partition(":")
    if not colon or "/" in label:
        label, folder = "", given
    else:
        check_label(label, "runs")
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise UserError(f"`runs`: {folder} is no run folder (it has no {CONFIG})")
    settings = load_plain(path)
    try:
        check_finished(folder, settings)
        data = read_data(Path(folder))
        compared = {
            **settings,
            "windows": asdict(WindowOptions(**settings.get("windows", {}))),  # older runs have none
            "data": asdict(data),
            "initial_weights": bool(settings.get("initial_weights")),  # each seed's own
            "corpus": read_json(Path(folder) / "environment.json").get("corpus"),
        }
        name = label or str(settings["name"])
        check_label(name, "name")
        return TrainedRun(folder, name, int(settings["seed"]), data, leaves(compared))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a training configuration: {error}") from None


def check_finished(folder: str, settings: Mapping[str, Any]) -> None:
    """Raise UserError where a training was stopped, or killed, also while it was extended."""
    summary = read_json(Path(folder) / "summary.json")
    reached, wanted = summary.get("updates", 0), settings["train"]["max_updates"]
    ended = summary.get("ended")
    if not isinstance(reached, int):
        raise UserError(f"{folder}/summary.json: `updates` must be a number, but is {reached!r}")
    if ended != "patience" and not (ended == "max_updates" and reached >= wanted):
        raise UserError(
            f"`runs`: the training of {folder} is not finished: continue it with the command "
            f"that began it (reluformer-train ... seed={settings['seed']} run={folder})"
        )
    read_metrics(Path(folder), "valid")  # whether it is whole, before any work


def leaves(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings within settings by their full names: `optim.learning_rate`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        found |= leaves(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def check_rows(runs: Sequence[TrainedRun]) -> None:
    """Raise UserError unless the runs of each label are one system with different seeds."""
    for one, other in combinations(runs, 2):
        if one.label != other.label:
            continue
        differences = differing(one.settings, other.settings)
        if one.seed == other.seed:
            reason = f"with seed {one.seed}"
        elif differences:
            reason = f"but differ in {', '.join(differences[:SHOWN])}"
        else:
            continue
        raise UserError(
            f"`runs` {one.folder} and {other.folder} are both {one.label} {reason}: give them "
            f"labels, runs=[{one.label}_a:{one.folder},{one.label}_b:{other.folder}]"
        )


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """`setting (its values)` of whatever makes two systems of them."""
    return [
        f"{name} ({one.get(name)} and {other.get(name)})"
        for name in dict.fromkeys([*one, *other])
        if name not in MAY_DIFFER and one.get(name) != other.get(name)
    ]
