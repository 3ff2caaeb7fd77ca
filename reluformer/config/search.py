"""Settings of `reluformer-search`, and the search: Optuna proposes, reluformer-train answers."""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reluformer.checks import check_choice, check_not_negative, check_positive
from reluformer.comparison.jobs import INTERRUPTED, ended, last_line
from reluformer.comparison.supervision import end_group, start_group
from reluformer.config.compare import OWN_OF_TRAINING, as_typed, refuse_own, split
from reluformer.config.run_folder import RunLock
from reluformer.config.sites import at_sites
from reluformer.config.train_run import check_corpus
from reluformer.config.training import TrainConfig
from reluformer.console import console
from reluformer.data.corpus import Corpus
from reluformer.errors import UserError, one_line
from reluformer.training.metrics import read_metrics

DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {
    "nll": "minimize",
    "loss": "minimize",
    "bleu": "maximize",
}
HOPELESS = 3  # failures, and no success, at the start of a call that end it


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
    allow: list[str]

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, tuple(DIRECTIONS))
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        check_positive("trials", self.trials)
        check_not_negative("seed", self.seed)
        if not self.space:
            raise UserError("`space` must name one setting at least; give a file: sweep=NAME")
        for name, values in self.space.items():
            check_dimension(name, values)
        refuse_own([f"{name}=" for name in self.space], "space", OWN_OF_TRAINING)
        for name in ("train", "changes"):
            refuse_own(split(getattr(self, name), name), name, OWN_OF_TRAINING)


@dataclass(frozen=True)
class Trial:
    """A finished trial: its number, its settings, and the metric or why it failed."""

    number: int
    settings: dict[str, Any]
    value: float | None
    failure: str = ""


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
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    if not numbers or not low < high or (values.get("log") and low <= 0):
        raise UserError(
            f"`space.{name}` must have numbers with 0 < low < high for log, low < high otherwise, "
            f"but is {values!r}"
        )


def first_settings(space: dict[str, Any]) -> dict[str, Any]:
    """The first choice or the lowest value of each dimension."""
    return {
        name: values[0] if isinstance(values, list) else values["low"]
        for name, values in space.items()
    }


def check_training(config: SearchConfig, training: TrainConfig) -> None:
    """Raise UserError unless trainings of this kind report the metric."""
    corpus = Corpus.open(training.data.binary)
    check_corpus(corpus, training)
    if "valid" not in corpus.manifest.splits:
        raise UserError(
            f"`metric` {config.metric} is one of the validation split, which {corpus.folder} does "
            "not have: preprocess it with valid files"
        )
    if config.metric == "bleu" and not training.train.valid_sentences:
        raise UserError(
            "`metric` is bleu, but `train.valid_sentences` is 0, so nothing is translated: add "
            'changes="train.valid_sentences=200", or choose metric=nll'
        )


def search(config: SearchConfig, options: Sequence[str] = ()) -> Iterator[Trial]:
    """Run the trials that are still to do, one after another; each as it ends.

    The study lies in <output>/study.db and each training in <output>/runs/trial<number>. A trial
    that was stopped is continued before new ones are proposed. `options` go to every training.
    Raises KeyboardInterrupt where a training was stopped, UserError where another process is at
    work in the folder or the first trials of this call all fail: then the rest would too.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UserError("searching needs Optuna: pip install 'reluformer[sweep]'")
    lock = RunLock(Path(config.output))
    lock.acquire()
    try:
        with study_at_hand(config):
            yield from run_trials(config, options)
    except KeyboardInterrupt:
        console.print("stopped; the same command continues from there")
        raise
    finally:
        lock.release()


def run_trials(config: SearchConfig, options: Sequence[str]) -> Iterator[Trial]:
    from optuna.trial import TrialState

    study = open_study(config)
    tried: list[Trial] = []
    while asked := next_trial(study, config):
        trial = run_trial(config, options, asked.number, propose(asked, config.space))
        state = TrialState.FAIL if trial.value is None else TrialState.COMPLETE
        study.tell(trial.number, trial.value, state)
        tried.append(trial)
        yield trial
        if len(tried) == HOPELESS and all(one.value is None for one in tried):
            raise UserError(
                f"the first {HOPELESS} trials all failed, the last one by: {trial.failure} "
                f"(all of it in {trial_folder(config, trial.number) / 'log.txt'})"
            )


@contextmanager
def study_at_hand(config: SearchConfig) -> Iterator[None]:
    """Raise UserError where the study cannot be read or written, whichever call finds it."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        said = one_line(str(cause or error).partition("\n")[0])
        raise UserError(
            f"{Path(config.output) / 'study.db'} cannot be used ({said}): if another program has "
            "it, wait for that; if it is damaged, put a whole one back, or name another `output`"
        ) from None


