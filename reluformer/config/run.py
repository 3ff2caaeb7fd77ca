"""A run folder: making one by training, and reading one back.

config.yaml       all settings, resolved
environment.json  versions, git commit, digest of the corpus
vocabulary*       copies, so that the run translates without its corpus
metrics.jsonl, tensorboard/, checkpoints/
summary.json      how training ended
"""

import json
import os
import platform
import shutil
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from reluformer import __version__
from reluformer.config.build import build_model
from reluformer.config.data import DataConfig
from reluformer.config.instantiate import load_plain
from reluformer.config.model import ModelConfig
from reluformer.config.training import TrainConfig, changed_settings
from reluformer.console import console
from reluformer.data.batch import collate
from reluformer.data.batching import BatchStream, plan_batches
from reluformer.data.corpus import Corpus
from reluformer.data.vocabulary import Vocabulary
from reluformer.errors import UserError
from reluformer.model.transformer import Transformer, count_parameters
from reluformer.training.calibration import calibrate_gamma
from reluformer.training.checkpoint import checkpoint_path, load_weights
from reluformer.training.loop import Training
from reluformer.training.loss import Criterion
from reluformer.training.memory import keep_freed_memory
from reluformer.training.parallel import Processes, join_processes
from reluformer.training.validation import Validation

VOCABULARIES = {"source": "vocabulary.source.model", "target": "vocabulary.target.model"}


@dataclass(frozen=True)
class Run:
    """A trained model with all that translating needs."""

    folder: Path
    model: Transformer
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    data: DataConfig


def load_run(
    folder: Path | str,
    checkpoint: str = "best",
    device: str = "auto",
    allow: tuple[str, ...] = (),
) -> Run:
    """Read back the model of a run folder, ready to translate, in evaluation mode.

    `checkpoint`: best, last, avg_<n> or a number of updates. Nothing in the folder decides what
    code runs: its configuration is plain data and may only name classes of this package, or of
    modules in `allow`.
    """
    folder = Path(folder)
    if not (folder / "config.yaml").exists():
        raise UserError(f"{folder}: no run folder (it has no config.yaml)")
    config = load_plain(folder / "config.yaml")
    try:
        model_config = ModelConfig(**config["model"])
        data = DataConfig(**config["data"])
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / 'config.yaml'}: not a training configuration: {error}"
        ) from None
    source = Vocabulary.load(folder / VOCABULARIES["source"])
    target = Vocabulary.load(folder / VOCABULARIES["target"])
    model = build_model(model_config, len(source), len(target), data.joint_vocabulary, allow)
    load_weights(checkpoint_path(folder, checkpoint), model)
    model.to(choose_device(device)).eval()
    return Run(folder, model, source, target, data)


def train_run(config: TrainConfig) -> None:
    """Train in the run's folder from where it stands to its end."""
    keep_freed_memory()
    if config.threads:
        torch.set_num_threads(config.threads)
    processes = join_processes(choose_device(config.device))
    try:
        folder = Path(config.run)
        if processes.is_first:
            with locked(folder):
                _train_in(folder, config, processes)
        else:
            _train_in(folder, config, processes)
    finally:
        processes.leave()


def _train_in(folder: Path, config: TrainConfig, processes: Processes) -> None:
    corpus = Corpus.open(config.data.binary)
    if processes.is_first:
        prepare_folder(folder, config, corpus)
    processes.wait()
    torch.manual_seed(config.seed)
    model = build_model(
        config.model,
        len(corpus.source_vocabulary),
        len(corpus.target_vocabulary),
        config.data.joint_vocabulary,
        tuple(config.allow),
    ).to(processes.device)
    training = _training(folder, config, corpus, model, processes)
    if not training.resume():
        _calibrate(model, config, corpus, processes)
    if processes.is_first:
        _announce(folder, model, config, training)
    reason = training.fit()
    if processes.is_first:
        _summarise(folder, model, training, reason)


def _training(
    folder: Path, config: TrainConfig, corpus: Corpus, model: Transformer, processes: Processes
) -> Training:
    stream = BatchStream(
        corpus.split("train"),
        config.train.max_tokens,
        config.seed,
        processes.rank,
        processes.world_size,
    )
    validation = None
    if "valid" in corpus.manifest.splits:
        validation = Validation(
            corpus.split("valid"),
            corpus.target_vocabulary,
            max_tokens=config.train.valid_max_tokens,
            sentences=config.train.valid_sentences,
            tokenised=config.data.moses,
            decode=config.decode,
            precision=config.train.precision,
        )
    return Training(
        folder,
        Criterion(model, config.loss.label_smoothing),
        stream,
        validation,
        processes,
        config.train,
        config.optim,
        config.loss,
        config.seed,
    )


