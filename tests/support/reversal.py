"""A small corpus to train on: lines of letters, to be spelt backwards."""

import random
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from small_models import model_config

from reluformer.config.build import build_model
from reluformer.config.data import DataConfig
from reluformer.data.corpus import Corpus
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import VocabularyOptions, find_texts, prepare_corpus
from reluformer.training.loss import Criterion

DATA = DataConfig("reversal", "aa", "bb", text="text", binary="binary", vocab_size=20)

# Of reluformer-train on it, for a model that takes an update in some milliseconds.
COMMAND_SETTINGS = [
    "data=custom",
    "data.name=reversal",
    "data.source_lang=aa",
    "data.target_lang=bb",
    "data.text=text",
    "data.vocab_size=20",
    "attention=relu_centered",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.d_model=16",
    "model.ffn_dim=32",
    "model.num_heads=4",
    "model.dropout=0.2",
    "optim.learning_rate=3e-3",
    "optim.warmup_updates=20",
    "train.max_tokens=200",
    "train.update_freq=2",
    "train.log_interval=1",
    "train.statistics_interval=20",
    "train.valid_interval=40",
    "train.valid_sentences=10",
    "train.save_interval=10",
    "train.keep_checkpoints=2",
    "decode=greedy",
    "threads=1",
    "device=cpu",
]


def write_reversal_text(folder: Path, sizes: dict[str, int], letters: str = "abcdefgh") -> None:
    """Lines of 3 to 7 letters; the target is the same letters backwards."""
    chosen = random.Random(5)
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in sizes.items():
        lines = [chosen.choices(letters, k=chosen.randint(3, 7)) for _ in range(size)]
        for suffix, step in (("aa", 1), ("bb", -1)):
            text = "".join(" ".join(line[::step]) + "\n" for line in lines)
            (folder / f"{split}.{suffix}").write_text(text, encoding="utf-8", newline="\n")


@pytest.fixture(scope="session")
def reversal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the binary corpus: 600 training pairs, 40 for validation and test."""
    return make_corpus(tmp_path_factory.mktemp("reversal"), 600)


def make_corpus(folder: Path, pairs: int, letters: str = "abcdefgh") -> Path:
    """The binary corpus of so many training pairs, in a folder of this one."""
    write_reversal_text(folder / "text", {"train": pairs, "valid": 40, "test": 40}, letters)
    options = VocabularyOptions(20, True, 1.0, False, "identity", 10_000, 1)
    texts = find_texts(folder / "text", "aa", "bb")
    limits = Limits(256, "drop", None)
    prepare_corpus(texts, folder / "binary", asdict(DATA), options, limits, workers=1)
    return folder / "binary"


@pytest.fixture(scope="session")
def reversal(reversal_folder: Path) -> Corpus:
    return Corpus.open(reversal_folder)


def make_criterion(corpus: Corpus, dropout: float) -> Criterion:
    torch.manual_seed(0)
    size = len(corpus.source_vocabulary)
    config = model_config("relu_centered", dropout=dropout)
    return Criterion(build_model(config, size, size, True), label_smoothing=0.1)
