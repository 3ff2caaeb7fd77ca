"""reluformer-score: translations and references to BLEU, chrF and significance."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reluformer.cli.app import command
from reluformer.config.run_folder import check_not_of_run
from reluformer.config.scoring import ScoreConfig, ScoreReport, SystemScores, score_files
from reluformer.durable import check_output, write_whole
from reluformer.errors import UserError
from reluformer.evaluation.probes import ANSWERS, ProbeCount, sum_probes
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

    Where a line `<d>` begins each document, the scores above are of sentences (s-BLEU), and there
    are those of documents too (d-BLEU, each document as one line), by length. `probes` counts the
    words of embedded documents that only an earlier sentence allows to translate rightly.

    Examples:
        reluformer-score hypothesis=test.en reference=data/multi30k/text/test.en
        reluformer-score hypothesis=relu.en baseline=softmax.en reference=test.en
        reluformer-score hypothesis=[a.en,b.en] baseline=c.en reference=test.en test=randomisation
        reluformer-score hypothesis=out.txt reference=ref.txt lang=en output=scores.json
        reluformer-score hypothesis=h.tok.en reference=test.raw.en tokenised_reference=test.en
        reluformer-score hypothesis=docs.en reference=T/test.en probes=T/test.probes.jsonl
    """
    output = None if config.output is None else Path(config.output)
    if output is not None:
        check_output(output, config.inputs)
        check_not_of_run(output)
    elif sys.stdout is None:
        raise UserError("standard output is closed: name an `output`")
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
    for system in report.systems:
        show_documents(out, system)
    if report.baseline is not None:
        out.print(Text(f"\nagainst {report.baseline}:"))
        out.print(comparison_table(report))
        comparisons = report.detokenised_comparisons + report.tokenised_lowercased_comparisons
        for signature in dict.fromkeys(found.signature for found in comparisons):
            out.print(Text(signature))
    for caution in report.cautions:
        out.print(Text(f"caution: {caution}", style="yellow"))


def show_documents(out: Console, system: SystemScores) -> None:
    """Scores of documents by length, what needs context by distance, and repaired windows."""
    found = system.documents
    if found is not None:
        out.print(Text(f"\n{system.system}: {found.documents:,} documents, of plain text"))
        table = Table("words of the reference", "documents", "s-BLEU", "d-BLEU")
        for column in table.columns[1:]:
            column.justify = "right"
        for one in found.buckets:
            scores = (f"{one.sentence_bleu:.2f}", f"{one.document_bleu:.2f}")
            table.add_row(one.words, f"{one.documents:,}", *scores)
        plain = f"{system.detokenised.bleu:.2f}"
        table.add_row("all", f"{found.documents:,}", plain, f"{found.bleu:.2f}")
        out.print(table)
        out.print(Text(f"d-BLEU: {found.signature}"))
        tokens = f"d-BLEU of Moses tokens, lower-cased: {found.tokenised_bleu:.2f}"
        out.print(Text(f"{tokens} {found.tokenised_signature}"))
    if system.probes:
        out.print(probe_table(system.probes))
    if system.windows is not None:
        windows, repaired = system.windows["windows"], system.windows["repaired"]
        share = repaired / windows if windows else 0.0
        out.print(f"windows: {windows:,}, of which {repaired:,} ({share:.1%}) were repaired")


def probe_table(counts: Sequence[ProbeCount]) -> Table:
    """A row per kind and distance, then one per kind, then all."""
    table = Table("kind", "words back", "probes", *ANSWERS, "right, %")
    for column in table.columns[2:]:
        column.justify = "right"

    def add(count: ProbeCount, last: bool = False) -> None:
        numbers = (count.total, count.right, count.wrong, count.neither)
        cells = [f"{number:,}" for number in numbers]
        share = f"{100 * count.right / count.total:.1f}"
        table.add_row(count.kind, count.words, *cells, share, end_section=last)

    for kind in dict.fromkeys(count.kind for count in counts):
        of_kind = [count for count in counts if count.kind == kind]
        for count in of_kind:
            add(count)
        add(sum_probes(of_kind, kind, "all"), last=True)
    add(sum_probes(counts, "all", "all"))
    return table


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
