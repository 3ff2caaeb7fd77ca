"""Train, validate and translate in one process for an hour: do memory, files and threads grow?

    python scripts/soak.py [--minutes 60] [--output docs/results/soak]

Each round continues one training by some updates with a validation and translates the test set,
by the commands that a user types, all in this process. Writes <output>.jsonl, a line a round,
<output>.png, and prints the growth from the second quarter of the rounds to the last. Exit status 1
if memory has grown by more than 5% (in an hour), or open files or threads by any.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[1]
# safetensors loses 64 bytes of every tensor that it reads, which here are 23 KB a round.
MOST_GROWTH = {"memory_mb": 1.05, "files": 1.0, "threads": 1.0}
TRAIN = [
    "experiment=embedded/reluformer",
    "model.encoder_layers=2",
    "model.decoder_layers=2",
    "train.save_interval=20",
    "train.valid_interval=20",
    "train.valid_sentences=20",
    "threads=1",
]


def command(module: str, *arguments: str) -> None:
    """Run a command to its successful end in this process."""
    sys.argv = [module, *arguments]
    import_module(module).main()


def usage() -> dict[str, float]:
    """This process's own memory in MB, wherever it is, its open files and threads, now."""
    gc.collect()  # garbage that has not been collected yet is no leak
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    own = [int(line.split()[1]) for line in status if line.startswith(("RssAnon:", "VmSwap:"))]
    return {
        # Without pages of files, which come and go with the machine's memory.
        "memory_mb": sum(own) / 1024,
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def soak(minutes: float) -> list[dict[str, float]]:
    """What was in use after each round."""
    sys.path.insert(0, str(ROOT / "data_prep"))
    command("embedded", "sentences=2000", "valid_sentences=60", "test_sentences=60", "documents=0")
    command("reluformer.cli.preprocess", "data=embedded", "data.vocab_size=1000")
    rounds: list[dict[str, float]] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < 60 * minutes or len(rounds) < 8:
        updates = 20 * (len(rounds) + 1)
        settings = [*TRAIN, "data.vocab_size=1000", f"train.max_updates={updates}", "run=run"]
        command("reluformer.cli.train", *settings)
        texts = ["input=data/embedded/text/test.de", f"output={len(rounds)}.en"]
        command("reluformer.cli.translate", "run=run", *texts, "threads=1")
        rounds.append({"minutes": passed / 60, "updates": updates, **usage()})
    return rounds


def growth(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The mean over the last quarter, by that over the second one."""
    quarter = len(rounds) // 4
    second, last = rounds[quarter : 2 * quarter], rounds[-quarter:]
    return {
        name: mean(entry[name] for entry in last) / mean(entry[name] for entry in second)
        for name in MOST_GROWTH
    }


def draw(rounds: list[dict[str, float]], path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(MOST_GROWTH), 1, figsize=(7, 6), sharex=True)
    for name, axis in zip(MOST_GROWTH, axes, strict=True):
        axis.plot([entry["minutes"] for entry in rounds], [entry[name] for entry in rounds])
        axis.set_ylabel(name.replace("_mb", ", MB"))
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "soak")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        rounds = soak(arguments.minutes)
        os.chdir(ROOT)
    lines = [
        json.dumps({name: round(value, 2) for name, value in entry.items()}) for entry in rounds
    ]
    output.with_suffix(".jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw(rounds, output.with_suffix(".png"))
    found = growth(rounds)
    print(f"{len(rounds)} rounds, {rounds[-1]['updates']:.0f} updates")
    failed = False
    for name, ratio in found.items():
        failed |= ratio > MOST_GROWTH[name]
        print(f"{name}: {ratio:.3f} of the second quarter's, {rounds[-1][name]:.0f} at the end")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
