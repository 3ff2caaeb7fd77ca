"""What the pictures show, read back from matplotlib's objects."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from reluformer.comparison.rows import Result, Row, rows_of

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from reluformer.comparison.pictures import (
    by_window_length,
    curve_of,
    draw_curves,
    draw_distance,
    draw_length,
    draw_quality_cost,
    half_interval,
    name_points,
    style,
)

Make = Callable[..., Result]


def test_a_curve_is_the_mean_over_seeds_where_all_have_been() -> None:
    curve = curve_of([{10: 1.0, 20: 4.0}, {10: 3.0, 20: 5.0, 30: 9.0}])
    assert curve.updates == [10, 20]
    assert curve.means == [2.0, 4.5]
    assert (curve.lowest, curve.highest) == ([1.0, 4.0], [3.0, 5.0])


def test_systems_look_different() -> None:
    looks = [str(style(place)) for place in range(35)]
    assert len(set(looks)) == 35


def test_names_cover_no_other_name() -> None:
    """Twelve systems of nearly the same quality and cost."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    points = [(f"system {i}", 1000.0 + i % 3, 30.0 + i // 3 / 10) for i in range(12)]
    axes.scatter([x for _, x, _ in points], [y for _, _, y in points])
    axes.set_xlim(900, 1100)
    axes.set_ylim(25, 35)
    name_points(figure, axes, points)
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == 12
    assert min(box.width for box in boxes) > 20
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.mark.check("C6")
def test_a_label_is_no_formula(result: Make, tmp_path: Path) -> None:
    labels = ["a$b", "$x^{", r"$\frac$", "a$$", r"\$", "<b>", "ü"]
    results = [result(label, 1, 30.0, tokens_per_second=9.0) for label in labels]
    draw_curves(results, tmp_path / "curves.png")
    draw_quality_cost(rows_of(results, [], None), "detokenised", tmp_path / "cost.png")
    figure = Figure()
    axes = figure.subplots()
    name_points(figure, axes, [("$x^{", 0.5, 0.5)])
    figure.draw_without_rendering()
    assert [text.get_text() for text in axes.texts] == [r"\$x^{"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_stands_beside_its_point() -> None:
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    points = [("left", 1710.0, 12.1), ("right", 2470.0, 11.6)]
    for _, x, y in points:
        axes.errorbar(x, y, yerr=5.0, fmt="o")
    name_points(figure, axes, points)
    for text, (_, x, y) in zip(axes.texts, points, strict=True):
        point_x, point_y = axes.transData.transform((x, y))
        box = text.get_window_extent()
        assert 0 < box.x0 - point_x < 20
        assert box.y0 < point_y < box.y1


def test_a_line_by_length_joins_what_differs_in_nothing_else(tmp_path: Path) -> None:
    def row(label: str, length: int | None, **numbers: float | None) -> Row:
        return Row(label, [1], {"bleu": 30.0, "window_length": length, **numbers})

    rows = [
        row("relu-512-0.1", 512, bleu_seeds=2.0, bleu_bootstrap=1.0),
        row("relu-128-0.1", 128, bleu_seeds=None, bleu_bootstrap=1.0),
        row("softmax-512-0.1", 512),
        row("sentences", None),
        row("512", 512),
    ]
    assert by_window_length(rows) == {
        "relu-0.1": [(128, 30.0, 1.0), (512, 30.0, 2.0)],
        "softmax-0.1": [(512, 30.0, 0.0)],
        "512": [(512, 30.0, 0.0)],
    }
    draw_length(rows, "d-BLEU, detokenised", tmp_path / "length.png")
    assert (tmp_path / "length.png").read_bytes().startswith(b"\x89PNG")


def test_right_words_are_drawn_by_distance(tmp_path: Path) -> None:
    near = {"probes_right/1-7": 0.9, "probes_right/1024+": 0.6, "probes_right/1-7_seeds": 0.04}
    far = {"probes_right/1-7": 0.5, "probes/1-7": 25}
    assert half_interval(near, "1-7", 0.9) == 0.04
    assert half_interval(far, "1-7", 0.5) == pytest.approx(0.196)
    rows = [Row("relu", [1], dict(near)), Row("softmax", [1], dict(far)), Row("other", [1], {})]
    draw_distance(rows, tmp_path / "distance.png")
    assert (tmp_path / "distance.png").read_bytes().startswith(b"\x89PNG")


def test_both_pictures_are_drawn(result: Make, tmp_path: Path) -> None:
    runs = [
        result(label, seed, 30.0 + seed, tokens_per_second=1000.0)
        for label in ("softmax", "relu")
        for seed in (1, 2)
    ]
    draw_curves(runs, tmp_path / "curves.png")
    draw_quality_cost(rows_of(runs, [], None), "detokenised", tmp_path / "cost.png")
    for name in ("curves.png", "cost.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
