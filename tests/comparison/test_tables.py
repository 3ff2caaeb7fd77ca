"""The same rows in four formats, and what each format must escape."""

import csv
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fuzzing import cases
from hypothesis import given
from hypothesis import strategies as st

from reluformer.comparison.jobs import Outcome
from reluformer.comparison.report import Comparison, write_report
from reluformer.comparison.rows import Difference, Result, Row, results_json, rows_of
from reluformer.comparison.tables import as_csv, as_html, latex, latex_text, markdown, tables

Make = Callable[..., Result]
NASTY = "a_b|50% <x> & \\"
SPECIAL = "&%$#_{}~^|[]*"


def test_markdown(result: Make) -> None:
    rows = rows_of([result("relu", 1, 30.04), result("x|y", 1, 29.96)], [], None)
    text = markdown(tables(rows, "detokenised")[0], rows)
    assert text.split("\n") == [
        "| system | seeds | BLEU (detokenised) | ± test set | chrF2 |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| relu | 1 | 30.0 | 1.5 | 50.0 |",
        "| x\\|y | 1 | 30.0 | 1.5 | 50.0 |",
        "",
    ]


def test_columns_without_values_and_cells_without_one(result: Make) -> None:
    difference = Difference("relu", 1, "bleu", -0.25, 0.0123)
    runs = [result("softmax", 1, 30.0), result("relu", 1, 29.75, parameters=1234567.0)]
    rows = rows_of(runs, [difference], "softmax")
    quality, cost = tables(rows, "detokenised")
    assert quality.cells(rows)[0][4:7] == ["–", "–", "–"]
    assert quality.cells(rows)[1][4:7] == ["-0.2", "0.012", "1 of 1"]
    assert cost.cells(rows) == [["softmax", "–"], ["relu", "1,234,567"]]


def test_csv_holds_all_tables_with_numbers_as_they_are(result: Make) -> None:
    rows = rows_of([result(NASTY + ',"', 1, 30.123456, parameters=1234.0)], [], None)
    header, line = csv.reader(io.StringIO(as_csv(tables(rows, "detokenised"), rows)))
    found = dict(zip(header, line, strict=True))
    assert found["system"] == NASTY + ',"'
    assert found["BLEU (detokenised)"] == "30.123456"
    assert found["parameters"] == "1234.0"


def test_latex_escapes(result: Make) -> None:
    rows = rows_of([result(NASTY, 1, 30.0)], [], None)
    text = latex(tables(rows, "detokenised")[0], rows)
    assert r"a\_b\textbar{}50\% $<$x$>$ \& \textbackslash{} & 1 & 30.0 & 1.5 & 50.0 \\" in text
    assert r"\begin{tabular}{lrrrr}" in text
    assert r"$\pm$ test set" in text


