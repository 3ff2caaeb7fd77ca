"""Statistics of documents, worked out by hand."""

import io
import re

import document_report
import numpy as np
import pytest
from document_report import describe_documents, print_documents
from rich.console import Console

SENTENCES = np.array([1, 2, 3, 10])
WORDS = {"de": np.array([0, 31, 512, 1100]), "en": np.array([5, 32, 64, 127])}


def test_lengths_are_summed_up_and_counted():
    lengths = describe_documents(SENTENCES, WORDS)
    assert lengths["sentences"] == {"mean": 4, "median": 2.5, "p90": 7.9, "longest": 10}
    assert lengths["words de"]["reaching"] == {"512": 2, "1024": 1, "2048": 0}
    assert lengths["words de"]["histogram"] == {
        "0-31": 2,
        "32-63": 0,
        "64-127": 0,
        "128-255": 0,
        "256-511": 0,
        "512-1023": 1,
        "1024-2047": 1,
    }
    assert lengths["words en"]["histogram"] == {"0-31": 1, "32-63": 1, "64-127": 2}


@pytest.mark.parametrize("marked", [True, False])
def test_splits_with_documents_are_shown_as_tables(monkeypatch, marked):
    shown = io.StringIO()
    monkeypatch.setattr(document_report, "console", Console(file=shown, width=100))
    count = {"pairs": 16, "document_lengths": describe_documents(SENTENCES, WORDS)}
    print_documents({"read": 9, "train": count if marked else {"pairs": 16}, "dropped": {}})
    rows = [re.split("  +", line.strip()) for line in shown.getvalue().splitlines()]
    if not marked:
        assert rows == []
        return
    assert ["train words de", "410.8", "271.5", "923.6", "1,100", "2", "1", "0"] in rows
    assert ["64-127", "0", "2"] in rows
    assert ["1024-2047", "1", "0"] in rows
