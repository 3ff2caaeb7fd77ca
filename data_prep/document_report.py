"""How long the documents of a corpus are, as numbers and as a table."""

from typing import Any

import numpy as np
from output import Report
from rich.box import SIMPLE_HEAD
from rich.table import Table

from reluformer.console import console

LONG = (512, 1024, 2048)  # words; the lengths that long-document models are compared at


def describe_documents(sentences: np.ndarray, words: dict[str, np.ndarray]) -> Report:
    """Statistics of each document's number of sentences, and of words in each language."""
    return {"sentences": _summary(sentences)} | {
        f"words {lang}": _summary(lengths) | _lengths(lengths) for lang, lengths in words.items()
    }


def _summary(values: np.ndarray) -> Report:
    return {
        "mean": round(float(values.mean()), 1),
        "median": float(np.median(values)),
        "p90": round(float(np.percentile(values, 90)), 1),
        "longest": int(values.max()),
    }


def _lengths(words: np.ndarray) -> Report:
    """How many documents are of which length, in powers of two, and how many reach a long one."""
    return {
        "reaching": {str(length): int((words >= length).sum()) for length in LONG},
        "histogram": {
            name: int(((first <= words) & (words <= last)).sum())
            for name, first, last in _buckets(int(words.max()))
        },
    }


def _buckets(longest: int) -> list[tuple[str, int, int]]:
    """0-31, 32-63, 64-127, ... words, as far as there are documents."""
    buckets = [("0-31", 0, 31)]
    while buckets[-1][2] < longest:
        first = buckets[-1][2] + 1
        buckets.append((f"{first}-{2 * first - 1}", first, 2 * first - 1))
    return buckets


def print_documents(counts: Report) -> None:
    """Tables of the splits that are made of documents; nothing if none is."""
    splits = {
        split: count["document_lengths"]
        for split, count in counts.items()
        if isinstance(count, dict) and "document_lengths" in count
    }
    if splits:
        console.print(_summary_table(splits))
        console.print(_histogram_table(splits))


def _summary_table(splits: dict[str, Report]) -> Table:
    table = _table("In a document", "mean", "median", "90 %", "longest", *(f"≥ {n}" for n in LONG))
    for split, lengths in splits.items():
        for what, numbers in lengths.items():
            summary = (numbers[key] for key in ("mean", "median", "p90", "longest"))
            table.add_row(
                f"{split} {what}", *_cells(*summary, *numbers.get("reaching", {}).values())
            )
    return table


def _histogram_table(splits: dict[str, Report]) -> Table:
    columns = {
        f"{split} {what.removeprefix('words ')}": numbers["histogram"]
        for split, lengths in splits.items()
        for what, numbers in lengths.items()
        if "histogram" in numbers
    }
    table = _table("Documents of words", *columns)
    for bucket in max(columns.values(), key=len):
        table.add_row(bucket, *_cells(*(column.get(bucket, 0) for column in columns.values())))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=SIMPLE_HEAD)
    for other in others:
        table.add_column(other, justify="right")
    return table


def _cells(*numbers: Any) -> list[str]:
    return [f"{number:,}".removesuffix(".0") for number in numbers]