class Cells(HTMLParser):
    """The texts of a table's cells, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


NUMBERS = st.dictionaries(
    st.sampled_from(["bleu", "bleu_p", "bleu_pairs", "chrf_significant", "parameters", "x"]),
    st.none() | st.floats() | st.integers(),
)
ROWS = st.builds(
    Row,
    label=st.text(st.characters(exclude_categories=["Cs"])) | st.text("|\\&<>\"'\n\r{}[]%`* "),
    seeds=st.lists(st.integers(0, 9), max_size=3),
    numbers=NUMBERS,
)


@pytest.mark.check("B6")
@pytest.mark.timeout(3600)
def test_any_label_and_number_fill_one_row(trials: Callable[[int, int], int]) -> None:
    @cases(trials(50, 2500))
    @given(st.lists(ROWS, min_size=1, max_size=4))
    def fill(rows: list[Row]) -> None:
        labels = [" ".join(row.label.split()) for row in rows]
        made = tables(rows, "detokenised")
        header, *lines = csv.reader(io.StringIO(as_csv(made, rows)))
        assert [line[0] for line in lines] == labels
        assert {len(line) for line in lines} == {len(header)}
        for table in made:
            assert re.split(r"[\n\r]", markdown(table, rows))[len(rows) + 2 :] == [""]
            assert len(re.split(r"[\n\r]", latex(table, rows))) == len(rows) + 8
            (titles, *found) = Cells(as_html(table, rows)).rows
            assert [cells[0].strip() for cells in found] == labels
            assert {len(cells) for cells in found} == {len(titles)}

    fill()


def test_every_special_character_of_latex() -> None:
    """Brackets and stars would be arguments of the line end before them."""
    said = r"\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}\textbar{}{[}{]}{*}"
    assert latex_text(SPECIAL) == said


def test_html_escapes(result: Make) -> None:
    rows = rows_of([result("<script>&", 1, 30.0)], [], None)
    text = as_html(tables(rows, "detokenised")[0], rows)
    assert "&lt;script&gt;&amp;" in text
    assert "<script" not in text


class Balanced(HTMLParser):
    """Counts the tags that must be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ("table", "thead", "tbody", "tr", "td", "th", "ul", "div", "style"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_the_report_lists_failures_and_needs_nothing_else(result: Make, tmp_path: Path) -> None:
    (tmp_path / "curves.png").write_bytes(b"picture")
    failure = Outcome("relu-seed1", "failed", "train: no <memory>")
    comparison = Comparison(
        "Comparison: a & b",
        [result("softmax", 1, 30.0)],
        [],
        "softmax",
        "detokenised",
        [failure],
        ["Measured alone."],
    )
    write_report(comparison, tmp_path)
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "<h1>Comparison: a &amp; b</h1>" in page
    assert "train: no &lt;memory&gt;" in page
    assert "data:image/png;base64,cGljdHVyZQ==" in page
    assert "prefers-color-scheme: dark" in page
    assert "http" not in page
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "## Failed\n\n- relu-seed1: train: no <memory>\n" in text
    assert "- BLEU: nrefs:1\n" in text
    assert "- Measured alone.\n" in text


def test_a_report_of_nothing_but_failures(tmp_path: Path) -> None:
    failure = Outcome("relu-seed1", "failed", "train: it broke")
    write_report(Comparison("c", [], [], None, "detokenised", [failure], []), tmp_path)
    assert "it broke" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert (tmp_path / "table.csv").read_text(encoding="utf-8") == "system\n"


def notes(results: list[Result], differences: list[Difference], baseline: str | None) -> str:
    return "\n".join(Comparison("c", results, differences, baseline, "", [], []).notes)


def test_a_baseline_without_a_pair_is_said_to_have_none(result: Make) -> None:
    """It failed, or its seeds are not those of the others."""
    alone = [result("relu", 1, 30.0), result("base", 2, 30.0)]
    said = "There is no Δ and no p: no other system has a finished run with a seed of"
    assert said in notes(alone, [], "base")
    assert said in notes(alone[:1], [], "base")
    assert "against base" not in notes(alone, [], "base")
    paired = notes(alone, [Difference("relu", 1, "bleu", 0.1, 0.5)], "base")
    assert "Δ and p: against base with the same seed" in paired
    assert said not in paired
    assert "Δ" not in notes(alone, [], None)


def test_runs_that_were_not_trained_alike(result: Make) -> None:
    runs = [result(label, seed, 30.0) for label in ("relu", "softmax") for seed in (1, 2)]
    for run in runs:
        run.environment.update(commit="abc", threads=1, device="cpu")
    assert "not trained alike" not in notes(runs, [], None)
    runs[1].environment.update(threads=None)
    runs[3].environment.update(commit="def")
    said = "The runs were not trained alike: "
    said += "commit: abc (relu-seed1 and 2 more), def (softmax-seed2); "
    said += "threads: 1 (relu-seed1 and 2 more), None (relu-seed2)."
    assert said in notes(runs, [], None)
    assert '"commit": "def"' in results_json(runs, [], [])


def test_weights_that_runs_began_with_are_each_their_own(result: Make) -> None:
    runs = [result("relu", seed, 30.0) for seed in (1, 2)]
    assert "began with the weights" not in notes(runs, [], None)
    for run in runs:
        run.environment["initial_weights"] = {"checkpoint": f"before-{run.seed}"}
    said = notes(runs, [], None)
    assert "relu-seed1 and 1 more began with the weights of an earlier run each" in said
    assert "not trained alike" not in said