def open_study(config: SearchConfig) -> Any:
    """The study in the output folder, new or continued."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "study.db"
    if (folder / "runs").exists() and not (database.exists() and database.stat().st_size):
        raise UserError(f"{database} is lost: put it back, or name another `output`")
    study = optuna.create_study(
        storage=f"sqlite:///{database}",
        study_name="search",  # whatever `name` is: a folder has room for the runs of one
        direction=DIRECTIONS[config.metric],
        load_if_exists=True,
    )
    names = ("train", "changes", "space", "metric", "seed")
    made_for = {name: getattr(config, name) for name in names}  # what its values depend on
    before = study.user_attrs.get("made_for", made_for)
    different = [f"`{name}`" for name in names if before.get(name) != made_for[name]]
    if different:
        raise UserError(
            f"`output` {folder} holds a search with another {' and '.join(different)}: name "
            "another folder, or remove that one"
        )
    study.set_user_attr("made_for", made_for)
    return study


def next_trial(study: Any, config: SearchConfig) -> Any:
    """The trial that was begun and has not ended, else a new one; None when all are done.

    Each trial's random numbers are those of its own number, so that a search proposes the same
    whether it was interrupted or not.
    """
    import optuna

    trials = study.trials
    seed = np.random.SeedSequence([config.seed, len(trials)]).generate_state(1)[0]
    study.sampler = optuna.samplers.TPESampler(seed=int(seed))
    begun = [trial for trial in trials if not trial.state.is_finished()]
    if begun:
        return optuna.trial.Trial(study, begun[0]._trial_id)
    return study.ask() if len(trials) < config.trials else None


def propose(trial: Any, space: dict[str, Any]) -> dict[str, Any]:
    """A value for each dimension; a whole number where both ends of a range are."""
    settings: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, list):
            settings[name] = trial.suggest_categorical(name, values)
        else:
            low, high, log = values["low"], values["high"], bool(values.get("log"))
            whole = isinstance(low, int) and isinstance(high, int)
            suggest = trial.suggest_int if whole else trial.suggest_float
            settings[name] = suggest(name, low, high, log=log)
    return settings


def overrides_of(config: SearchConfig, settings: dict[str, Any]) -> list[str]:
    """What one would type after reluformer-train."""
    shared = [*split(config.train, "train"), *split(config.changes, "changes")]
    shared += [f"allow=[{','.join(config.allow)}]"] if config.allow else []
    typed = [f"{name}={as_typed(value)}" for name, value in settings.items()]
    return [*shared, *(one for override in typed for one in at_sites(override))]


def run_trial(
    config: SearchConfig, options: Sequence[str], number: int, settings: dict[str, Any]
) -> Trial:
    """Train, or continue to; the best value of the metric counts."""
    folder = trial_folder(config, number)
    refuse_live(folder)
    arguments = [*overrides_of(config, settings), f"seed={config.seed}", f"run={folder}"]
    arguments += [f"device={config.device}", *options]
    arguments += [f"threads={config.threads}"] if config.threads else []
    log = folder / "log.txt"
    code = run_to_its_end([sys.executable, "-m", "reluformer.cli.train", *arguments], log)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        return Trial(number, settings, None, f"{last_line(log)} ({ended(code)})")
    value = best_value(folder, config.metric)
    failure = f"no finite {config.metric} in {folder}/metrics.jsonl" if value is None else ""
    return Trial(number, settings, value, failure)


def run_to_its_end(command: list[str], log: Path) -> int:
    """A training's exit status; where the search is stopped, it may save first."""
    with log.open("ab") as file:
        process = start_group(command, file)
        try:
            return process.wait()
        except KeyboardInterrupt:
            end_group(process)
            raise


def refuse_live(folder: Path) -> None:
    """Raise UserError if a training has outlived the search that began it and is still at work."""
    lock = RunLock(folder)
    lock.acquire()
    lock.release()


def best_value(run: Path, metric: str) -> float | None:
    """The best of a run's validations; None where there was none, or none was finite."""
    found = [entry.get(metric) for entry in read_metrics(run, "valid")]
    best = max if DIRECTIONS[metric] == "maximize" else min
    return best((value for value in found if value is not None), default=None)


def trial_folder(config: SearchConfig, number: int) -> Path:
    return Path(config.output) / "runs" / f"trial{number}"


def all_trials(config: SearchConfig) -> list[Trial]:
    """Every trial that has ended, the best first and failed ones last."""
    sign = 1 if DIRECTIONS[config.metric] == "minimize" else -1
    with study_at_hand(config):
        trials = [
            Trial(trial.number, trial.params, trial.value)
            for trial in open_study(config).trials
            if trial.state.is_finished()
        ]
    return sorted(trials, key=lambda one: (one.value is None, sign * (one.value or 0.0)))
