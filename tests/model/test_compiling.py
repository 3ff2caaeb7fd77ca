"""Compiled layers give the same gradients and translations, from few graphs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "support" / "compiled_layers.py"


def test_compiled_layers_agree() -> None:
    """Two encoder and two decoder layers, three batches of other sizes, with dropout."""
    command = [sys.executable, SCRIPT, "relu", "relu_centered"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    reports = json.loads(found.stdout)
    for attention, report in reports["layers"].items():
        assert report["graphs beside training"] == 0, attention
        assert report["graphs"] == 2, attention  # all layers of the encoder, all of the decoder
        # None on PyTorch 2.13; on 2.11 products are rounded otherwise.
        assert report["differences"] == pytest.approx([0.0] * 3, abs=1e-4), attention
        assert report["same names"], attention
    # Of the first step and of the others, of one sentence and of several.
    assert reports["steps"] == {"graphs": 4, "same translations": True}
