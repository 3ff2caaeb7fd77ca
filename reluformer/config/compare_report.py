"""From finished jobs to the report: what is measured on each, and what is compared."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from reluformer.benchmark.report import Machine
from reluformer.comparison.jobs import DONE, Job, Outcome, read_json
from reluformer.comparison.report import PICTURES, Comparison, write_report
from reluformer.comparison.rows import Difference, finite, read_result
from reluformer.config.compare import CompareConfig
from reluformer.config.instantiate import load_plain
from reluformer.config.measuring import (
    SENTENCES,
    compare_texts,
    measure_model,
    measure_quality,
)
from reluformer.config.provenance import run_environment
from reluformer.config.run import choose_device, read_data
from reluformer.config.run_folder import CONFIG
from reluformer.config.test_set import TestSet
from reluformer.console import console


def measure(config: CompareConfig, job: Job) -> dict[str, Any]:
    """What the job's commands do not report themselves."""
    test = TestSet.of(read_data(Path(job.run)))
    quality = measure_quality(test, hypothesis_of(job, test), config.samples)
    statistics = measure_model(Path(job.run), job.checkpoint, config.device, config.allow)
    return finite({**quality, **statistics})


def hypothesis_of(job: Job, test: TestSet) -> Path:
    return Path(job.folder) / f"test.{test.target_lang}"


def report(
    config: CompareConfig, jobs: Sequence[Job], test: TestSet, outcomes: Sequence[Outcome]
) -> None:
    """Write tables and pictures of the jobs that are done, and list those that failed."""
    failures = [outcome for outcome in outcomes if outcome.status != DONE]
    failed = {outcome.job for outcome in failures}
    done = [job for job in jobs if job.title not in failed]
    comparison = Comparison(
        title=f"Comparison: {config.name}",
        results=[read_result(job, run_environment(Path(job.run))) for job in done],
        differences=differences(config, done, test),
        baseline=config.baseline,
        bleu=test.kind,
        failures=failures,
        conditions=[*joined_windows(done), *conditions(choose_device(config.device))],
    )
    draw(comparison, Path(config.output))
    write_report(comparison, Path(config.output))


def differences(config: CompareConfig, jobs: Sequence[Job], test: TestSet) -> list[Difference]:
    """Of each run to the baseline's run with the same seed, where there is one."""
    found: list[Difference] = []
    if config.baseline is None:
        return found
    for seed in dict.fromkeys(job.seed for job in jobs):
        paths = {job.label: hypothesis_of(job, test) for job in jobs if job.seed == seed}
        if config.baseline in paths:
            found += [
                Difference(
                    one.system,
                    seed,
                    {"BLEU": "bleu", "chrF2": "chrf"}[one.metric],
                    one.score - one.baseline_score,
                    one.p,
                )
                for one in compare_texts(test, paths, config.baseline, config.samples)
            ]
    return found


def joined_windows(jobs: Sequence[Job]) -> list[str]:
    """Which systems have windows that hold more than one document, and why they may need to."""
    joined = [
        job for job in jobs if (load_plain(Path(job.run) / CONFIG).get("windows") or {}).get("join")
    ]
    if not joined:
        return []
    (scores,) = read_json(Path(joined[0].folder) / "scores.json")["systems"]
    buckets = (scores.get("documents") or {}).get("buckets", [])
    total, *reaching = (
        sum(one["documents"] for one in buckets if int(one["words"].split("-")[0]) >= words)
        for words in (0, 512, 1024)
    )
    labels = ", ".join(dict.fromkeys(job.label for job in joined))
    return [
        f"Windows of {labels} cross from a document to the next of the same session "
        f"(windows.join): of {total:,} test documents {reaching[0]:,} have 512 words or more, "
        f"{reaching[1]:,} have 1,024."
    ]


def conditions(device: torch.device) -> list[str]:
    """How statistics, speed and memory were measured."""
    return [
        f"Statistics are of up to {SENTENCES} sentences of the validation set, spread evenly.",
        "Speeds were measured while each run was trained and translated, beside whatever else its "
        "machine did, other runs included; reluformer-bench compares speeds alone. Peak memory is "
        "that of the training process, or of the accelerator where one was used.",
        f"Machine of this report: {Machine.here(device)}.",
    ]


def draw(comparison: Comparison, folder: Path) -> None:
    """The pictures, where matplotlib is installed and there is something to show."""
    for name in PICTURES:
        (folder / name).unlink(missing_ok=True)
    if not find_spec("matplotlib"):
        console.print("pictures need matplotlib: pip install 'reluformer[analysis]'")
        return
    from reluformer.comparison.pictures import (
        draw_curves,
        draw_distance,
        draw_length,
        draw_quality_cost,
        draw_signals,
    )

    if comparison.results:
        draw_curves(comparison.results, folder / "curves.png")
        curves = [curve for result in comparison.results for curve in result.curves.items()]
        if any("/" in name and values for name, values in curves):  # of a site
            draw_signals(comparison.results, folder / "signals.png")
        if any("probes_right/all" in row.numbers for row in comparison.rows):
            draw_distance(comparison.rows, folder / "distance.png")
        if len({row.numbers.get("window_length") for row in comparison.rows} - {None}) > 1:
            draw_length(comparison.rows, comparison.bleu, folder / "length.png")
        draw_quality_cost(comparison.rows, comparison.bleu, folder / "quality_cost.png")
