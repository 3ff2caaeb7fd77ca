"""How far bf16 departs from fp32 on inputs up to eight times as long as those of training.

    python scripts/precision_by_length.py RUN... --output docs/results/precision_by_length

Sentences of the test set are joined by 1, 2, 4 and 8; each trained run reads them, target included,
in both precisions. Writes <output>.json and <output>.png, and prints a table in Markdown: the
negative log-likelihood in fp32, and the mean difference of a target token's log-probability, in
nats. Exit status 1 if any of them is not finite in bf16.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reluformer.config.run import Run, load_run
from reluformer.data.batch import collate_sources
from reluformer.data.corpus import Corpus
from reluformer.data.vocabulary import BOS, EOS
from reluformer.training.update import autocast

JOINED = (1, 2, 4, 8)


def joined(sentences: list[list[int]], count: int) -> list[list[int]]:
    """Every so many sentences as one."""
    whole = len(sentences) - len(sentences) % count
    groups = (sentences[i : i + count] for i in range(0, whole, count))
    return [[token for sentence in group for token in sentence] for group in groups]


@torch.no_grad()
def log_probabilities(
    run: Run, source: list[list[int]], target: list[list[int]], precision: str
) -> Tensor:
    """Those of every target token and EOS, one pair at a time."""
    found: list[Tensor] = []
    for ours, theirs in zip(source, target, strict=True):
        tokens, lengths = collate_sources([ours])
        before = torch.tensor([[BOS, *theirs]])
        with autocast(torch.device("cpu"), precision):
            output = run.model(tokens, lengths, before, torch.tensor([before.shape[1]]))
            logits = run.model.output_projection(output.states)
        truth = torch.tensor([*theirs, EOS])
        found.append(logits[0].float().log_softmax(-1).gather(1, truth[:, None])[:, 0])
    return torch.cat(found)


def measure(run: Run, sentences: int) -> list[dict[str, Any]]:
    """One entry for each number of joined sentences."""
    split = Corpus.open(run.data.binary).split("test")
    sides = []
    for side in (split.source, split.target):
        sides.append([side.take([i])[0].tolist() for i in range(min(sentences, len(split)))])
    entries = []
    for count in JOINED:
        source, target = (joined(side, count) for side in sides)
        exact = log_probabilities(run, source, target, "fp32")
        low = log_probabilities(run, source, target, "bf16")
        entries.append(
            {
                "joined": count,
                "pieces": sum(map(len, target)) / len(target),
                "nll": -float(exact.mean()),
                "difference": float((low - exact).abs().mean()),
                "finite": bool(torch.isfinite(low).all()),
            }
        )
    return entries


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4))
    for name, entries in results.items():
        for axis, key in zip(axes, ("nll", "difference"), strict=True):
            axis.plot(JOINED, [entry[key] for entry in entries], marker="o", label=name)
    for axis, label in zip(
        axes, ("nll in fp32, nats", "mean difference in bf16, nats"), strict=True
    ):
        axis.set_xscale("log", base=2)
        axis.set_xticks(JOINED, [str(count) for count in JOINED])
        axis.set_xlabel("sentences joined")
        axis.set_ylabel(label)
    axes[0].legend(fontsize=8, loc="upper left")
    axes[1].set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=200)
    arguments = parser.parse_args()
    results = {}
    for folder in arguments.runs:
        results[folder.name] = measure(load_run(folder, device="cpu"), arguments.sentences)
    arguments.output.with_suffix(".json").write_text(json.dumps(results, indent=2) + os.linesep)
    draw(results, arguments.output.with_suffix(".png"))
    columns = [f"{count}x" for count in JOINED]
    print(f"| run | {' | '.join(f'nll {c}' for c in columns)} | {' | '.join(columns)} |")
    print(f"| --- |{' ---: |' * (2 * len(columns))}")
    for name, entries in results.items():
        cells = [f"{entry['nll']:.2f}" for entry in entries]
        cells += [f"{entry['difference']:.4f}" for entry in entries]
        print(f"| {name} | {' | '.join(cells)} |")
    if not all(entry["finite"] for entries in results.values() for entry in entries):
        sys.exit(1)


if __name__ == "__main__":
    main()
