"""A run folder as training makes it, and what guards it.

config.yaml       all settings, resolved; written last, so a folder that has it is complete
environment.json  versions, git commit, whether code was changed since, digest of the corpus
vocabulary.*      copies, so that the run translates without its corpus
metrics.jsonl, tensorboard/, checkpoints/
summary.json      how training ended
shortlist.*       what translating with a short vocabulary has learnt from the corpus
"""

import json
import os
import platform
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from reluformer import __version__
from reluformer.config.instantiate import load_plain
from reluformer.config.training import TrainConfig, changed_settings
from reluformer.data.corpus import Corpus
from reluformer.data.vocabulary import SIDE_FILES
from reluformer.durable import write_json, write_whole
from reluformer.errors import UserError
from reluformer.training.checkpoint import checkpoint_path, saved_update

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
SHORTLIST = "shortlist.safetensors"

FRUITS = ("checkpoints", "metrics.jsonl", "summary.json")  # of training, which begins with CONFIG


def prepare_folder(
    folder: Path, config: TrainConfig, corpus: Corpus, initial: dict[str, Any] | None = None
) -> None:
    """Create the run folder, or make sure that it is this very run's.

    `initial` describes the weights that training is about to begin with, if they are another run's.
    """
    now = asdict(config)
    path = folder / CONFIG
    environment = folder / ENVIRONMENT
    if path.exists():
        try:
            changes = changed_settings(load_plain(path), now)
            before = json.loads(environment.read_bytes())["corpus"]
        except (KeyError, TypeError, ValueError, RecursionError):
            raise UserError(
                f"{folder} has a {CONFIG} or {environment.name} that training did not write: take "
                "another `name` or `run`, or delete that folder"
            ) from None
        if before != corpus.manifest.digest:
            changes.append(f"corpus {config.data.binary}: its content is not what it was")
        done = saved_update(checkpoint_path(folder, "last")) or 0
        if not changes and done > config.train.max_updates:
            raise UserError(
                f"{folder} has done {done} updates, but `train.max_updates` is "
                f"{config.train.max_updates}: give {done} or more, or another `name` or `run`"
            )
        if changes:
            raise UserError(
                f"{folder} holds a run with other settings ({'; '.join(changes)}): take another "
                "`name` or `run`, or delete that folder"
            )
    elif found := [name for name in FRUITS if (folder / name).exists()]:
        raise UserError(
            f"{folder} has {' and '.join(found)} but no {CONFIG}: it is another's, or a run that "
            "has lost its settings: take another `name` or `run`, or put the file back"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in [*folder.glob("*.tmp"), *folder.glob("checkpoints/*.tmp")]:
        unfinished.unlink()  # of a process that was killed
    for side, vocabulary in (
        ("source", corpus.source_vocabulary),
        ("target", corpus.target_vocabulary),
    ):
        write_whole(folder / SIDE_FILES[side], vocabulary.model)
    if not path.exists():
        begins = {"initial_weights": initial} if initial else {}
        write_json(environment, {**describe_environment(corpus), **begins})
    settings = yaml.safe_dump(now, sort_keys=False, allow_unicode=True)
    write_whole(path, settings.encode("utf-8"))


def check_not_of_run(output: Path) -> None:
    """Raise UserError if the output would replace a file that a run consists of."""
    place = output.resolve()
    in_checkpoints = place.parent.name == "checkpoints"
    folder = place.parent.parent if in_checkpoints else place.parent
    own = {CONFIG, ENVIRONMENT, "metrics.jsonl", "summary.json", SHORTLIST, *SIDE_FILES.values()}
    is_run = (folder / CONFIG).is_file() and (folder / "checkpoints").is_dir()
    if is_run and (in_checkpoints or place.name in own):
        raise UserError(f"`output` {output} is a file of the run itself: name another output")


def describe_environment(corpus: Corpus) -> dict[str, Any]:
    """What this run's numbers depend on beside its configuration."""
    manifest = corpus.manifest
    return {
        **describe_program(),
        "corpus": manifest.digest,
        "vocabularies": {side: one["sha256"] for side, one in manifest.vocabularies.items()},
        "length_ratio": manifest.length_ratio,
        "longest_sentence": manifest.longest_sentence,
    }


def describe_program() -> dict[str, Any]:
    """The code and the machine."""
    return {
        "reluformer": __version__,
        "commit": git("rev-parse", "HEAD") or None,
        "uncommitted_changes": uncommitted_changes(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def uncommitted_changes() -> bool | None:
    """Whether git knows other code or settings, new files included; None where there is no git."""
    if not git("rev-parse", "HEAD"):
        return None
    return bool(git("status", "--porcelain", "--untracked-files=all", "--", "reluformer", "conf"))


def git(*arguments: str) -> str:
    """What git says about the checkout that this code runs from; nothing where there is none."""
    root = Path(__file__).resolve().parents[2]
    if not ((root / ".git").exists() and shutil.which("git")):
        return ""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


class RunLock:
    """One process trains in a folder at a time; the others learn who does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._holder = folder / ".holder"
        self._lock = FileLock(folder / ".lock")

    def acquire(self) -> None:
        """Take the lock, or raise UserError that names who has it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            message = f"{self._folder} is in use by {self._named()}: wait for it or stop it"
            raise UserError(message) from None
        self._holder.unlink(missing_ok=True)  # of a process that was killed
        holder = f"process {os.getpid()} on {socket.gethostname()}\n"
        write_whole(self._holder, holder.encode())

    def _named(self) -> str:
        """Who has the lock; it may be about to say so."""
        for _ in range(20):
            with suppress(OSError):
                return self._holder.read_text(encoding="utf-8").strip()
            time.sleep(0.1)
        return "another process"

    def release(self) -> None:
        """Give the lock back, if this process has it."""
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            self._lock.release()
