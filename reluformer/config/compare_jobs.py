"""From the settings of a comparison to the jobs that it consists of."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reluformer.comparison.jobs import Job, Step
from reluformer.config.compare import CompareConfig, check_baseline, split
from reluformer.config.data import DataConfig
from reluformer.config.instantiate import load_plain
from reluformer.config.run import read_data
from reluformer.config.run_folder import CONFIG
from reluformer.config.test_set import TestSet
from reluformer.config.training import TrainConfig
from reluformer.data.corpus import MANIFEST, Corpus
from reluformer.errors import UserError
from reluformer.training.checkpoint import checkpoint_path


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
    test = the_test_set({label: training.data for label, training in trainings.items()})
    for training in trainings.values():
        Corpus.open(training.data.binary)
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
    passing = ("name", "run", "device", "threads")
    return {**{key: value for key, value in training.items() if key not in passing}, "seed": seed}


def run_jobs(config: CompareConfig) -> tuple[list[Job], TestSet]:
    """A job for each run folder that was given; what they are called is in their settings."""
    jobs: dict[str, Job] = {}
    corpora: dict[str, DataConfig] = {}
    named = [read_run(Path(folder)) for folder in config.runs]
    for label, _, data in named:
        corpora.setdefault(label, data)
    test = the_test_set(corpora)
    for folder, (label, seed, data) in zip(config.runs, named, strict=True):
        the_test_set({label: corpora[label], folder: data})
        job = job_of_run(config, label, seed, folder, test, [])
        if job.title in jobs:
            raise UserError(
                f"`runs` {jobs[job.title].run} and {folder} are both {label} with seed {seed}: "
                "compare them in two calls, or change `name` in the config.yaml of one"
            )
        jobs[job.title] = job
    check_baseline(config.baseline, list(corpora))
    return list(jobs.values()), test


def read_run(folder: Path) -> tuple[str, int, DataConfig]:
    """The label, seed and corpus of a trained run."""
    if not (folder / CONFIG).is_file():
        raise UserError(f"`runs`: {folder} is no run folder (it has no {CONFIG})")
    settings = load_plain(folder / CONFIG)
    try:
        return str(settings["name"]), int(settings["seed"]), read_data(folder)
    except (KeyError, ValueError) as error:
        raise UserError(f"{folder / CONFIG}: not a training configuration: {error}") from None


def the_test_set(corpora: Mapping[str, DataConfig]) -> TestSet:
    """The one test set of all; UserError where two systems have different ones."""
    (first, data), *others = corpora.items()
    test = TestSet.of(data)
    for label, other in others:
        if TestSet.of(other) != test:
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
