"""The folder that a comparison ends in: tables, pictures, all numbers."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reluformer.comparison.jobs import Outcome
from reluformer.comparison.rows import Difference, Result, Row, results_json, rows_of
from reluformer.comparison.tables import Table, as_csv, as_html, latex, markdown, tables
from reluformer.durable import write_whole

PICTURES = {
    "curves.png": "Validation loss and BLEU by update",
    "signals.png": "Attention by update",
    "length.png": "BLEU by length of the windows",
    "distance.png": "Right words by the distance of what decides them (without context: half)",
    "quality_cost.png": "Quality against cost",
}
STAGED = "initial_weights"  # in the environment of runs that began with those of another
STYLE = """\
:root { color-scheme: light dark; --line: #d0d4da; --soft: #f4f6f8; --dim: #5b6470; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4048; --soft: #22262b; --dim: #a3acb8; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid var(--line); color: var(--dim); font-weight: 600; }
td { border-bottom: 1px solid var(--line); }
tbody tr:hover { background: var(--soft); }
.left { text-align: left; }
img { max-width: 100%; background: #fff; border-radius: 8px; }
li { color: var(--dim); }
"""


@dataclass(frozen=True)
class Comparison:
    """All that the tables say: `conditions` are sentences on how the numbers came about."""

    title: str
    results: list[Result]
    differences: list[Difference]
    baseline: str | None
    bleu: str
    failures: list[Outcome]
    conditions: list[str]

    @property
    def rows(self) -> list[Row]:
        return rows_of(self.results, self.differences, self.baseline)

    @property
    def notes(self) -> list[str]:
        """What a reader must know to read the tables."""
        found = [
            f"BLEU is {self.bleu}; the other form is in results.json.",
            *(f"{name}: {text}" for name, text in self._signatures().items()),
            "± seeds: 95% interval of the mean over seeds (Student's t); ± test set: 95% bootstrap "
            "interval of one run, mean over seeds.",
        ]
        if self.differences:
            found.append(
                f"Δ and p: against {self.baseline} with the same seed, paired bootstrap; Δ is the "
                "mean over seeds, p the largest (not corrected for the number of systems), and "
                "the last column of the kind counts the seeds with p < 0.05."
            )
        elif self.baseline is not None:
            found.append(
                f"There is no Δ and no p: no other system has a finished run with a seed of a "
                f"finished run of the baseline, {self.baseline}."
            )
        staged = [one.title for one in self.results if one.environment.get(STAGED)]
        if staged:
            found.append(
                f"{first_and_count(staged)} began with the weights of an earlier run each, which "
                "results.json names; training tokens, minutes and updates are those after it."
            )
        if unlike := unlike_environments(self.results):
            found.append(f"The runs were not trained alike: {'; '.join(unlike)}.")
        found.append(
            "Attention and feed-forward statistics are of the validation set, means over layers: "
            "entropy in nats, sparsity the share of visible weights that are 0, dead rows the "
            "share of rows whose weights are all 0; variance ratio that of the network's output "
            "to the residual stream, top p% the share of slot weight in the largest p% of slots, "
            "anisotropy the mean cosine between values."
        )
        return [*found, *self.conditions]

    def _signatures(self) -> Mapping[str, str]:
        names = {"bleu_signature": "BLEU", "chrf_signature": "chrF2"}
        signatures = self.results[0].signatures if self.results else {}
        return {name: signatures[key] for key, name in names.items() if key in signatures}


def unlike_environments(results: Sequence[Result]) -> list[str]:
    """`key: value (run), value (run and 2 more)` of all that the runs' trainings differ in."""
    found = []
    for key in dict.fromkeys(key for result in results for key in result.environment):
        if key == STAGED:  # each its own
            continue
        titles: dict[str, list[str]] = {}
        for result in results:
            titles.setdefault(str(result.environment.get(key)), []).append(result.title)
        if len(titles) > 1:
            said = (f"{value} ({first_and_count(runs)})" for value, runs in titles.items())
            found.append(f"{key}: {', '.join(said)}")
    return found


def first_and_count(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def write_report(comparison: Comparison, folder: Path) -> None:
    """table.md, .csv, .tex and .html, and results.json; pictures that are there go into the html.

    Nothing is left of an earlier report.
    """
    rows = comparison.rows
    parts = tables(rows, comparison.bleu)
    files = {
        "table.md": markdown_page(comparison, parts, rows),
        "table.csv": as_csv(parts, rows),
        "table.tex": "\n".join(latex(part, rows) for part in parts),
        "table.html": html_page(comparison, parts, rows, folder),
        "results.json": results_json(comparison.results, rows, comparison.differences),
    }
    for name, text in files.items():
        write_whole(folder / name, text.encode("utf-8"))


def failure_lines(failures: Sequence[Outcome]) -> list[str]:
    return [f"{outcome.job}: {outcome.message}" for outcome in failures]


def markdown_page(comparison: Comparison, parts: Sequence[Table], rows: Sequence[Row]) -> str:
    sections = [f"# {comparison.title}\n"]
    sections += [f"## {part.title}\n\n{markdown(part, rows)}" for part in parts]
    if comparison.failures:
        sections.append("## Failed\n\n" + bullets(failure_lines(comparison.failures)))
    sections.append("## Notes\n\n" + bullets(comparison.notes))
    return "\n".join(sections)


def bullets(lines: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def html_page(
    comparison: Comparison, parts: Sequence[Table], rows: Sequence[Row], folder: Path
) -> str:
    """One file with everything in it."""
    title = html.escape(comparison.title)
    sections = [as_html(part, rows) for part in parts]
    sections += [picture(folder / name, said) for name, said in PICTURES.items()]
    if comparison.failures:
        sections.append(html_list("Failed", failure_lines(comparison.failures)))
    sections.append(html_list("Notes", comparison.notes))
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>\n{STYLE}</style>\n<h1>{title}</h1>\n"
        f"{''.join(sections)}</html>\n"
    )


def html_list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>\n" for line in lines)
    return f"<h2>{title}</h2>\n<ul>\n{items}</ul>\n"


def picture(path: Path, said: str) -> str:
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<h2>{said}</h2>\n<img alt="{said}" src="data:image/png;base64,{data}">\n'
