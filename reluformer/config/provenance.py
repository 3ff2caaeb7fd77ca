"""What it takes to get a comparison's numbers again, as files in its folder."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

from reluformer.comparison.jobs import Job, read_json
from reluformer.config.compare import CompareConfig
from reluformer.config.instantiate import load_plain
from reluformer.config.run_folder import CONFIG, describe_program
from reluformer.config.test_set import TestSet
from reluformer.data.corpus import MANIFEST, Manifest
from reluformer.data.text import scan_text
from reluformer.durable import write_json, write_whole


def write_provenance(
    config: CompareConfig, jobs: Sequence[Job], test: TestSet, typed: Sequence[str]
) -> None:
    """reproduce.sh, settings.yaml, environment.json and requirements.txt."""
    folder = Path(config.output)
    settings = yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True)
    write_whole(folder / "settings.yaml", settings.encode("utf-8"))
    write_json(folder / "environment.json", environment(jobs, test))
    write_whole(folder / "requirements.txt", "".join(packages()).encode("utf-8"))
    write_whole(folder / "reproduce.sh", script(jobs, typed).encode("utf-8"))


def environment(jobs: Sequence[Job], test: TestSet) -> dict[str, Any]:
    """Code and machine of this report and of each run, hashes of texts and corpora."""
    files = dict.fromkeys([test.source, test.plain, test.treated])
    return {
        **describe_program(),
        "runs": {job.title: run_environment(Path(job.run)) for job in jobs},
        "test_set": {str(path): scan_text(path).sha256 for path in files},
        "corpora": corpora(jobs),
    }


def run_environment(run: Path) -> dict[str, Any]:
    """What a run was trained with, beside its settings; nothing of one that never began."""
    if not (run / CONFIG).is_file():
        return {}
    recorded, settings = read_json(run / "environment.json"), load_plain(run / CONFIG)
    device = settings.get("device")
    if device == "auto":
        device = "cuda" if recorded.get("accelerator") else "cpu"
    return {**recorded, "device": device, "threads": settings.get("threads")}


def corpora(jobs: Sequence[Job]) -> dict[str, Any]:
    """Of each corpus that a run was trained on: hashes of texts and vocabularies, and its own."""
    found: dict[str, Any] = {}
    for job in jobs:
        path = Path(job.run) / CONFIG
        if not path.is_file():
            continue
        binary = Path(load_plain(path)["data"]["binary"])
        if str(binary) not in found and (binary / MANIFEST).is_file():
            manifest = Manifest.load(binary / MANIFEST)
            found[str(binary)] = {
                "digest": manifest.digest,
                "inputs": manifest.inputs,
                "vocabularies": manifest.vocabularies,
            }
    return found


def packages() -> list[str]:
    """Every installed package with its version, as pip reads them."""
    lines = {f"{one.metadata['Name'].lower()}=={one.version}\n" for one in distributions()}
    return sorted(lines)


def script(jobs: Sequence[Job], typed: Sequence[str]) -> str:
    """The command that was typed, and in comments all commands that it stands for."""
    lines = [
        "#!/usr/bin/env bash",
        "# Makes the numbers of this folder again. Run it where this command was typed, with the",
        "# packages of requirements.txt, and the code and corpora that environment.json names.",
        "set -euo pipefail",
        shlex.join(typed),
        "",
        "# which runs, one job after another:",
    ]
    for job in jobs:
        lines += [f"# {shlex.join(step.words)}" for step in job.steps]
    return "\n".join(lines) + "\n"
