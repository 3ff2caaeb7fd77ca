"""reluformer-bench: how fast our models and attention mechanisms are, beside PyTorch's own."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from reluformer.analysis.pictures import has_matplotlib
from reluformer.benchmark.profile import Profile, draw_profile
from reluformer.benchmark.report import Report, append_report, console_table
from reluformer.cli.app import command, config_dir_option
from reluformer.cli.arguments import as_given
from reluformer.config.bench import BenchConfig, run_benchmark
from reluformer.console import console
from reluformer.errors import UserError, is_out_of_memory, one_line


@command("bench", BenchConfig)
def main(config: BenchConfig) -> None:
    """Measure training (target tokens a second), translation (sentences a second) or attention.

    Models of the same sizes run side by side on made-up sentences as long as those of TED talks:
    one with each attention, and PyTorch's nn.Transformer. All of them run once in every round, in
    turns; the table holds medians over the rounds, the spread, and each system's speed as a
    multiple of the last one's. what=attention times the mechanisms alone, forward and backward,
    at several lengths; what=kernels what computes ReLU attention, forward and backward apart,
    beside PyTorch's kernels (most of which run on GPUs only); what=windows trains whole models on
    windows of just these lengths, and counts the memory that they need; what=preprocess times the
    way from a real text to a corpus. profile=true tells where the time of one round goes instead,
    with pictures beside `output`. Use a machine that does nothing else.

    Examples:
        reluformer-bench what=train threads=2 output=speed.md
        reluformer-bench what=translate threads=1 beam_size=5 systems=[relu,softmax,ctranslate2]
        reluformer-bench what=attention systems=[all,pytorch] lengths=[64,512] causal=true
        reluformer-bench what=preprocess text=data/mine/text/train.de lines=100000
        reluformer-bench what=windows lengths=[128,1024] systems=[all] max_tokens=2048
        reluformer-bench what=train profile=true threads=1 output=profile.md
        reluformer-bench what=kernels precision=bf16 lengths=[512,4096] positions=16384
        reluformer-bench what=train model=tiny systems=[relu,pytorch] rounds=3 regulariser_weight=0
    """
    output = None if config.output is None else Path(config.output)
    if output is not None:  # a path that cannot be written to is better known now than at the end
        output.parent.mkdir(parents=True, exist_ok=True)
        output.open("a").close()
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = 120
    for report in measured(config):
        out.print(console_table(report.outcome))
        if output is not None:
            append_report(report, output)
            if isinstance(report.outcome, Profile):
                draw(report.outcome, output)


def measured(config: BenchConfig) -> Iterator[Report]:
    """What `run_benchmark` reports; UserError where memory does not hold it."""
    try:
        yield from run_benchmark(config, command_line())
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise UserError(
                "memory does not hold this: give smaller `lengths`, `positions`, `sentences` or "
                f"`max_tokens` ({one_line(str(error))})"
            ) from None
        raise


def draw(profile: Profile, output: Path) -> None:
    """The picture of a profile, such as profile-training.png beside profile.md."""
    if not has_matplotlib():
        console.print("no picture: that needs matplotlib (pip install 'reluformer[analysis]')")
        return
    what, _, _ = profile.title.partition(":")
    words = re.findall(r"\w+", what.lower())
    path = output.with_name("-".join([output.stem, *words]) + ".png")
    draw_profile(profile, path)
    console.print(f"picture: {path}")


def command_line() -> str:
    """What was typed, as a shell reads it."""
    overrides = HydraConfig.get().overrides.task
    words = (as_given(override, BenchConfig) for override in overrides)
    return shlex.join(["reluformer-bench", *words, *config_dir_option()])


if __name__ == "__main__":
    main()
