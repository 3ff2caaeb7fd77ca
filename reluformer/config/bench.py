"""Settings of `reluformer-bench`, and the systems that they put side by side."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from omegaconf import MISSING

from reluformer.attention.base import Attention
from reluformer.benchmark.attention import PyTorchAttention, attention_work
from reluformer.benchmark.ctranslate2 import CTranslate2
from reluformer.benchmark.fairseq import FairseqTransformer
from reluformer.benchmark.kernels import kernel_work
from reluformer.benchmark.packed import packed_work
from reluformer.benchmark.preprocess import preprocessing_work
from reluformer.benchmark.profile import Profile, profile_work
from reluformer.benchmark.pytorch import PyTorchTransformer
from reluformer.benchmark.report import Machine, Outcome, Report
from reluformer.benchmark.rounds import Work, time_work
from reluformer.benchmark.synthetic import FIRST_PIECE, LONGEST, synthetic_sources, window_batch
from reluformer.benchmark.train import Model as TrainedModel
from reluformer.benchmark.train import synthetic_batches, training_work, windows_work
from reluformer.benchmark.translate import SOURCE_LENGTH, Model, translation_work
from reluformer.checks import check_choice, check_not_negative, check_positive, check_threads
from reluformer.config.build import build_model
from reluformer.config.groups import group_node, group_options
from reluformer.config.instantiate import instantiate
from reluformer.config.model import ModelConfig
from reluformer.config.run import choose_device
from reluformer.data.processes import available_cores
from reluformer.errors import UserError
from reluformer.model.compiling import compile_layers
from reluformer.model.precision import PRECISIONS
from reluformer.model.transformer import SITES, Transformer
from reluformer.threads import set_threads

ALL = "all"
PYTORCH, PYTORCH_LABEL = "pytorch", "PyTorch nn.Transformer"
FAIRSEQ = "fairseq"
CTRANSLATE2, CTRANSLATE2_LABEL = "ctranslate2", "CTranslate2, softmax"
PYTORCH_ATTENTION = "PyTorch scaled_dot_product_attention"
# Settings that nn.Transformer and fairseq have too, in our words.
RIVAL_SETTINGS = (
    "encoder_layers",
    "decoder_layers",
    "d_model",
    "ffn_dim",
    "num_heads",
    "pre_norm",
    "share_embeddings",
    "max_positions",
    "dropout",
    "attention_dropout",
    "activation_dropout",
)


@dataclass
class BenchConfig:
    """What is measured, and how."""

    what: str
    systems: list[str]
    threads: int | None
    rounds: int
    profile: bool
    precision: str
    device: str
    vocab_size: int
    seed: int
    output: str | None
    updates: int
    max_tokens: int
    compile: bool
    regulariser_weight: float
    sentences: int
    beam_size: int
    lengths: list[int]
    causal: bool
    packed: bool
    positions: int
    text: str | None
    lines: int
    allow: list[str]
    model: ModelConfig = MISSING

    def __post_init__(self) -> None:
        check_choice("what", self.what, tuple(BENCHMARKS))
        check_choice("precision", self.precision, PRECISIONS)
        if self.precision == "int8" and self.what != "translate":
            raise UserError("`precision` int8 is for what=translate")
        for name in (PYTORCH, FAIRSEQ):
            if self.precision == "int8" and name in self.systems:
                raise UserError(f"`systems` must not have {name}, which knows no int8")
        if FAIRSEQ in self.systems and self.what not in ("train", "windows", "translate"):
            raise UserError(f"`systems` may have {FAIRSEQ} for what=train, windows or translate")
        if CTRANSLATE2 in self.systems and self.what != "translate":
            raise UserError(f"`systems` may have {CTRANSLATE2} for what=translate only")
        if self.compile and self.what not in ("train", "windows", "translate"):
            raise UserError("`compile` is for what=train, windows or translate")
        if self.packed and self.what != "kernels":
            raise UserError("`packed` is for what=kernels")
        if self.compile and self.precision == "int8":
            raise UserError("`compile` is for fp32 and bf16: leave it off for int8")
        if self.text is None and self.what == "preprocess":
            raise UserError("what=preprocess needs `text`: a file of sentences, one a line")
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        for name in (
            "rounds",
            "updates",
            "max_tokens",
            "sentences",
            "beam_size",
            "positions",
            "lines",
        ):
            check_positive(name, getattr(self, name))
        check_threads(self.threads)
        check_not_negative("seed", self.seed)
        check_not_negative("regulariser_weight", self.regulariser_weight)
        if self.vocab_size <= FIRST_PIECE:
            raise UserError(
                f"`vocab_size` must be above {FIRST_PIECE} (the special tokens), "
                f"but is {self.vocab_size}"
            )
        if self.model.max_positions <= LONGEST:
            raise UserError(
                f"`model.max_positions` must be above {LONGEST} (the longest sentence), "
                f"but is {self.model.max_positions}"
            )
        if not self.lengths:
            raise UserError("`lengths` must name one length at least")
        for length in self.lengths:
            check_positive("lengths", length)
        if not self.systems or len(set(self.systems)) < len(self.systems):
            raise UserError(f"`systems` must name each system once, but is {self.systems}")
        if self.output is not None and not self.output.endswith(".md"):
            raise UserError(f"`output` must be a Markdown file (.md), but is {self.output!r}")


def run_benchmark(config: BenchConfig, command: str) -> Iterator[Report]:
    """Measure, one table after another; `command` is what the user typed, for the record."""
    set_threads(config.threads)
    device = choose_device(config.device)
    machine = Machine.here(device)
    for work in BENCHMARKS[config.what](config):
        if config.profile:
            outcome: Profile | Outcome = profile_work(work, device)
        else:
            outcome = time_work(work, config.rounds, device)
        date = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
        model = "" if config.what == "preprocess" else describe_model(config)
        yield Report(outcome, model, machine, command, date)


def bench_attention(config: BenchConfig) -> Iterator[Work]:
    """Once for each length, without the rest of the model."""
    model = config.model
    head_dim = model.d_model // model.num_heads
    mechanisms: dict[str, Attention | PyTorchAttention] = {}
    for name in system_names(config):
        if name == PYTORCH:
            mechanisms[PYTORCH_ATTENTION] = PyTorchAttention()
        else:
            node = group_node("attention", name)
            torch.manual_seed(config.seed)
            mechanisms[name] = instantiate(
                node, allow=tuple(config.allow), num_heads=model.num_heads, head_dim=head_dim
            )
    for length in config.lengths:
        yield attention_work(
            mechanisms,
            num_heads=model.num_heads,
            head_dim=head_dim,
            length=length,
            positions=config.positions,
            causal=config.causal,
            with_penalty=config.regulariser_weight > 0,
            precision=config.precision,
            seed=config.seed,
            device=choose_device(config.device),
        )


def bench_kernels(config: BenchConfig) -> Iterator[Work]:
    """Twice for each length; `systems` and `regulariser_weight` have no say."""
    model = config.model
    for length in config.lengths:
        yield from (packed_work if config.packed else kernel_work)(
            num_heads=model.num_heads,
            head_dim=model.d_model // model.num_heads,
            length=length,
            positions=config.positions,
            causal=config.causal,
            dtype=torch.bfloat16 if config.precision == "bf16" else torch.float32,
            seed=config.seed,
            device=choose_device(config.device),
        )


def bench_preprocessing(config: BenchConfig) -> Iterator[Work]:
    """Twice; `systems` has no say."""
    assert config.text is not None
    workers = config.threads or available_cores()
    yield from preprocessing_work(Path(config.text), config.lines, config.vocab_size, workers)


def bench_training(config: BenchConfig) -> Iterator[Work]:
    yield training_work(
        training_systems(config),
        synthetic_batches(config.updates, config.max_tokens, config.vocab_size, config.seed),
        regulariser_weight=config.regulariser_weight,
        precision=config.precision,
        device=choose_device(config.device),
    )


def bench_windows(config: BenchConfig) -> Iterator[Work]:
    """Once for each length."""
    longest = max(config.lengths)
    if longest > config.model.max_positions:
        raise UserError(
            f"`lengths` has {longest}, but `model.max_positions` is {config.model.max_positions}: "
            "raise it"
        )
    for length in config.lengths:
        rows = max(1, config.max_tokens // length)
        yield windows_work(
            training_systems(config),
            window_batch(rows, length, config.vocab_size, config.seed),
            regulariser_weight=config.regulariser_weight,
            precision=config.precision,
            device=choose_device(config.device),
        )


def bench_translation(config: BenchConfig) -> Iterator[Work]:
    device = choose_device(config.device)
    models: dict[str, Model] = {}
    for name, model in build_systems(config).items():
        if name == CTRANSLATE2:
            assert isinstance(model, Transformer)
            models[CTRANSLATE2_LABEL] = CTranslate2(model, config.precision, device)
        else:
            models[name] = model
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    batches = [
        synthetic_sources(config.sentences, SOURCE_LENGTH, config.vocab_size, config.seed + number)
        for number in range(threads)
    ]
    yield translation_work(
        models,
        batches,
        beam_size=config.beam_size,
        precision=config.precision,
        compiled=config.compile,
        device=device,
    )


BENCHMARKS: dict[str, Callable[[BenchConfig], Iterator[Work]]] = {
    "attention": bench_attention,
    "kernels": bench_kernels,
    "preprocess": bench_preprocessing,
    "train": bench_training,
    "translate": bench_translation,
    "windows": bench_windows,
}


def build_systems(config: BenchConfig) -> dict[str, TrainedModel]:
    """The systems by the names that tables show, each with the same seed."""
    systems: dict[str, TrainedModel] = {}
    for name in system_names(config):
        torch.manual_seed(config.seed)
        if name == PYTORCH:
            systems[PYTORCH_LABEL] = PyTorchTransformer(**rival_settings(config))
        elif name == FAIRSEQ:
            systems[FAIRSEQ] = FairseqTransformer(**rival_settings(config))
        else:
            attention = "softmax" if name == CTRANSLATE2 else name
            sites: dict[str, Any] = dict.fromkeys(SITES, group_node("attention", attention))
            model = replace(config.model, **sites)
            sizes = config.vocab_size, config.vocab_size
            systems[name] = build_model(model, *sizes, True, tuple(config.allow))
    return systems


def training_systems(config: BenchConfig) -> dict[str, TrainedModel]:
    """With their layers compiled where that is asked for; the rivals' are left as they are."""
    systems = build_systems(config)
    for model in systems.values():
        if config.compile and isinstance(model, Transformer):
            compile_layers(model)
    return systems


def system_names(config: BenchConfig) -> list[str]:
    """The systems asked for, where `all` stands for every attention that is not named itself."""
    names: list[str] = []
    for name in config.systems:
        others = [one for one in group_options("attention") if one not in config.systems]
        names += others if name == ALL else [name]
    return names


def rival_settings(config: BenchConfig) -> dict[str, Any]:
    """The sizes of our model."""
    settings = {name: getattr(config.model, name) for name in RIVAL_SETTINGS}
    sizes = dict.fromkeys(("source_vocab_size", "target_vocab_size"), config.vocab_size)
    return sizes | settings


def describe_model(config: BenchConfig) -> str:
    model = config.model
    compiled = "ours with compiled layers, " if config.compile else ""
    norm = "pre" if model.pre_norm else "post"
    return (
        f"{compiled}{model.encoder_layers}+{model.decoder_layers} layers, d_model "
        f"{model.d_model}, FFN {model.ffn_dim}, {model.num_heads} heads, {norm}-norm, "
        f"vocabulary {config.vocab_size:,}, dropout {model.dropout}, "
        f"embeddings shared: {model.share_embeddings}"
    )
