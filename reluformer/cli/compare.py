"""reluformer-compare: systems side by side, from a suite or from trained runs."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from reluformer.cli import train, translate
from reluformer.cli.app import command, compose, config_dir_option
from reluformer.cli.arguments import as_given, quote
from reluformer.cli.launchers import check_launcher
from reluformer.comparison.jobs import (
    DONE,
    FAILED,
    Job,
    Outcome,
    job_of,
    read_json,
    run_job,
    write_plan,
)
from reluformer.comparison.supervision import Supervisor, at_once, free_gb, share_of_cores
from reluformer.config.compare import CompareConfig, expand_systems, split
from reluformer.config.compare_jobs import (
    blaming,
    check_initial_weights,
    check_training,
    suite_jobs,
)
from reluformer.config.compare_report import measure, report
from reluformer.config.compare_runs import run_jobs
from reluformer.config.groups import group_options
from reluformer.config.provenance import write_provenance
from reluformer.config.test_set import TestSet
from reluformer.config.training import TrainConfig
from reluformer.config.translation import TranslateConfig
from reluformer.console import console
from reluformer.data.processes import available_cores
from reluformer.errors import UserError
from reluformer.threads import set_threads

LAUNCHER = ("hydra/launcher", "hydra.launcher")  # maybe after + or ++


@command("compare", CompareConfig)
def main(config: CompareConfig) -> None:
    """Compare systems: train the runs of a suite, or take run folders, and write one folder.

    Each system of the suite is trained with each seed, its test set translated and scored; the
    folder then holds tables (Markdown, CSV, LaTeX, HTML), pictures, all numbers and what it takes
    to get them again. Killed or stopped, the same command continues; what fails is listed and
    the others go on. A new file in conf/attention is part of every suite that says attention: all.

    Runs go one after another, `jobs` of them at a time, or by a launcher of Hydra's, such as
    hydra/launcher=submitit_slurm hydra.launcher.partition=gpu. Run folders of the same name,
    settings and corpus with different seeds make one row; label:folder calls a row otherwise.

    Examples:
        reluformer-compare suite=quick jobs=2
        reluformer-compare suite=ablation seeds=[1,2,3] changes="train.max_updates=1000"
        reluformer-compare runs=[runs/embedded/reluformer-seed1,runs/embedded/softmax-seed1]
        reluformer-compare runs=[old:before/softmax-seed1,new:after/softmax-seed1] baseline=old
        reluformer-compare suite=iwslt14_de_en hydra/launcher=submitit_slurm device=cuda
    """
    if config.job is not None:
        work(Path(config.output), config.job)
        return
    launcher, number = launcher_settings(config)
    config = with_threads(config, number)
    jobs, test = plan(config)
    with Supervisor(Path(config.output)) as supervisor:
        write_plan(supervisor.folder / "plan.json", jobs, asdict(config))
        outcomes = carry_out(jobs, supervisor, launcher)
        failures = [outcome for outcome in outcomes if outcome.status != DONE]
        if len(failures) == len(jobs) and (Path(config.output) / "results.json").exists():
            console.print(f"{config.output}: the tables of before stay")
        else:
            report(config, jobs, test, outcomes)
            write_provenance(config, jobs, test, typed())
            made = "table.md, table.csv, table.tex, table.html, results.json"
            console.print(f"{config.output}: {made}")
    if failures:
        said = "; ".join(f"{one.job}: {one.message}" for one in failures)
        raise UserError(f"{len(failures)} of {len(jobs)} runs failed: {said}")


def carry_out(jobs: list[Job], supervisor: Supervisor, launcher: list[str]) -> list[Outcome]:
    """Do what is left to do of the jobs, by the launcher; how each of them ended."""
    pending = [number for number, job in enumerate(jobs) if not job.is_finished]
    outcomes = {job.title: Outcome(job.title, DONE) for job in jobs}
    if pending:
        console.print(
            f"{len(pending)} of {len(jobs)} runs to do; each logs in "
            f"{Path(jobs[0].folder).parent}/<run>/log.txt"
        )
        line = launch_command(supervisor, pending, launcher)
        outcomes |= supervisor.run(line, [jobs[number] for number in pending])
    return list(outcomes.values())


def plan(config: CompareConfig) -> tuple[list[Job], TestSet]:
    """The jobs, after everything about them that can be checked beforehand."""
    translation = ["run=any", *split(config.translate, "translate")]
    compose("translate", translate.main, TranslateConfig, translation)
    if config.runs:
        return run_jobs(config)
    shared = [*split(config.train, "train"), *split(config.changes, "changes")]
    systems = expand_systems(config, group_options)
    overrides = {label: [*shared, *own] for label, own in systems.items()}
    options = config_dir_option()
    folder = options[-1] if options else None
    trainings = {}
    for label, own in overrides.items():
        named = [*own, f"name={label}"]
        with blaming(label):
            trainings[label] = compose("train", train.main, TrainConfig, named, folder)
    jobs, test = suite_jobs(config, overrides, trainings, options)
    for label, training in trainings.items():
        with blaming(label):
            check_training(config, training)
    for job in jobs:
        if trainings[job.label].initial_weights is not None:  # each seed may have its own
            own = [f"name={job.label}", f"seed={job.seed}", f"run={job.run}"]
            named = [*overrides[job.label], *own]
            with blaming(job.label):
                check_initial_weights(compose("train", train.main, TrainConfig, named, folder))
    return jobs, test


def work(output: Path, number: int) -> None:
    """One job, in a process of its own; how it ended goes into the output folder."""
    supervisor = Supervisor(output)
    written = read_json(supervisor.folder / "plan.json")
    if not 0 <= number < len(written.get("jobs", [])):
        raise UserError(f"`job` is a number of {output}'s plan, for this command's own calls")
    job, config = job_of(written["jobs"][number]), CompareConfig(**written["settings"])
    set_threads(config.threads)
    try:
        supervisor.report(run_job(job, supervisor.stopped, lambda job: measure(config, job)))
    except Exception as error:
        supervisor.report(Outcome(job.title, FAILED, " ".join(f"{error}".split())))
        raise


def launcher_settings(config: CompareConfig) -> tuple[list[str], int]:
    """What Hydra has to know of the way in which jobs are run: the user's choice, or joblib.

    And how many will run at the same time and share one machine's cores.
    """
    given = given_launcher()
    if given and config.jobs > 1:
        raise UserError(
            f"`jobs` is {config.jobs}, which is for runs on this machine by joblib: leave it out, "
            f"and say how many at a time in the settings of the launcher ({given[0]})"
        )
    if given:
        return given, shared_by(HydraConfig.get().launcher)
    number = at_once(config.jobs, config.memory_gb, lambda: free_gb(config.device))
    if number == 1:
        return [], 1
    check_launcher("joblib")
    return ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={number}"], number


def shared_by(launcher: Mapping[str, Any]) -> int:
    """How many jobs of a launcher share the cores: joblib's `n_jobs`; others give each its own."""
    number: int | None = launcher.get("n_jobs")
    if number is None:
        return 1
    return number if number > 0 else available_cores()


