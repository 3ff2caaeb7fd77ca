"""From the settings of a comparison to the jobs that it consists of."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from reluformer.comparison.jobs import Job, Step
from reluformer.config.build import build_model
from reluformer.config.compare import CompareConfig, split
from reluformer.config.data import DataConfig
from reluformer.config.initial import find_initial_weights
from reluformer.config.test_set import TestSet
from reluformer.config.train_run import as_prepared, check_corpus, check_lengths, open_splits
from reluformer.config.training import TrainConfig
from reluformer.data.corpus import MANIFEST, Corpus
from reluformer.errors import UserError
from reluformer.training.checkpoint import checkpoint_path

PASSING = ("name", "run", "device", "threads")  # settings that no number should depend on


def suite_jobs(
    config: CompareConfig,
    overrides: Mapping[str, list[str]],
    trainings: Mapping[str, TrainConfig],
    options: Sequence[str],
) -> tuple[list[Job], TestSet]:
    """A job for each system and seed, trained in the output folder, one seed after another.

    `overrides` are what one would type for each system and `trainings` what that comes to;
    `options` go to every command that reads `conf/`.
    """
    test = the_test_set((label, training.data) for label, training in trainings.items())
    jobs = []
    for seed in config.seeds:
        for label, training in trainings.items():
            folder = f"{config.output}/runs/{label}-seed{seed}"
            own = [f"name={label}", f"seed={seed}", f"run={folder}"]
            train = Step(
                command="train",
                arguments=[*overrides[label], *own, *device_settings(config), *options],
                settings=lasting(asdict(training), seed),
                inputs=[f"{training.data.binary}/{MANIFEST}"],
                output=f"{folder}/summary.json",
            )
            jobs.append(job_of_run(config, label, seed, folder, test, [train]))
    return jobs, test


def lasting(training: dict[str, Any], seed: int) -> dict[str, Any]:
    """The settings that a run's numbers depend on."""
    return {**{key: value for key, value in training.items() if key not in PASSING}, "seed": seed}


def check_training(config: CompareConfig, training: TrainConfig) -> None:
    """Raise UserError for what would end a system's training at once, or be missing after it."""
    corpus = Corpus.open(training.data.binary)
    training = as_prepared(training, corpus)
    check_corpus(corpus, training)
    sizes = len(corpus.source_vocabulary), len(corpus.target_vocabulary)
    allow = (*training.allow, *config.allow)
    # Without memory; a class of the user's own may need real numbers, and then tells in training.
    with torch.device("meta"), suppress(RuntimeError):
        build_model(training.model, *sizes, training.data.joint_vocabulary, allow)
    splits = open_splits(corpus, training.windows)
    check_lengths(corpus, splits, training.windows, training.model.max_positions)
    check_average(config, training)


def check_initial_weights(training: TrainConfig) -> None:
    """Raise UserError if a run could not begin, or did not, with the weights that it names."""
    find_initial_weights(training, Corpus.open(training.data.binary))


def check_average(config: CompareConfig, training: TrainConfig) -> None:
    """Raise UserError if training keeps fewer checkpoints than are to be averaged."""
    options = training.train
    kept = min(options.keep_checkpoints, options.max_updates // options.save_interval)
    if config.average_last > kept:
        raise UserError(
            f"`average_last` is {config.average_last}, but of {options.max_updates} updates "
            f"{kept} checkpoints would be kept: lower it, or change `train.save_interval` or "
            "`train.keep_checkpoints`"
        )


@contextmanager
def blaming(label: str) -> Iterator[None]:
    """Name the system in what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"system {label}: {error}") from None


def the_test_set(corpora: Iterable[tuple[str, DataConfig]]) -> TestSet:
    """The one test set of all systems; UserError where two of them have different ones."""
    (first, data), *others = corpora
    test = TestSet.of(data)
    for label, other in others:
        if TestSet.of(other).content != test.content:
            raise UserError(
                f"{first} and {label} have different test sets ({data.name}, "
                f"{data.source_lang}-{data.target_lang}; {other.name}, "
                f"{other.source_lang}-{other.target_lang}): their scores cannot be compared"
            )
    return test


def job_of_run(
    config: CompareConfig, label: str, seed: int, run: str, test: TestSet, before: list[Step]
) -> Job:
    """What there is to do for one run, after the steps that come `before`."""
    folder = f"{config.output}/runs/{label}-seed{seed}"
    last = config.average_last
    checkpoint = f"avg_{last}" if last else "best"
    weights = str(checkpoint_path(Path(run), checkpoint))
    hypothesis = f"{folder}/test.{test.target_lang}"
    steps = list(before)
    if last:
        arguments = [f"run={run}", f"last={last}"]
        steps.append(Step("average", arguments, arguments, [f"{run}/summary.json"], weights))
    made_by = [
        f"run={run}",
        f"checkpoint={checkpoint}",
        *test.translate_settings(),
        *split(config.translate, "translate"),
        f"output={hypothesis}",
    ]
    timed = [*made_by, f"timing={folder}/translation.json", *device_settings(config)]
    steps.append(Step("translate", timed, made_by, [weights, str(test.source)], hypothesis))
    scores = f"{folder}/scores.json"
    scored = [f"hypothesis={hypothesis}", *test.score_settings(), f"output={scores}"]
    references = [str(test.plain), str(test.treated)]
    steps.append(Step("score", scored, scored, [hypothesis, *references], scores))
    measured = Step(
        "measure",
        [],
        {"samples": config.samples},
        [weights, hypothesis, *references],
        f"{folder}/measures.json",
    )
    return Job(label, seed, run, folder, checkpoint, steps, measured)


def device_settings(config: CompareConfig) -> list[str]:
    """Where and with how many threads, and what may be built; where it is not the default."""
    settings = [] if config.device == "auto" else [f"device={config.device}"]
    settings += [f"threads={config.threads}"] if config.threads else []
    return settings + ([f"allow=[{','.join(config.allow)}]"] if config.allow else [])
