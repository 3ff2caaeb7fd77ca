"""The table at the end of scripts/quickstart.sh: one line for each run folder given."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def main(folders: list[Path]) -> None:
    """Print scores, size, speed and time of scored runs, with the scores' signatures."""
    summaries = {folder: read(folder / "summary.json") for folder in folders}
    scores = {folder: read(folder / "scores.json")["systems"][0] for folder in folders}
    table = Table("system", "BLEU", "chrF2", "parameters", "training tokens/s", "minutes")
    for column in table.columns[1:]:
        column.justify = "right"
    for folder in folders:
        score, summary = scores[folder]["detokenised"], summaries[folder]
        table.add_row(
            folder.name,
            f"{score['bleu']:.1f}",
            f"{score['chrf']:.1f}",
            f"{summary['parameters']:,}",
            f"{summary['tokens_per_second']:,.0f}",
            f"{summary['minutes']:.1f}",
        )
    out = Console(highlight=False)
    out.print(table)
    signatures = scores[folders[0]]["detokenised"]
    out.print(f"BLEU:  {signatures['bleu_signature']}", soft_wrap=True)
    out.print(f"chrF2: {signatures['chrf_signature']}", soft_wrap=True)


def read(path: Path) -> dict[str, Any]:
    """A JSON file that an earlier step has written."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        print(f"error: {path} is missing: run scripts/quickstart.sh first", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