def with_threads(config: CompareConfig, number: int) -> CompareConfig:
    """Share the cores out among the runs that go on at the same time; one alone takes its own."""
    if config.threads is not None or number == 1:
        return config
    runs = len(config.runs) or len(config.seeds) * len(expand_systems(config, group_options))
    return replace(config, threads=share_of_cores(min(number, runs)))


def given_launcher() -> list[str]:
    """The overrides of Hydra's launcher on the command line."""
    overrides = HydraConfig.get().overrides.hydra
    return [one for one in overrides if one.lstrip("+").startswith(LAUNCHER)]


def launch_command(supervisor: Supervisor, numbers: list[int], launcher: list[str]) -> list[str]:
    """This command once more, as Hydra's multirun over the jobs."""
    return [
        *(sys.executable, "-m", "reluformer.cli.compare", "--multirun"),
        f"output={quote(str(supervisor.output))}",
        f"job={','.join(map(str, numbers))}",
        f"hydra.sweep.dir={quote(str(supervisor.folder))}",
        *launcher,
    ]


def typed() -> list[str]:
    """The command line."""
    overrides = [*HydraConfig.get().overrides.task, *given_launcher()]
    words = (as_given(override, CompareConfig) for override in overrides)
    return ["reluformer-compare", *words, *config_dir_option()]


if __name__ == "__main__":
    main()
