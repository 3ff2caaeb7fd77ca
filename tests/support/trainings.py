"""Trainings of a small model on the reversal corpus, without a command around them."""

import json
from pathlib import Path

from reversal import make_criterion

from reluformer.data.batching import BatchStream
from reluformer.data.corpus import Corpus
from reluformer.decoding.options import DecodeOptions
from reluformer.training.loop import Training
from reluformer.training.options import FitOptions, LossOptions, OptimOptions
from reluformer.training.parallel import Processes
from reluformer.training.signals import StopRequest
from reluformer.training.validation import Validation

TIMING = ("tokens_per_second", "memory_mb")


def make_training(run: Path, corpus: Corpus, max_updates: int, **changes: object) -> Training:
    values = {
        "max_updates": max_updates,
        "max_tokens": 256,
        "update_freq": 2,
        "memory_aware": False,
        "recompute": False,
        "compile": False,
        "deterministic": False,
        "precision": "fp32",
        "log_interval": 3,
        "statistics_interval": 4,
        "valid_interval": 5,
        "valid_max_tokens": 512,
        "valid_sentences": 10,
        "best_metric": "loss",
        "patience": 0,
        "save_interval": 4,
        "keep_checkpoints": 2,
        "calibration_sentences": 8,
        "calibration_ratio": 1.0,
        "process_timeout": 30.0,
        **changes,
    }
    fit = FitOptions(**values)
    validation = Validation(
        corpus.split("valid"),
        corpus.target_vocabulary,
        max_tokens=fit.valid_max_tokens,
        sentences=fit.valid_sentences,
        tokenised=True,
        decode=DecodeOptions(beam_size=1),
        precision="fp32",
    )
    return Training(
        run,
        make_criterion(corpus, dropout=0.3),
        BatchStream(corpus.split("train"), fit.max_tokens, seed=1),
        validation,
        Processes(),
        fit,
        OptimOptions(0.01, "inverse_sqrt", 4, 0.0, 0.9, 0.98, 1e-8, 0.01, 1.0),
        LossOptions(0.1, 0.1, 10),
        seed=1,
        stop=StopRequest(),
    )


def metrics(run: Path) -> list[dict]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    entries = [json.loads(line) for line in lines if line]
    return [{k: v for k, v in entry.items() if k not in TIMING} for entry in entries]
