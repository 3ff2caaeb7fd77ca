"""A table of trained and scored runs, as scripts/quickstart.sh and the reproductions end with.

python scripts/runs_table.py [--markdown] RUN_FOLDER...
"""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = (
    "system",
    "BLEU (detokenised)",
    "chrF2",
    "BLEU (tokens, lower case)",
    "parameters",
    "training tokens/s",
    "training minutes",
    "updates",
    "best at",
)


def main(arguments: list[str]) -> None:
    """Print scores, size, speed and time of scored runs, with the scores' signatures."""
    folders = [Path(argument) for argument in arguments if argument != "--markdown"]
    rows = [row(folder) for folder in folders]
    if "--markdown" in arguments:
        for cells in (COLUMNS, ["---", *["---:"] * (len(COLUMNS) - 1)], *rows):
            print(f"| {' | '.join(cells)} |")
    else:
        table = Table(*COLUMNS)
        for column in table.columns[1:]:
            column.justify = "right"
        for cells in rows:
            table.add_row(*cells)
        Console(highlight=False, width=None if sys.stdout.isatty() else 140).print(table)
    score = read(folders[0] / "scores.json")["systems"][0]
    print()
    print(f"BLEU (detokenised): {score['detokenised']['bleu_signature']}")
    print(f"chrF2: {score['detokenised']['chrf_signature']}")
    print(f"BLEU (tokens, lower case): {score['tokenised_lowercased']['bleu_signature']}")


def row(folder: Path) -> list[str]:
    """The cells of one run."""
    summary, score = read(folder / "summary.json"), read(folder / "scores.json")["systems"][0]
    return [
        folder.name,
        f"{score['detokenised']['bleu']:.1f}",
        f"{score['detokenised']['chrf']:.1f}",
        f"{score['tokenised_lowercased']['bleu']:.1f}",
        f"{summary['parameters']:,}",
        f"{summary['tokens_per_second']:,.0f}",
        f"{summary['minutes']:.1f}",
        f"{summary['updates']:,}",
        f"{summary['best_update']:,}",
    ]


def read(path: Path) -> dict[str, Any]:
    """A JSON file that an earlier step has written."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        print(f"error: {path} is missing: train, translate and score that run", file=sys.stderr)
        sys.exit(2)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
