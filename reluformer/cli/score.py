"""reluformer-score: translations and references to BLEU, chrF and significance."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reluformer.cli.app import command
from reluformer.config.scoring import ScoreConfig, ScoreReport, score_files
from reluformer.durable import check_output, write_whole
from reluformer.evaluation.significance import Comparison

DETOKENISED = "detokenised (sacreBLEU)"
TOKENISED = "tokenised, lower-cased (IWSLT14 literature)"


@command("score", ScoreConfig)
def main(config: ScoreConfig) -> None:
    """Score translations against a reference, and test whether they differ from a baseline's.

    Two scores, never to be mixed up: BLEU and chrF of plain text, which sacreBLEU makes comparable
    between toolkits; and BLEU of Moses tokens in lower case, which the IWSLT14 literature reports.
    Plain text is tokenised for the second, tokens are detokenised for the first, and what is in
    tokens already is never tokenised again; the output says what was done to each side. Text that
    has lost its case cannot be tokenised as before: for the exact second score of such a run,
    translate with detokenise=false and give both forms of the reference.

    Examples:
        reluformer-score hypothesis=test.en reference=data/multi30k/text/test.en
        reluformer-score hypothesis=relu.en baseline=softmax.en reference=test.en
        reluformer-score hypothesis=[a.en,b.en] baseline=c.en reference=test.en test=randomisation
        reluformer-score hypothesis=out.txt reference=ref.txt lang=en output=scores.json
        reluformer-score hypothesis=h.tok.en reference=test.raw.en tokenised_reference=test.en
    """
    output = None if config.output is None else Path(config.output)
    if output is not None:
        check_output(output, config.inputs)
    report = score_files(config)
    show(report)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n"
        write_whole(output, text.encode("utf-8"))


def show(report: ScoreReport) -> None:
    """Print the scores with their signatures, then the comparisons, then what to beware of."""
    out = Console(highlight=False, soft_wrap=True)
    if not out.is_terminal:
        out = Console(highlight=False, soft_wrap=True, width=200)
    table = Table("system", f"BLEU\n{DETOKENISED}", "chrF2\ndetokenised", f"BLEU\n{TOKENISED}")
    for column in table.columns[1:]:
        column.justify = "right"
    for system in report.systems:
        plain, tokens = system.detokenised, system.tokenised_lowercased
        scores = (plain.bleu, plain.chrf, tokens.bleu)
        table.add_row(Text(system.system), *(f"{score:.2f}" for score in scores))
    out.print(table)
    first = report.systems[0]
    signatures = {
        f"BLEU {DETOKENISED}": first.detokenised.bleu_signature,
        "chrF2 detokenised": first.detokenised.chrf_signature,
        f"BLEU {TOKENISED}": first.tokenised_lowercased.bleu_signature,
    }
    for name, signature in signatures.items():
        out.print(Text(f"{name}: {signature}"))
    for name, made in _treatments(report):
        out.print(Text(f"{name}: {made}"))
    out.print(f"reference tokens: {first.tokenised_lowercased.reference_tokens:,}")
    if report.baseline is not None:
        out.print(Text(f"\nagainst {report.baseline}:"))
        out.print(comparison_table(report))
        comparisons = report.detokenised_comparisons + report.tokenised_lowercased_comparisons
        for signature in dict.fromkeys(found.signature for found in comparisons):
            out.print(Text(signature))
    for caution in report.cautions:
        out.print(Text(f"caution: {caution}", style="yellow"))


def comparison_table(report: ScoreReport) -> Table:
    """Differences to the baseline with their p, those below 0.05 marked."""
    table = Table("system", "metric", "score", "baseline", "difference", "p")
    _add_comparisons(table, report.detokenised_comparisons, DETOKENISED)
    _add_comparisons(table, report.tokenised_lowercased_comparisons, TOKENISED)
    return table


def _add_comparisons(table: Table, comparisons: Sequence[Comparison], kind: str) -> None:
    for found in comparisons:
        interval = "" if found.interval is None else f" ± {found.interval:.2f}"
        table.add_row(
            Text(found.system),
            f"{found.metric} {kind}",
            f"{found.score:.2f}{interval}",
            f"{found.baseline_score:.2f}",
            f"{found.score - found.baseline_score:+.2f}",
            f"{found.p:.4f}{' *' if found.p < 0.05 else ''}",
        )


def _treatments(report: ScoreReport) -> list[tuple[str, str]]:
    made = [(system.system, system.made) for system in report.systems]
    return [*made, (report.reference, report.reference_made)]


if __name__ == "__main__":
    main()
