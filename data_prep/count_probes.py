"""How many words that need a document's context a translation got right, by kind and distance."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from grammar.probes import ANSWERS, Counts, Probe, count_probes, parse_probe
from rich.console import Console
from rich.table import Table

from reluformer.cli.app import command
from reluformer.data.text import read_lines
from reluformer.errors import UserError


@dataclass
class CountProbesConfig:
    """Settings of data_prep/count_probes.py; conf/data_prep/count_probes.yaml explains each."""

    hypothesis: str
    direction: str
    text: str
    split: str
    output: str | None

    def __post_init__(self) -> None:
        if self.direction not in ("de-en", "en-de"):
            raise UserError(f"`direction` must be de-en or en-de, but is {self.direction!r}")

    @property
    def source(self) -> Path:
        return Path(self.text, f"{self.split}.{self.direction[:2]}")

    @property
    def probes(self) -> Path:
        return Path(self.text, f"{self.split}.probes.jsonl")


@command("data_prep/count_probes", CountProbesConfig)
def main(config: CountProbesConfig) -> None:
    """Count how many words that need a document's context a translation got right.

    The translation is of a document file of data_prep/embedded.py, line by line, the `<d>` lines
    included. A probe is right if its line has the right word and not the competing one, wrong the
    other way round, and neither otherwise. A system that sees one sentence at a time gets at most
    half of them right.

    Examples:
        python data_prep/count_probes.py hypothesis=test.out.en
        python data_prep/count_probes.py hypothesis=test.out.de direction=en-de output=probes.json
    """
    hypotheses = list(read_lines(Path(config.hypothesis)))
    lines = sum(1 for _ in read_lines(config.source))
    if len(hypotheses) != lines:
        counted = (
            f"{config.hypothesis} has {len(hypotheses):,} lines, but {config.source} {lines:,}"
        )
        raise UserError(f"{counted}; translate that file line by line, `<d>` lines included")
    probes = read_probes(config.probes)
    counts = count_probes(hypotheses, (p for p in probes if p.direction == config.direction))
    show(counts)
    if config.output is not None:
        report = [
            {"kind": kind, "sentences": distance, **{name: found[name] for name in ANSWERS}}
            for (kind, distance), found in counts.items()
        ]
        Path(config.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def read_probes(path: Path) -> list[Probe]:
    """<split>.probes.jsonl, one probe a line."""
    probes = []
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}, line {number},"
        try:
            entry = json.loads(line)
        except ValueError:
            raise UserError(f"{where} is not JSON: {line[:40]!r}") from None
        probes.append(parse_probe(entry, where))
    return probes


def show(counts: Counts) -> None:
    """A row per kind and distance, then one per kind, then all."""
    table = Table("kind", "sentences back", "probes", "right", "wrong", "neither", "right, %")
    for column in table.columns[2:]:
        column.justify = "right"
    kinds = dict.fromkeys(kind for kind, _ in counts)
    for kind in kinds:
        of_kind = {distance: found for (this, distance), found in counts.items() if this == kind}
        for distance, found in of_kind.items():
            table.add_row(kind, distance, *_cells(found))
        table.add_row(kind, "all", *_cells(_sum(of_kind.values())), end_section=True)
    table.add_row("all", "all", *_cells(_sum(counts.values())))
    Console(highlight=False).print(table)


def _cells(found: Counter[str]) -> list[str]:
    total = sum(found.values())
    share = 100 * found["right"] / total if total else 0.0
    return [f"{total:,}", *(f"{found[name]:,}" for name in ANSWERS), f"{share:.1f}"]


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    return sum(counters, Counter())


if __name__ == "__main__":
    main()
