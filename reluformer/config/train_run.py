"""Training from settings: corpus, model, loop, in the run's folder."""

import os
import shlex
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reluformer.config.build import build_model
from reluformer.config.initial import find_initial_weights
from reluformer.config.run import choose_device
from reluformer.config.run_folder import RunLock, prepare_folder
from reluformer.config.training import TrainConfig
from reluformer.config.vocabularies import LEARNT
from reluformer.console import console
from reluformer.data.assembly import different_settings
from reluformer.data.batch import collate
from reluformer.data.batching import BatchStream, padded_widths
from reluformer.data.corpus import Corpus, Split
from reluformer.data.stages import Stages
from reluformer.data.windows import WindowedSequences, WindowOptions, open_windows
from reluformer.durable import write_json
from reluformer.errors import TrainingFailedError, UserError, is_out_of_memory
from reluformer.model.transformer import Transformer, count_parameters
from reluformer.threads import set_threads
from reluformer.training.calibration import calibrate_gamma
from reluformer.training.checkpoint import checkpoint_path, load_weights
from reluformer.training.loop import Training, memory_in_use
from reluformer.training.loss import Criterion
from reluformer.training.memory import attention_cost, keep_freed_memory
from reluformer.training.metrics import read_metrics
from reluformer.training.parallel import Processes, join_processes
from reluformer.training.signals import StopRequest
from reluformer.training.validation import Validation

Splits = dict[str, Split]
MOST_CALIBRATED = 32_768  # positions of the batch that gamma is calibrated on


def train_run(config: TrainConfig) -> None:
    """Train in the run's folder from where it stands to its end.

    Whatever is wrong with the settings is found before anything is written. Raises
    KeyboardInterrupt where Ctrl-C or SIGTERM stopped training, after saving.
    """
    keep_freed_memory()
    set_threads(config.threads)
    if config.train.deterministic:
        add_in_fixed_order()
    with StopRequest() as stop:
        reason = _train_in_folder(config, stop)
    if reason == "stopped":
        raise KeyboardInterrupt