def _calibrate(
    model: Transformer, config: TrainConfig, corpus: Corpus, processes: Processes
) -> None:
    split, options = corpus.split("train"), config.train
    plan = plan_batches(split.source_lengths, split.target_lengths, options.max_tokens, config.seed)
    batches = [
        collate(split, ids).to(processes.device) for ids in plan[: options.calibration_batches]
    ]
    sites = calibrate_gamma(model, batches, options.calibration_ratio)
    if sites and processes.is_first:
        console.print(f"calibrated gamma at {sites} attention sites")


def prepare_folder(folder: Path, config: TrainConfig, corpus: Corpus) -> None:
    """Create the run folder, or make sure that it is this very run's."""
    now = asdict(config)
    path = folder / "config.yaml"
    environment = folder / "environment.json"
    if path.exists():
        changes = changed_settings(load_plain(path), now)
        before = json.loads(environment.read_text(encoding="utf-8"))["corpus"]
        if before != corpus.manifest.digest:
            changes.append(f"corpus {config.data.binary}: its content is not what it was")
        if changes:
            raise UserError(
                f"{folder} holds a run with other settings ({'; '.join(changes)}): take another "
                "`name` or `run`, or delete that folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for side, vocabulary in (
        ("source", corpus.source_vocabulary),
        ("target", corpus.target_vocabulary),
    ):
        (folder / VOCABULARIES[side]).write_bytes(vocabulary.model)
    if not environment.exists():
        environment.write_text(json.dumps(describe_environment(corpus), indent=2) + "\n")
    temporary = folder / ".config.yaml.tmp"
    temporary.write_text(yaml.safe_dump(now, sort_keys=False, allow_unicode=True), "utf-8")
    temporary.replace(path)


def describe_environment(corpus: Corpus) -> dict[str, Any]:
    """What this run's numbers depend on beside its configuration."""
    root = Path(__file__).resolve().parents[2]
    commit = None
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    return {
        "reluformer": __version__,
        "commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "corpus": corpus.manifest.digest,
    }


def choose_device(device: str) -> torch.device:
    """`auto` takes an NVIDIA GPU where PyTorch sees one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("`device` is cuda, but PyTorch sees no CUDA device: take cpu or auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


class locked:  # noqa: N801 - used as a verb
    """One process trains in a folder at a time; the others learn who does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._holder = folder / ".holder"
        self._folder = folder
        self._lock = FileLock(folder / ".lock")

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            try:
                holder = self._holder.read_text(encoding="utf-8").strip()
            except OSError:
                holder = "another process"
            raise UserError(
                f"{self._folder} is in use by {holder}: wait for it or stop it"
            ) from None
        self._holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", "utf-8")

    def __exit__(self, *_: object) -> None:
        self._holder.unlink(missing_ok=True)
        self._lock.release()


def _announce(folder: Path, model: Transformer, config: TrainConfig, training: Training) -> None:
    progress, processes = training.progress, training.processes
    left = config.train.max_updates - progress.update
    console.print(
        f"[bold]{folder}[/bold]: {count_parameters(model):,} parameters, "
        f"{processes.world_size} process(es) on {processes.device}, {config.train.precision}; "
        f"update {progress.update}, {max(left, 0)} to go"
    )


def _summarise(folder: Path, model: Transformer, training: Training, reason: str) -> None:
    progress = training.progress
    summary = {
        "ended": reason,
        "updates": progress.update,
        "best_update": progress.best_update,
        "best_metric": training.options.best_metric,
        "best_value": progress.best_metric,
        "parameters": count_parameters(model),
        "target_tokens": progress.target_tokens,
        "minutes": progress.training_seconds / 60,
        "tokens_per_second": progress.target_tokens / max(progress.training_seconds, 1e-9),
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
    if reason == "stopped":
        console.print(f"stopped at update {progress.update}; the same command continues from there")
    else:
        console.print(
            f"finished ({reason}) at update {progress.update}; best at {progress.best_update}. "
            f"Next: reluformer-translate run={folder}"
        )
