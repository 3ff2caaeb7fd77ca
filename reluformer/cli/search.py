"""reluformer-search: settings proposed by Optuna, tried by training."""

import shlex
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from reluformer.analysis.pictures import draw_search, has_matplotlib
from reluformer.cli import train
from reluformer.cli.app import command, compose, config_dir_option
from reluformer.config.search import (
    SearchConfig,
    all_trials,
    check_training,
    first_settings,
    overrides_of,
    search,
)
from reluformer.config.training import TrainConfig
from reluformer.console import console
from reluformer.durable import write_whole
from reluformer.errors import UserError

SHOWN = 10  # trials in the terminal's table


@command("search", SearchConfig)
def main(config: SearchConfig) -> None:
    """Search settings with Optuna: train, look at the validation split, propose better ones.

    A file of conf/sweep that ends in _search says what is searched; sweep=gamma_search covers gamma
    and its mode, lambda and c of ReLU attention. Writes trials.md and, with matplotlib, trials.png
    into the output folder. Stopped or killed, the same command continues, and trials=N raises the
    number later. What fails is listed and the others go on, unless the first three fail. For a
    plain grid, use Hydra's multirun instead: reluformer-train -m sweep=gamma_grid.

    Examples:
        reluformer-search sweep=gamma_search trials=30
        reluformer-search sweep=gamma_search changes="train.max_updates=200" output=searches/short
        reluformer-search sweep=gamma_search metric=bleu changes="train.valid_sentences=200"
    """
    options = config_dir_option()
    check(config, options)
    for trial in search(config, options):
        failed = f"failed: {trial.failure}"
        outcome = failed if trial.value is None else f"{config.metric} {trial.value:.4g}"
        console.print(f"trial {trial.number}: {outcome}  {describe(trial.settings)}", markup=False)
    trials = all_trials(config)
    folder = Path(config.output)
    if trials[0].value is None:
        raise UserError(f"no trial has succeeded: their logs are in {folder}/runs")
    rows = [["trial", config.metric, *config.space]]
    for trial in trials:
        cells = [show(trial.settings.get(name)) for name in config.space]
        rows.append([str(trial.number), show(trial.value), *cells])
    lines = [rows[0], ["---:"] * len(rows[0]), *rows[1:]]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
    write_whole(folder / "trials.md", table.encode())
    if has_matplotlib():
        draw_search(
            [(trial.settings, trial.value) for trial in trials if trial.value is not None],
            config.space,
            config.metric,
            folder / "trials.png",
        )
    Console(highlight=False).print(console_table(rows[: SHOWN + 1]))
    seed = f"seed={config.seed}"
    best = shlex.join([*overrides_of(config, trials[0].settings), seed, *options])
    console.print(f"written to {folder}; the best: reluformer-train {best}", markup=False)


def check(config: SearchConfig, options: list[str]) -> None:
    """Raise UserError, before anything is written, for settings that trials would all fail by."""
    settings = first_settings(config.space)
    folder = options[-1] if options else None
    try:
        overrides = overrides_of(config, settings)
        training = compose("train", train.main, TrainConfig, overrides, folder)
    except UserError as error:
        raise UserError(f"a training with {describe(settings)}: {error}") from None
    check_training(config, training)


def show(value: object) -> str:
    if value is None:
        return "failed"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def describe(settings: dict[str, object]) -> str:
    return "  ".join(f"{name}={show(value)}" for name, value in settings.items())


def console_table(rows: list[list[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows[1:]:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
