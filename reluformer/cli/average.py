"""reluformer-average: several checkpoints of a run to one."""

from pathlib import Path

from reluformer.cli.app import command
from reluformer.config.averaging import AverageConfig
from reluformer.console import console
from reluformer.errors import UserError
from reluformer.training.checkpoint import (
    NUMBERED,
    average_checkpoints,
    checkpoint_path,
    numbered_checkpoints,
    saved_update,
    write_tensors,
)


@command("average", AverageConfig)
def main(config: AverageConfig) -> None:
    """Average the weights of a run's newest numbered checkpoints.

    Writes checkpoints/checkpoint_avg_<last>.safetensors; `reluformer-translate checkpoint=avg_5`
    then uses it. Averaging the last five to ten usually gains a few tenths of a BLEU point.

    Examples:
        reluformer-average run=runs/multi30k_en_de/softmax-seed1
        reluformer-average run=runs/multi30k_en_de/softmax-seed1 last=10
        reluformer-average run=runs/iwslt14_de_en/reluformer-seed2 last=3
    """
    run = Path(config.run)
    if not run.is_dir():
        raise UserError(f"`run`: there is no folder {run}")
    found = numbered_checkpoints(run)
    if len(found) < config.last:
        there = ", ".join(str(updates_of(path)) for path in found) or "none"
        raise UserError(
            f"{run}: `last` asks for {config.last} numbered checkpoints, but there are "
            f"{len(found)} ({there}); `train.save_interval` and `train.keep_checkpoints` decide"
        )
    chosen = found[-config.last :]
    for one in chosen:
        update = saved_update(one)
        if update not in (None, updates_of(one)):
            raise UserError(
                f"{one}: holds update {update}, another than its name says: remove it, "
                "or put the right one back"
            )
    path = checkpoint_path(run, f"avg_{config.last}")
    write_tensors(path, average_checkpoints(chosen), {})
    console.print(f"{path}: mean of {', '.join(str(updates_of(p)) for p in chosen)}")


def updates_of(path: Path) -> int:
    """The number in a numbered checkpoint's name."""
    match = NUMBERED.fullmatch(path.name)
    return int(match[1]) if match else 0


if __name__ == "__main__":
    main()
