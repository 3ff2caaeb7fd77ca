"""Settings of `reluformer-search`, and the search: Optuna proposes, reluformer-train answers."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reluformer.checks import check_choice, check_not_negative, check_positive
from reluformer.config.compare import at_sites, split
from reluformer.console import console
from reluformer.errors import UserError
from reluformer.training.metrics import read_metrics

DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {
    "nll": "minimize",
    "loss": "minimize",
    "bleu": "maximize",
}
INTERRUPTED = 130


@dataclass
class SearchConfig:
    """What is searched: a file of conf/sweep sets `name`, `train` and `space`."""

    name: str
    output: str  # folder of the study and of its runs
    train: str  # overrides of reluformer-train that all trials share
    changes: str  # more of them, after those
    space: dict[str, Any]  # setting -> {low, high, log} or a list of choices
    metric: str  # of the validation split: nll | loss | bleu; its best value counts
    trials: int  # in all, not in addition
    seed: int  # of the proposals and of every training
    threads: int | None
    device: str

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, tuple(DIRECTIONS))
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        check_positive("trials", self.trials)
        check_not_negative("seed", self.seed)
        if not self.space:
            raise UserError("`space` must name one setting at least; give a file: sweep=NAME")
        for name, values in self.space.items():
            check_dimension(name, values)


@dataclass(frozen=True)
class Trial:
    """A finished trial: its number, its settings, and the metric (None where it failed)."""

    number: int
    settings: dict[str, Any]
    value: float | None


def check_dimension(name: str, values: Any) -> None:
    """Raise UserError unless these are choices or a range."""
    if isinstance(values, list) and values:
        return
    if not isinstance(values, dict) or not {"low", "high"} <= set(values) <= {"low", "high", "log"}:
        raise UserError(
            f"`space.{name}` must be a list of choices or have low, high and maybe log, "
            f"but is {values!r}"
        )
    low, high = values["low"], values["high"]
    if not low < high or (values.get("log") and low <= 0):
        raise UserError(f"`space.{name}` must have 0 < low < high for log, low < high otherwise")


def search(config: SearchConfig) -> Iterator[Trial]:
    """Run the trials that are still to do, one after another; each as it ends.

    The study lies in <output>/study.db and each training in <output>/runs/trial<number>. A trial
    that was stopped is continued before new ones are proposed. Raises KeyboardInterrupt where a
    training was stopped, UserError where the first trial of all fails: then all of them would.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UserError("searching needs Optuna: pip install 'reluformer[sweep]'")
    study = open_study(config)
    while True:
        begun = [trial for trial in study.trials if trial.state.name == "RUNNING"]
        ended = [trial for trial in study.trials if trial.state.is_finished()]
        if begun:
            number, settings = begun[0].number, begun[0].params
        elif len(ended) < config.trials:
            asked = study.ask()
            number, settings = asked.number, propose(asked, config.space)
        else:
            return
        value = run_trial(config, number, settings)
        if value is None and not ended:
            log = trial_folder(config, number) / "log.txt"
            raise UserError(f"the first trial failed: {last_line(log)} (all of it in {log})")
        if value is None:
            study.tell(number, state=failed())
        else:
            study.tell(number, value)
        yield Trial(number, settings, value)


def open_study(config: SearchConfig) -> Any:
    """The study in the output folder, new or continued."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}",
        study_name=config.name,
        sampler=optuna.samplers.TPESampler(seed=config.seed),
        direction=DIRECTIONS[config.metric],
        load_if_exists=True,
    )
    made_for = {"train": config.train, "changes": config.changes, "space": config.space}
    before = study.user_attrs.get("made_for", made_for)
    if before != made_for:
        raise UserError(
            f"`output` {folder} holds a search with other `train`, `changes` or `space`: name "
            "another folder, or remove that one"
        )
    study.set_user_attr("made_for", made_for)
    return study


def propose(trial: Any, space: dict[str, Any]) -> dict[str, Any]:
    """A value for each dimension."""
    settings: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, list):
            settings[name] = trial.suggest_categorical(name, values)
        else:
            low, high, log = values["low"], values["high"], bool(values.get("log"))
            settings[name] = trial.suggest_float(name, low, high, log=log)
    return settings


def overrides_of(config: SearchConfig, settings: dict[str, Any]) -> list[str]:
    """What one would type after reluformer-train."""
    shared = [*split(config.train, "train"), *split(config.changes, "changes")]
    own = [one for name, value in settings.items() for one in at_sites(f"{name}={value}")]
    return [*shared, *own]


def run_trial(config: SearchConfig, number: int, settings: dict[str, Any]) -> float | None:
    """Train, or continue to; the best value of the metric, or None where training failed."""
    folder = trial_folder(config, number)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [*overrides_of(config, settings), f"seed={config.seed}", f"run={folder}"]
    arguments += [f"device={config.device}"]
    arguments += [f"threads={config.threads}"] if config.threads else []
    with (folder / "log.txt").open("ab") as log:
        command = [sys.executable, "-m", "reluformer.cli.train", *arguments]
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        console.print(f"trial {number}: {last_line(folder / 'log.txt')}")
        return None
    found = [entry[config.metric] for entry in read_metrics(folder, "valid")]
    values = [value for value in found if value is not None]
    if not values:
        return None
    return max(values) if DIRECTIONS[config.metric] == "maximize" else min(values)


def trial_folder(config: SearchConfig, number: int) -> Path:
    return Path(config.output) / "runs" / f"trial{number}"


def last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8").split("\n") if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "nothing was said"


def failed() -> Any:
    import optuna

    return optuna.trial.TrialState.FAIL


def all_trials(config: SearchConfig) -> list[Trial]:
    """Every trial that has ended, the best first and failed ones last."""
    sign = 1 if DIRECTIONS[config.metric] == "minimize" else -1
    trials = [
        Trial(trial.number, trial.params, trial.value)
        for trial in open_study(config).trials
        if trial.state.is_finished()
    ]
    return sorted(trials, key=lambda one: (one.value is None, sign * (one.value or 0.0)))
