"""Settings of `reluformer-translate`."""

from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import MISSING

from reluformer.checks import check_choice, check_most, check_positive, check_threads
from reluformer.config.run import Run
from reluformer.config.run_folder import check_not_of_run
from reluformer.config.shortlist import find_shortlist
from reluformer.data.shortlist import MOST_TYPES
from reluformer.data.windows import WindowOptions
from reluformer.decoding.options import DecodeOptions, DocumentOptions
from reluformer.decoding.translate import Translator
from reluformer.decoding.treatment import Treatment
from reluformer.durable import check_output
from reluformer.errors import UserError
from reluformer.model.compiling import compile_steps
from reluformer.model.precision import PRECISIONS, convert


@dataclass
class TranslateConfig:
    """What is translated, with which model, and how the result is written."""

    run: str
    checkpoint: str
    input: str | None
    output: str | None
    reference: str | None
    timing: str | None
    format: str
    input_tokenised: bool
    detokenise: bool
    long_input: str
    max_tokens: int
    buffer_lines: int
    shortlist: int | None
    precision: str
    compile: bool
    device: str
    threads: int | None
    allow: list[str] = MISSING
    decode: DecodeOptions = MISSING
    documents: DocumentOptions = MISSING

    def __post_init__(self) -> None:
        check_choice("format", self.format, ("text", "jsonl", "fairseq"))
        check_choice("long_input", self.long_input, ("truncate", "refuse", "extrapolate"))
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        for name in ("max_tokens", "buffer_lines"):
            check_positive(name, getattr(self, name))
        if self.shortlist is not None:
            check_positive("shortlist", self.shortlist)
            check_most("shortlist", self.shortlist, MOST_TYPES)
        check_threads(self.threads)
        if self.compile and self.precision == "int8":
            raise UserError("`compile` is for fp32 and bf16: leave it off for int8")
        decode = self.decode
        if decode.max_len_a == 0 and decode.max_len_b < max(decode.min_length, 1):
            raise UserError(
                f"`decode.max_len_a` is 0 and `decode.max_len_b` {decode.max_len_b}, which leaves "
                f"no room for `decode.min_length`, {decode.min_length}"
            )
        if self.reference is not None and (self.input is None or self.format == "text"):
            raise UserError("`reference` goes with `input` and `format` jsonl or fairseq only")
        if self.timing is not None and self.input is None:
            raise UserError("`timing` goes with `input` only: what comes as a stream has no pace")
        if self.timing is not None:
            check_output(Path(self.timing), (self.input, self.reference, self.output))
            check_not_of_run(Path(self.timing))
        if self.output is not None:
            check_output(Path(self.output), (self.input, self.reference))
            check_not_of_run(Path(self.output))
            if self.output.endswith(".gz"):
                raise UserError(f"`output` {self.output} would not be compressed: leave .gz off")


def build_translator(config: TranslateConfig, run: Run) -> Translator:
    """The run's model, in the precision asked for, with the text treatment of its training."""
    windows = find_windows(config, run)
    convert(run.model, config.precision, config.compile)
    if config.compile:
        compile_steps(run.model)
    treatment = Treatment(
        source_lang=run.data.source_lang,
        target_lang=run.data.target_lang,
        moses=run.data.moses,
        lowercase=run.data.lowercase,
        input_tokenised=config.input_tokenised,
        detokenise=config.detokenise,
    )
    return Translator(
        run.model,
        run.source_vocabulary,
        run.target_vocabulary,
        treatment,
        config.decode,
        config.max_tokens,
        config.long_input,
        windows,
        config.documents.overlap,
        run.trained_length,
        run.length_ratio,
        None if config.shortlist is None else find_shortlist(run, config.shortlist),
    )


def find_windows(config: TranslateConfig, run: Run) -> WindowOptions:
    """Windows as the run was trained on, unless told otherwise.

    Raises UserError for a run that was trained on single sentences or, if nothing is to be
    extrapolated, on shorter windows.
    """
    documents, trained = config.documents, run.windows.length
    if trained is None and (documents.length or documents.overlap):
        raise UserError(
            f"{run.folder} was trained on single sentences: `documents.length` and "
            "`documents.overlap` are for runs trained with `windows.length`"
        )
    length = documents.length or trained
    if (length or 0) > (trained or 0) and config.long_input != "extrapolate":
        raise UserError(
            f"`documents.length` is {length}, but {run.folder} was trained on windows of "
            f"{trained}: give that at most, or say `long_input=extrapolate`"
        )
    if length is not None and config.decode.n_best > 1:
        raise UserError("`decode.n_best` must be 1 where documents are translated in windows")
    return replace(run.windows, length=length)
