"""Pictures of a comparison: training curves, and quality by length, distance and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from reluformer.comparison.rows import SIGNALS, Number, Result, Row
from reluformer.evaluation.probes import BUCKETS
from reluformer.model.transformer import SITES

# Okabe and Ito's colours, told apart with every common kind of colour vision; then line styles.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
# Where a name may stand around its point, in points, the nearest places first.
PLACES = [
    (dx * distance, dy * distance)
    for distance in (8, 16, 26, 40, 60, 90)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
]
OPTIONS: dict[str, Any] = {"dpi": 150, "bbox_inches": "tight", "facecolor": "white"}


@dataclass(frozen=True)
class Curve:
    """A system's mean over seeds by update, with the lowest and the highest of them."""

    updates: list[int]
    means: list[float]
    lowest: list[float]
    highest: list[float]


def style(place: int) -> dict[str, Any]:
    """A colour and a line style for the system at this place of the list."""
    line = LINES[place // len(COLOURS) % len(LINES)]
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": line}


def plain(label: str) -> str:
    """The label as it is: between dollars, matplotlib would read a formula."""
    return label.replace("$", r"\$")


def curve_of(runs: Sequence[dict[int, float]]) -> Curve:
    """Over the updates that all runs have reached."""
    updates = sorted(set.intersection(*(set(run) for run in runs)))
    values = [[run[update] for run in runs] for update in updates]
    return Curve(updates, *([pick(group) for group in values] for pick in (mean, min, max)))


def draw_curves(results: Sequence[Result], path: Path) -> None:
    """Validation loss and BLEU by update: a line for each system, its seeds' range as a band."""
    labels = list(dict.fromkeys(result.label for result in results))
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    titles = {"nll": "validation loss, nats per token", "bleu": "validation BLEU"}
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        for place, label in enumerate(labels):
            runs = [result.curves.get(name, {}) for result in results if result.label == label]
            draw_curve(axes, curve_of(runs), label, style(place))
        dress(axes, "updates", title)
    handles, names = panels[0].get_legend_handles_labels()
    columns = 1 + len(names) // 16
    figure.legend(handles, names, loc="outside right upper", frameon=False, ncols=columns)
    figure.savefig(path, **OPTIONS)


def draw_signals(results: Sequence[Result], path: Path) -> None:
    """Row sums, dead rows and deviation of scores by update: a panel for each of them and site."""
    labels = list(dict.fromkeys(result.label for result in results))
    figure = Figure(figsize=(13, 8), layout="constrained")
    panels = figure.subplots(len(SIGNALS), len(SITES), sharex=True, sharey="row")
    for axes_of_signal, (signal, title) in zip(panels, SIGNALS.items(), strict=True):
        for axes, site in zip(axes_of_signal, SITES, strict=True):
            for place, label in enumerate(labels):
                runs = [
                    one.curves.get(f"{site}/{signal}", {}) for one in results if one.label == label
                ]
                draw_curve(axes, curve_of(runs), label, style(place))
            dress(axes, "updates", title)
            axes.set_title(site.replace("_", " "), size=10)
        values = [y for axes in axes_of_signal for line in axes.lines for y in line.get_ydata()]
        if signal != "dead_rows" and any(y > 0 for y in values):  # a share that is often 0
            axes_of_signal[0].set_yscale("log")
    handles, names = panels[0, 0].get_legend_handles_labels()
    columns = 1 + len(names) // 30
    figure.legend(handles, names, loc="outside right upper", frameon=False, ncols=columns)
    figure.savefig(path, **OPTIONS)


def draw_curve(axes: Axes, curve: Curve, label: str, look: dict[str, Any]) -> None:
    marker = "o" if len(curve.updates) == 1 else None
    line: dict[str, Any] = {"linewidth": 1.8, "marker": marker, **look}
    axes.plot(curve.updates, curve.means, label=plain(label), **line)
    axes.fill_between(curve.updates, curve.lowest, curve.highest, color=look["color"], alpha=0.15)


def draw_quality_cost(rows: Sequence[Row], bleu: str, path: Path) -> None:
    """BLEU against training speed, a named point for each system, bars for the seeds' interval."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    points: list[tuple[str, float, float]] = []
    for place, row in enumerate(rows):
        speed, quality = row.numbers.get("tokens_per_second"), row.numbers.get("bleu")
        if speed is None or quality is None:
            continue
        spread = row.numbers.get("bleu_seeds")
        colour = COLOURS[place % len(COLOURS)]
        axes.errorbar(speed, quality, yerr=spread, fmt="o", color=colour, capsize=3, elinewidth=1)
        points.append((row.label, speed, quality))
    axes.margins(0.15)
    dress(axes, "training speed, target tokens per second", f"test BLEU ({bleu})")
    name_points(figure, axes, points)
    figure.savefig(path, **OPTIONS)


def draw_length(rows: Sequence[Row], bleu: str, path: Path) -> None:
    """BLEU by length of the windows, a line for systems that differ in nothing else.

    Bars are 95% intervals: of the mean over seeds, or of the test set where there is one seed.
    """
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.subplots()
    for place, (name, points) in enumerate(by_window_length(rows).items()):
        lengths, quality, spread = zip(*points, strict=True)
        axes.errorbar(
            lengths, quality, yerr=spread, label=plain(name), marker="o", capsize=3, **style(place)
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    dress(axes, "length of the windows, positions", f"test BLEU ({bleu})")
    axes.legend(frameon=False)
    figure.savefig(path, **OPTIONS)


def draw_distance(rows: Sequence[Row], path: Path) -> None:
    """Share of right words by how many words back stands what decides them.

    Bars are 95% intervals: of the mean over seeds, or of the share where there is one seed.
    """
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.subplots()
    there = [name for name in BUCKETS if any(f"probes_right/{name}" in row.numbers for row in rows)]
    for place, row in enumerate(rows):
        aside = 0.4 * ((place + 0.5) / len(rows) - 0.5)  # so that no bar hides another
        points = []
        for x, name in enumerate(there):
            if (share := row.numbers.get(f"probes_right/{name}")) is not None:
                half = half_interval(row.numbers, name, share)
                bounds = 100 * min(half, share), 100 * min(half, 1 - share)
                points.append((x + aside, 100 * share, *bounds))
        if points:
            places, right, below, above = zip(*points, strict=True)
            axes.errorbar(
                places,
                right,
                yerr=(below, above),
                label=plain(row.label),
                marker="o",
                capsize=3,
                **style(place),
            )
    axes.axhline(50, color="0.6", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(there)), there)
    axes.set_ylim(0, 102)
    dress(axes, "words from what decides the word", "right words, %")
    handles, names = axes.get_legend_handles_labels()
    columns = 1 + len(names) // 16
    figure.legend(handles, names, loc="outside right upper", frameon=False, ncols=columns)
    figure.savefig(path, **OPTIONS)


def half_interval(numbers: Mapping[str, Number], name: str, share: float) -> float:
    """Of the share of right words in a bucket: over seeds, or by the normal approximation."""
    over_seeds = numbers.get(f"probes_right/{name}_seeds")
    total = numbers.get(f"probes/{name}") or 1
    return over_seeds if over_seeds is not None else 1.96 * (share * (1 - share) / total) ** 0.5


def by_window_length(rows: Sequence[Row]) -> dict[str, list[tuple[float, float, float]]]:
    """Length, BLEU and half its interval of all that has windows, by label without the length.

    A suite's `relu-128` and `relu-512` are points of `relu`.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        length, quality = row.numbers.get("window_length"), row.numbers.get("bleu")
        if length is None or quality is None:
            continue
        name = "-".join(part for part in row.label.split("-") if part != f"{length:.0f}")
        spread = row.numbers.get("bleu_seeds") or row.numbers.get("bleu_bootstrap") or 0.0
        found.setdefault(name or row.label, []).append((length, quality, spread))
    return {name: sorted(points) for name, points in found.items()}


def name_points(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Put each name beside its point, where it covers no other name and no point."""
    figure.draw_without_rendering()  # fixes the layout, and so where things are in pixels
    figure.set_layout_engine("none")
    taken = [around(axes.transData.transform((x, y)).tolist()) for _, x, y in points]
    for name, x, y in points:
        look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9}
        text = axes.annotate(plain(name), (x, y), xytext=(0, 0), **look)
        places = PLACES if len(points) > 1 else PLACES[:1]
        for dx, dy in places:
            text.set_position((dx, dy))
            text.set_horizontalalignment("left" if dx > 0 else "right" if dx < 0 else "center")
            text.set_verticalalignment("bottom" if dy > 0 else "top" if dy < 0 else "center")
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(text.get_window_extent())
        if max(abs(dx), abs(dy)) > 20:
            line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.7}
            axes.annotate("", (x, y), (dx, dy), textcoords="offset points", arrowprops=line)


def around(point: Sequence[float], radius: float = 5.0) -> Bbox:
    x, y = point
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)


def dress(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
