"""Tables say what was measured; a file grows by a section at a time."""

import io
import json

import pytest
import torch
from rich.console import Console

from reluformer.benchmark.report import (
    Machine,
    Outcome,
    Report,
    append_report,
    console_table,
    markdown,
    processor_name,
    rate,
)

OUTCOME = Outcome(
    title="Training",
    unit="target tokens/s",
    conditions="4 updates a round",
    parameters={"relu": 1234567, "rival": 1234000},
    # In every round relu is 1.5, 2 or 3 times as fast; the ratio of medians would be 1.2.
    rates={"relu": [1500.0, 120.0, 240.0], "rival": [1000.0, 60.0, 80.0]},
)
MACHINE = Machine("CPU X", cores=4, threads=2, load=0.1, torch="2.0", python="3.10", reluformer="1")
REPORT = Report(OUTCOME, "2+2 layers", MACHINE, "reluformer-bench what=train", "2026-01-01 UTC")

SECTION = """\
## Training

| system | parameters | target tokens/s | lowest to highest | times the last |
| --- | ---: | ---: | ---: | ---: |
| relu | 1,234,567 | 240 | 120 to 1,500 | 2.00 |
| rival | 1,234,000 | 80 | 60 to 1,000 | 1.00 |

- model: 2+2 layers
- work: 4 updates a round
- machine: CPU X, 4 cores of which 2 used, load before 0.1; PyTorch 2.0, Python 3.10, reluformer 1
- 2026-01-01 UTC: `reluformer-bench what=train`
"""


def test_markdown_section():
    assert markdown(REPORT) == SECTION


def test_terminal_table_has_the_same_cells():
    out = io.StringIO()
    Console(file=out, width=120).print(console_table(OUTCOME))
    for row in OUTCOME.rows():
        assert any(all(cell in line for cell in row) for line in out.getvalue().split("\n"))


def test_file_grows_by_sections(tmp_path):
    path = tmp_path / "speed.md"
    append_report(REPORT, path)
    append_report(REPORT, path)
    assert path.read_text(encoding="utf-8") == f"# Speed\n\n{SECTION}\n{SECTION}"
    lines = path.with_suffix(".jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert [json.loads(line)["outcome"]["rates"] for line in lines] == [OUTCOME.rates] * 2
    assert json.loads(lines[0])["machine"]["threads"] == 2


@pytest.mark.parametrize(
    ("value", "shown"), [(12345.6, "12,346"), (99.94, "99.9"), (9.876, "9.88"), (0.5, "0.5")]
)
def test_rates_keep_three_digits(value, shown):
    assert rate(value) == shown


def test_machine_is_named():
    machine = Machine.here(torch.device("cpu"))
    assert machine.processor == processor_name() != ""
    assert machine.threads >= 1
    assert machine.cores >= 1
