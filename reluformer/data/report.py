"""What is in a prepared corpus, for the person who made it."""

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from reluformer.data.corpus import SIDES, Manifest

REASONS = {"empty": "empty on a side", "ratio": "of unequal length", "too_long": "too long"}


def corpus_table(manifest: Manifest) -> Table:
    """One row for each side of each split; percentages are percentiles of the length."""
    title = Text(f"{manifest.data['name']} ({manifest.digest[:12]}), lengths in tokens")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("split")
    table.add_column("side")
    for name in ("pairs", "tokens", "unknown", "50 %", "95 %", "99 %", "longest"):
        table.add_column(name, justify="right")
    for name, split in manifest.splits.items():
        for side in SIDES:
            counts = split[side]
            table.add_row(
                name if side == SIDES[0] else "",
                Text(manifest.data[f"{side}_lang"]),
                f"{split['sentences']:,}" if side == SIDES[0] else "",
                f"{counts['tokens']:,}",
                f"{counts['unknown'] / max(counts['tokens'], 1):.2%}",
                *(str(counts["percentiles"][percent]) for percent in ("50", "95", "99")),
                f"{counts['longest']:,}",
            )
    return table


def losses(manifest: Manifest) -> Iterator[str]:
    """A line for each split of which something is beyond the limits."""
    shortened = "truncated" if manifest.data["too_long"] == "truncate" else "dropped"
    for name, split in manifest.splits.items():
        fates = {"empty": "dropped", "ratio": "dropped", "too_long": shortened}
        found = [_loss(split, key, fates[key]) for key in REASONS if split[key]]
        if split["cut"]:
            found.append(f"{split['cut']:,} endless lines cut")
        if split.get("nul"):  # not in corpora of earlier versions
            found.append(f"{split['nul']:,} lines with NUL characters")
        if found:
            yield f"{name}: of {split['lines']:,} pairs {', '.join(found)}"


def _loss(split: dict[str, Any], reason: str, fate: str) -> str:
    return f"{split[reason]:,} {REASONS[reason]} ({fate if split['enforced'] else 'kept'})"
