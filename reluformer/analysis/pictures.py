"""Pictures of what attention does; matplotlib is an extra."""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reluformer.model.transformer import SITES


def has_matplotlib() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def draw_variance(
    ratios: Mapping[tuple[str, int], Mapping[str, float]], title: str, path: Path
) -> None:
    """var(update) / var(stream) as one heat map for each site: layers down, visible keys across.

    `ratios` holds them by (site, layer) and bucket of visible keys. Colours are logarithmic, the
    same at all sites, and the numbers stand in the cells.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    panels = figure.subplots(1, len(SITES))
    values = [value for row in ratios.values() for value in row.values() if value > 0]
    lowest, highest = min(values, default=0.1), max(values, default=1.0)
    norm = LogNorm(lowest, highest)
    for panel, site in zip(panels, SITES, strict=True):
        layers = [row for (where, _), row in sorted(ratios.items()) if where == site]
        buckets = sorted({name for row in layers for name in row}, key=_first_number)
        grid = [[row.get(name, math.nan) for name in buckets] for row in layers]
        image = panel.imshow(grid, norm=norm, cmap="cividis", aspect="auto")
        for y, row in enumerate(grid):
            for x, value in enumerate(row):
                if not math.isnan(value):
                    dark = norm(max(value, lowest)) < 0.5
                    colour = "white" if dark else "black"
                    panel.text(x, y, f"{value:.2g}", ha="center", va="center", color=colour, size=8)
        panel.set_xticks(range(len(buckets)), buckets)
        panel.set_yticks(range(len(layers)), range(1, len(layers) + 1))
        panel.set_xlabel("visible keys")
        panel.set_ylabel("layer")
        panel.set_title(site.replace("_", " "), size=10)
    figure.colorbar(image, ax=list(panels), label="var(update) / var(stream)")
    figure.suptitle(title, size=10, parse_math=False)  # it may name a file
    figure.savefig(path, dpi=130)


def _first_number(bucket: str) -> int:
    return int(bucket.partition("-")[0])


def draw_search(
    trials: Sequence[tuple[Mapping[str, Any], float]],
    space: Mapping[str, Any],
    metric: str,
    path: Path,
) -> None:
    """The metric against each searched setting, one panel each; (settings, value) by trial.

    Ranges are searched on a linear or logarithmic axis as the space says, choices on a plain one.
    The best tenth (by rank from the first trial, which is the best) is drawn darker.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(space), 3.2), layout="constrained")
    panels = figure.subplots(1, len(space), sharey=True, squeeze=False)[0]
    best = max(1, len(trials) // 10)
    colours = ["#d55e00"] * best + ["#0072b2"] * (len(trials) - best)
    for panel, (name, values) in zip(panels, space.items(), strict=True):
        x = [settings[name] for settings, _ in trials]
        is_range = isinstance(values, Mapping)
        panel.scatter(x if is_range else [str(one) for one in x], [y for _, y in trials], c=colours)
        if is_range and values.get("log"):
            panel.set_xscale("log")
        panel.set_xlabel(name)
    panels[0].set_ylabel(f"validation {metric}")
    figure.savefig(path, dpi=130)
