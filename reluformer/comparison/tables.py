"""Tables of rows as Markdown, CSV, LaTeX and HTML, from one description of the columns."""

import csv
import html
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reluformer.analysis.ffn import FFN_SITES
from reluformer.comparison.rows import Row
from reluformer.evaluation.probes import BUCKETS, KINDS
from reluformer.model.transformer import SITES

MISSING = "–"
LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the start of a row, an option of the line end before it
    "]": "{]}",
    "*": "{*}",  # likewise
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "<": "$<$",
    ">": "$>$",
    MISSING: "--",
}


@dataclass(frozen=True)
class Column:
    """What a column is called, where its value is in a row, and how it is written."""

    title: str
    value: Callable[[Row], Any]
    form: str = "{}"
    left: bool = False

    def text(self, row: Row) -> str:
        value = self.value(row)
        return MISSING if value is None else self.form.format(value)


@dataclass(frozen=True)
class Table:
    """Some of the columns, under a title; the first is the system."""

    title: str
    columns: list[Column]

    def cells(self, rows: Iterable[Row]) -> list[list[str]]:
        return [[column.text(row) for column in self.columns] for row in rows]


def number(title: str, name: str, form: str) -> Column:
    return Column(title, lambda row: row.numbers.get(name), form)


# Whatever ends a line in some format would end the row.
SYSTEM = Column("system", lambda row: " ".join(row.label.split()), left=True)


def tables(rows: Sequence[Row], bleu: str) -> list[Table]:
    """The tables that have anything to say about these rows; `bleu` says which BLEU it is."""
    groups = {
        "Quality": quality(bleu),
        "Documents": DOCUMENTS,
        "Where context decides": PROBES,
        "Cost": COST,
        "Attention": by_site(SITES, ATTENTION),
        "Feed-forward networks": by_site(FFN_SITES, FFN),
    }
    filled = {title: [one for one in own if has_values(one, rows)] for title, own in groups.items()}
    return [Table(title, [SYSTEM, *own]) for title, own in filled.items() if own]


def has_values(column: Column, rows: Sequence[Row]) -> bool:
    return any(column.value(row) is not None for row in rows)


def quality(bleu: str) -> list[Column]:
    return [
        Column("seeds", lambda row: len(row.seeds)),
        number(f"BLEU ({bleu})", "bleu", "{:.1f}"),
        number("± seeds", "bleu_seeds", "{:.1f}"),
        number("± test set", "bleu_bootstrap", "{:.1f}"),
        number("Δ BLEU", "bleu_difference", "{:+.1f}"),
        number("p of Δ", "bleu_p", "{:.3f}"),
        Column("p < 0.05", lambda row: count_of(row, "bleu")),
        number("chrF2", "chrf", "{:.1f}"),
        number("± seeds (chrF2)", "chrf_seeds", "{:.1f}"),
        number("± test set (chrF2)", "chrf_bootstrap", "{:.1f}"),
        number("Δ chrF2", "chrf_difference", "{:+.1f}"),
        number("p of Δ chrF2", "chrf_p", "{:.3f}"),
    ]


def count_of(row: Row, metric: str) -> str | None:
    pairs = row.numbers.get(f"{metric}_pairs")
    significant = row.numbers.get(f"{metric}_significant")
    return None if pairs is None or significant is None else f"{significant:.0f} of {pairs:.0f}"


DOCUMENTS = [
    number("s-BLEU (detokenised)", "sentence_bleu", "{:.1f}"),
    number("length of windows", "window_length", "{:,.0f}"),
    number("windows", "windows", "{:,.0f}"),
    number("windows repaired", "repaired", "{:.1%}"),
]
PROBES = [
    number("right", "probes_right/all", "{:.1%}"),
    number("neither right nor wrong", "probes_neither/all", "{:.1%}"),
    *(number(f"right, {name}", f"probes_right/{name}", "{:.1%}") for name in KINDS),
    *(number(f"right, {name} words back", f"probes_right/{name}", "{:.1%}") for name in BUCKETS),
]
COST = [
    number("parameters", "parameters", "{:,.0f}"),
    number("training tokens/s", "tokens_per_second", "{:,.0f}"),
    number("training minutes", "minutes", "{:,.1f}"),
    number("updates", "updates", "{:,.0f}"),
    number("best at", "best_update", "{:,.0f}"),
    number("translated sentences/s", "sentences_per_second", "{:,.1f}"),
    number("peak memory, MB", "memory_mb", "{:,.0f}"),
]
ATTENTION = {"entropy": "{:.2f}", "sparsity": "{:.2f}", "dead_rows": "{:.3f}"}
FFN = {
    "variance_ratio": "{:.3g}",
    "top_0.2%": "{:.2f}",
    "top_1%": "{:.2f}",
    "top_10%": "{:.2f}",
    "anisotropy": "{:.3f}",
}


def by_site(sites: Sequence[str], statistics: dict[str, str]) -> list[Column]:
    return [
        number(f"{name.replace('_', ' ')}, {site.partition('_')[0]}", f"{site}/{name}", form)
        for name, form in statistics.items()
        for site in sites
    ]


def markdown(table: Table, rows: Sequence[Row]) -> str:
    titles = [column.title for column in table.columns]
    aligned = ["---" if column.left else "---:" for column in table.columns]
    lines = [titles, *table.cells(rows)]
    escaped = [[cell.replace("\\", "\\\\").replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in [escaped[0], aligned, *escaped[1:]])


def as_csv(parts: Sequence[Table], rows: Sequence[Row]) -> str:
    """All tables side by side, with numbers as they are, unrounded."""
    columns = [SYSTEM, *(column for table in parts for column in table.columns[1:])]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.title for column in columns])
    writer.writerows([[column.value(row) for column in columns] for row in rows])
    return file.getvalue()


def latex(table: Table, rows: Sequence[Row]) -> str:
    """A tabular with booktabs' rules."""
    columns = "".join("l" if column.left else "r" for column in table.columns)
    titles, *body = [[column.title for column in table.columns], *table.cells(rows)]
    lines = [" & ".join(map(latex_text, cells)) + r" \\" for cells in (titles, *body)]
    return "\n".join(
        [
            f"% {table.title}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def latex_text(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def as_html(table: Table, rows: Sequence[Row]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="left"' if column.left else "" for column in table.columns]
        made = (
            f"<{tag}{kind}>{html.escape(cell)}</{tag}>"
            for cell, kind in zip(cells, kinds, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "\n".join(line(cells, "td") for cells in table.cells(rows))
    head = line([column.title for column in table.columns], "th")
    return (
        f"<h2>{html.escape(table.title)}</h2>\n<div class=scroll><table>\n"
        f"<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )
