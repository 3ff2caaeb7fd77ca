"""The Triton kernels compiled for a Hopper GPU, which takes none: every tile of bf16 fits.

For ReLU on padded sentences with all options on; the script with --all has the other choices.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
SCRIPT = Path(__file__).parents[2] / "scripts" / "compile_kernels.py"


def test_no_tile_spills_registers(tmp_path: Path) -> None:
    """Compiled with everything in them that ReLUFormer trains with, in a process of its own, as
    this one has Triton's interpreter."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--json"],
        env={**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    kernels = {"forward", "query_gradient", "key_gradient", "short_gradient"}
    assert {one["kernel"] for one in found} == kernels | {"cross_entropy"}
    for one in found:
        assert one["spilled_bytes"] == 0, one
        assert one["shared_memory"] <= 227 * 1024, one
    of_attention = [one for one in found if one["kernel"] in kernels]
    assert {one["head_dim"] for one in of_attention} == {32, 64, 128}
    for one in of_attention:
        assert one["options"]["DROPOUT"], one
        assert one["fast_log2"] > 0, one
