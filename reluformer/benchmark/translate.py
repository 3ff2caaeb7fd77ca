"""Translation: sentences a second by beam search, every system doing the same number of steps."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from reluformer.benchmark.ctranslate2 import CTranslate2
from reluformer.benchmark.fairseq import FairseqTransformer, generate
from reluformer.benchmark.pytorch import PyTorchTransformer
from reluformer.benchmark.rounds import Work
from reluformer.data.batch import collate_sources
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.decoding.side_by_side import side_by_side
from reluformer.model.compiling import compile_steps
from reluformer.model.precision import convert
from reluformer.model.transformer import Transformer, count_parameters

Model = Transformer | PyTorchTransformer | FairseqTransformer | CTranslate2
Sources = Sequence[Sequence[int]]  # of one batch
SOURCE_LENGTH, TARGET_LENGTH = 26, 25  # in pieces, without the EOS


def translation_work(
    models: Mapping[str, Model],
    batches: Sequence[Sources],
    *,
    beam_size: int,
    precision: str,
    compiled: bool,
    device: torch.device,
) -> Work:
    """All `batches` of sources in every round, each source translated to TARGET_LENGTH pieces.

    Every system has the threads for them that PyTorch has, one for each batch where they suffice.
    The length is forced, as models with random weights end sentences at random.
    """
    # Its inference path was no faster at d_model 512, and fails under bf16 autocast on a CPU.
    torch.backends.mha.set_fastpath_enabled(False)
    options = DecodeOptions(
        beam_size=beam_size, min_length=TARGET_LENGTH, max_len_a=0.0, max_len_b=TARGET_LENGTH
    )
    tasks: dict[str, Callable[[], object]] = {}
    parameters = {}
    for system, model in models.items():
        name = _label(system, model)
        if isinstance(model, CTranslate2):
            tasks[name] = partial(model.translate, batches, beam_size, TARGET_LENGTH)
            parameters[name] = model.num_parameters
            continue
        parameters[name] = count_parameters(model.to(device).eval())
        if isinstance(model, Transformer):
            convert(model, precision, compiled)
            if compiled:
                compile_steps(model)
        elif precision == "bf16":
            model.to(torch.bfloat16)
        tasks[name] = partial(_translate_all, _translator(model, options, device), batches, device)
    sources = [source for batch in batches for source in batch]
    pieces = sum(map(len, sources)) / len(sources)
    amount = f"{len(batches)} batches of {len(batches[0])} sentences side by side"
    if len(batches) == 1:
        amount = f"one batch of {len(sources)} sentences"
    return Work(
        title="Translation",
        unit="sentences",
        amount=len(sources),
        tasks=tasks,
        conditions=f"beam {beam_size}, {amount} a round, {pieces:.1f} pieces in, {TARGET_LENGTH} "
        f"out, {precision}; our beam search for all but CTranslate2 and fairseq",
        parameters=parameters,
    )


def _label(name: str, model: Model) -> str:
    recomputes = isinstance(model, PyTorchTransformer)
    return f"{name} (no cache: recomputes the prefix)" if recomputes else name


def _translator(
    model: Transformer | PyTorchTransformer | FairseqTransformer,
    options: DecodeOptions,
    device: torch.device,
) -> Callable[[Sources], object]:
    """What translates one batch: our beam search, or fairseq's with fairseq's model."""
    if isinstance(model, FairseqTransformer):
        return partial(generate, model.generator(options.beam_size, TARGET_LENGTH), device=device)

    def translate(sources: Sources) -> None:
        tokens, lengths = collate_sources(sources)
        translate_batch(model, tokens.to(device), lengths.to(device), options)

    return translate


def _translate_all(
    translate: Callable[[Sources], object], batches: Sequence[Sources], device: torch.device
) -> None:
    for _ in side_by_side(translate, batches, device):
        pass