def add_in_fixed_order() -> None:
    """Let a GPU give the same bits again, as far as PyTorch can: a warning names what cannot.

    Our own kernels always do. CPUs do without this.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read before the first product
    torch.use_deterministic_algorithms(True, warn_only=True)


def _train_in_folder(config: TrainConfig, stop: StopRequest) -> str:
    patience = timedelta(minutes=config.train.process_timeout)
    processes = join_processes(choose_device(config.device), patience)
    try:
        corpus = Corpus.open(config.data.binary)
        config = as_prepared(config, corpus)
        check_corpus(corpus, config)
        torch.manual_seed(config.seed)
        model = build_model(
            config.model,
            len(corpus.source_vocabulary),
            len(corpus.target_vocabulary),
            config.data.joint_vocabulary,
            tuple(config.allow),
        ).to(processes.device)
        splits = open_splits(corpus, config.windows)
        check_lengths(corpus, splits, config.windows, model.max_positions)
        training = _training(config, corpus, splits, model, processes, stop)
        lock = RunLock(training.run)
        processes.on_first(lock.acquire)
        try:
            return _train(training, config, corpus, splits)
        finally:
            lock.release()
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise TrainingFailedError(
                f"memory does not suffice ({str(error) or 'MemoryError'}): train under another "
                f"`name` with train.max_tokens={config.train.max_tokens // 2} or a smaller "
                "`train.valid_max_tokens`; the checkpoints here are whole"
            ) from None
        raise processes.lost(error) or error from None
    finally:
        processes.leave()


def as_prepared(config: TrainConfig, corpus: Corpus) -> TrainConfig:
    """With the origin of the corpus' vocabulary, and if it was taken, how that was learnt.

    Raises UserError if another origin is asked for.
    """
    made = corpus.manifest.data
    given, origin = config.data.vocabulary_of, made.get("vocabulary_of")
    if given not in (None, origin):
        raise UserError(
            f"`data.vocabulary_of` is for reluformer-preprocess, and {corpus.folder} was prepared "
            f"with {origin or 'a vocabulary of its own'}: leave it out"
        )
    names = ["vocabulary_of", *(LEARNT if origin else ())]
    settings: dict[str, Any] = {name: made.get(name) for name in names}
    return replace(config, data=replace(config.data, **settings))


def check_corpus(corpus: Corpus, config: TrainConfig) -> None:
    """Raise UserError if the corpus was not made with the data settings that are given now."""
    differences = different_settings(corpus.manifest.data, asdict(config.data))
    if differences:
        raise UserError(
            f"{corpus.folder} was made with other settings ({'; '.join(differences)}): give those, "
            "or preprocess again"
        )


def open_splits(corpus: Corpus, windows: WindowOptions) -> Splits:
    """What is trained and, if there is any, validated on."""
    names = (name for name in ("train", "valid") if name in corpus.manifest.splits)
    return {name: open_windows(corpus, name, windows) for name in names}


def check_lengths(
    corpus: Corpus, splits: Splits, windows: WindowOptions, max_positions: int
) -> None:
    """Raise UserError if the model has no positions for what is trained or validated on."""
    if windows.length and windows.length > max_positions:
        raise UserError(
            f"`windows.length` is {windows.length}, but `model.max_positions` is {max_positions}: "
            "raise that"
        )
    sentences = {} if windows.length else splits
    if windows.sentence_updates:
        sentences = {"train": corpus.split("train")}
    for name, split in sentences.items():
        longest = int(padded_widths(split.source_lengths, split.target_lengths).max())
        if longest > max_positions:
            raise UserError(
                f"`model.max_positions` is {max_positions}, but a sentence of the {name} split "
                f"has {longest} pieces with its end: raise it, or preprocess with a lower "
                "`data.max_length`"
            )


def _train(training: Training, config: TrainConfig, corpus: Corpus, splits: Splits) -> str:
    folder, model, processes = training.run, training.model, training.processes
    initial = find_initial_weights(config, corpus)
    if initial:
        load_weights(initial.checkpoint, model)
    begins_with = initial.describe() if initial else None
    processes.on_first(lambda: prepare_folder(folder, config, corpus, begins_with))
    if not training.resume() and not initial:
        _calibrate(model, config, splits["train"], processes)
    if processes.is_first:
        _describe_windows(corpus, splits, config.windows.join)
        _announce(folder, model, config, training)
    reason = training.fit()
    if processes.is_first:
        too_long = left_out(corpus, "train", splits["train"])
        _summarise(folder, model, training, reason, too_long)
    return reason


def _training(
    config: TrainConfig,
    corpus: Corpus,
    splits: Splits,
    model: Transformer,
    processes: Processes,
    stop: StopRequest,
) -> Training:
    model.recompute = config.train.recompute
    stream = _stream(config, corpus, splits["train"], model, processes)
    validation = None
    if "valid" in splits:
        validation = Validation(
            splits["valid"],
            corpus.target_vocabulary,
            max_tokens=config.train.valid_max_tokens,
            sentences=config.train.valid_sentences,
            tokenised=config.data.moses,
            decode=config.decode,
            precision=config.train.precision,
        )
    return Training(
        Path(config.run),
        Criterion(model, config.loss.label_smoothing),
        stream,
        validation,
        processes,
        config.train,
        config.optim,
        config.loss,
        config.seed,
        stop,
    )


def _stream(
    config: TrainConfig, corpus: Corpus, train: Split, model: Transformer, processes: Processes
) -> BatchStream | Stages:
    """What is trained on: windows, perhaps after sentences and shorter ones, or sentences."""
    options, cost = config.train, 0.0
    if options.memory_aware:
        with_penalty = config.loss.regulariser_weight > 0
        cost = attention_cost(model, processes.device, options.precision, with_penalty)

    def stream_of(split: Split) -> BatchStream:
        place = processes.rank, processes.world_size
        cost_per_row = round(cost, 6)
        return BatchStream(
            split, options.max_tokens, config.seed, *place, attention_cost=cost_per_row
        )

    micro_batches = options.update_freq * processes.world_size
    earlier = [
        (stream_of(open_windows(corpus, "train", windows)), updates * micro_batches)
        for windows, updates in config.windows.earlier()
    ]
    return Stages(earlier, stream_of(train)) if earlier else stream_of(train)


def _calibrate(model: Transformer, config: TrainConfig, split: Split, processes: Processes) -> None:
    options = config.train
    drawn = np.random.default_rng(config.seed).permutation(len(split))
    drawn = drawn[: options.calibration_sentences]
    widths = padded_widths(split.source_lengths[drawn], split.target_lengths[drawn])
    # All of them in one batch, but of long windows no more than memory surely holds.
    fits = np.arange(1, len(drawn) + 1) * np.maximum.accumulate(widths) <= MOST_CALIBRATED
    batch = collate(split, np.sort(drawn[: max(int(fits.sum()), 1)]))
    sites = calibrate_gamma(model, batch.to(processes.device), options.calibration_ratio)
    if sites and processes.is_first:
        console.print(f"calibrated gamma at {sites} attention sites")


def _describe_windows(corpus: Corpus, splits: Splits, joined: bool) -> None:
    for name, split in splits.items():
        sessions = corpus.manifest.splits[name].get("documents", {}).get("sessions")
        if joined and sessions == 1:
            console.print(
                f"note: no document of the {name} split names its day (`<d DAY>`), so "
                "`windows.join` joins them all"
            )
        if isinstance(split.source, WindowedSequences):
            too_long = left_out(corpus, name, split)
            said = f", {too_long:,} too long for one" if too_long else ""
            inside = split.source.num_sentences
            console.print(f"{name}: {inside:,} sentences in {len(split):,} windows{said}")


def left_out(corpus: Corpus, name: str, split: Split) -> int:
    """Sentences that are too long for a window; 0 where there are no windows."""
    if not isinstance(split.source, WindowedSequences):
        return 0
    return int(corpus.manifest.splits[name]["sentences"]) - split.source.num_sentences


def _announce(folder: Path, model: Transformer, config: TrainConfig, training: Training) -> None:
    progress, processes = training.progress, training.processes
    left = config.train.max_updates - progress.update
    console.print(
        f"{folder}: {count_parameters(model):,} parameters, "
        f"{processes.world_size} process(es) on {processes.device}, {config.train.precision}; "
        f"update {progress.update}, {max(left, 0)} to go"
    )
    if config.initial_weights and not progress.update:
        console.print(f"begins with the weights of {config.initial_weights}", markup=False)


def _summarise(
    folder: Path, model: Transformer, training: Training, reason: str, too_long: int
) -> None:
    progress = training.progress
    summary = {
        "ended": reason,
        "updates": progress.update,
        "best_update": progress.best_update,
        "best_metric": training.options.best_metric,
        "best_value": progress.best_metric,
        "parameters": count_parameters(model),
        "sentences_longer_than_windows": too_long,
        "target_tokens": progress.target_tokens,
        "minutes": progress.training_seconds / 60,
        "tokens_per_second": progress.target_tokens / max(progress.training_seconds, 1e-9),
        "memory_mb": _peak_memory(folder, training.processes.device),
    }
    write_json(folder / "summary.json", summary)
    if reason == "stopped":
        console.print(f"stopped at update {progress.update}; the same command continues from there")
    else:
        console.print(
            f"finished ({reason}) at update {progress.update}; best at {progress.best_update}. "
            f"Next: reluformer-translate {shlex.quote(f'run={folder}')}"
        )
        if progress.best_update and not checkpoint_path(folder, "best").exists():
            console.print("note: checkpoint_best is missing; checkpoint=last is still there")


def _peak_memory(folder: Path, device: torch.device) -> float:
    """MB at the most, over all the processes that this run was continued in."""
    before = (entry["memory_mb"] for entry in read_metrics(folder, "train"))
    return max([memory_in_use(device), *before])
