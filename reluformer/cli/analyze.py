"""reluformer-analyze: what a run's attention does, layer by layer."""

import json
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from reluformer.analysis.pictures import draw_variance, has_matplotlib
from reluformer.cli.app import command
from reluformer.config.analysis import AnalyzeConfig, LayerReport, analyze
from reluformer.console import console
from reluformer.durable import write_whole

COLUMNS = ("entropy", "sparsity", "dead_rows", "row_sum", "score_deviation")
LEARNED = ("gamma", "alpha")


@command("analyze", AnalyzeConfig)
def main(config: AnalyzeConfig) -> None:
    """Show what every attention layer of a trained run does on real text.

    Entropy (nats) and sparsity of its weights, the share of dead rows (all weights 0), sums of
    rows, the deviation of scores, learned gamma or alpha; and by the number of keys that a query
    sees, how much variance attention adds to the residual stream. Writes analysis.json and, with
    matplotlib, variance.png into <run>/analysis/<checkpoint>.

    Examples:
        reluformer-analyze run=runs/embedded/reluformer-seed1
        reluformer-analyze run=runs/embedded/reluformer-seed1 checkpoint=last split=test
        reluformer-analyze run=runs/embedded/softmax-seed1 sentences=2000 output=softmax_analysis
    """
    layers = analyze(config)
    folder = config.folder
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(layer) for layer in layers], indent=2)
    write_whole(folder / "analysis.json", (text.replace("NaN", "null") + "\n").encode())
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = 120
    out.print(table_of(layers))
    if has_matplotlib():
        title = f"{config.run}, {config.checkpoint}"
        ratios = {(layer.site, layer.layer): layer.variance_ratio_by_n for layer in layers}
        draw_variance(ratios, title, folder / "variance.png")
    else:
        console.print("no picture: that needs matplotlib (pip install 'reluformer[analysis]')")
    console.print(f"written to {folder}")


def table_of(layers: list[LayerReport]) -> Table:
    """One line for each site and layer; layers count from 1."""
    learned = [name for name in LEARNED if any(name in layer.statistics for layer in layers)]
    table = Table(box=SIMPLE_HEAD)
    table.add_column("site")
    for name in ("layer", *COLUMNS, *learned, "variance ratio"):
        table.add_column(name.replace("_", " "), justify="right")
    for layer in layers:
        numbers = [layer.statistics.get(name, float("nan")) for name in (*COLUMNS, *learned)]
        numbers.append(layer.variance_ratio)
        cells = ("" if number != number else f"{number:.3g}" for number in numbers)
        table.add_row(layer.site, str(layer.layer + 1), *cells)
    return table


if __name__ == "__main__":
    main()
