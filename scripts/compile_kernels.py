"""Compile the Triton kernels for an NVIDIA GPU of compute capability 9.0, without having one.

Lists each configuration's registers, spills, shared memory and instructions of interest; with
--json as JSON. Needs Triton on Linux (x86_64), whose assembler and disassembler it uses.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from reluformer.kernels import launch, triton_backward, triton_forward
from reluformer.kernels.attention import TRITON_HEAD_DIMS
from reluformer.kernels.launch import Tile

KERNELS = {
    "forward": triton_forward.forward,
    "query_gradient": triton_backward.query_gradient,
    "key_gradient": triton_backward.key_gradient,
    "short_gradient": triton_backward.short_gradient,
}
# Causal, with row sums, entropies and centring on padded batches: the most that training needs.
OPTIONS = {
    "ACTIVATION": "relu",
    "CAUSAL": True,
    "CENTERED": True,
    "PACKED": False,
    "QUERIES_PADDED": True,
    "KEYS_PADDED": True,
    "ROW_SUM": True,
    "ENTROPY": True,
    "DROPOUT": False,
    "PRECISION": "tf32",
    "FAST": True,
}
HALF = {"Q", "K", "V", "OUT", "DO", "DQ", "DK", "DV"}
UNUSED = {"QUERY_STARTS", "KEY_STARTS", "SEED", "DELTA"}
TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
INSTRUCTIONS = {"fast_log2": r"\bMUFU\.LG2\b", "wgmma": r"\bHGMMA\b", "mma": r"\bHMMA\b"}


def configurations() -> Iterator[tuple[str, int, Tile]]:
    """Each kernel and tile that can be selected for 16-bit inputs, with the largest head that has
    it: smaller ones need less."""
    for kernel in KERNELS:
        seen: set[Tile] = set()
        for head_dim in reversed(TRITON_HEAD_DIMS):
            tiles = list(launch.SHORT_TILES.get(kernel, {}).values())
            if kernel in launch.LONG_TILES:
                tiles.append(launch.LONG_TILES[kernel][head_dim])
            for tile in tiles:
                if tile not in seen:
                    yield kernel, head_dim, tile
            seen.update(tiles)


def compiled(kernel: str, head_dim: int, tile: Tile) -> dict[str, Any]:
    """What the assembler says of one configuration."""
    function = KERNELS[kernel]
    names = function.arg_names
    constants = {**OPTIONS, "HEAD_DIM": head_dim, "BLOCK_M": tile.queries, "BLOCK_N": tile.keys}
    constants |= dict.fromkeys(UNUSED & set(names))
    types = {name: "constexpr" if name in constants else type_of(name) for name in names}
    aligned = [
        i
        for i, name in enumerate(names)
        if types[name].startswith("*") or re.fullmatch(r"d?[qkvor]_[bht]", name)
    ]
    source = ASTSource(
        function,
        types,
        constexprs={
            (names.index(name),): value for name, value in constants.items() if name in names
        },
        attrs={(i,): [["tt.divisibility", 16]] for i in aligned},
    )
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    usage, code = inspect(made.asm["cubin"])
    return {
        "kernel": kernel,
        "head_dim": head_dim,
        "tile": list(tile),
        "registers": int(usage["REG"]),
        "spilled_bytes": int(usage["STACK"]),
        "shared_memory": made.metadata.shared,
        **{name: len(re.findall(pattern, code)) for name, pattern in INSTRUCTIONS.items()},
    }


def type_of(name: str) -> str:
    if name in HALF:
        return "*bf16"
    if name.endswith("_LENGTHS"):
        return "*i64"
    if name.isupper():
        return "*fp32"
    return "fp32" if name in ("scale", "alpha", "p") else "i32"


def inspect(cubin: bytes) -> tuple[dict[str, str], str]:
    """Resources by name, and the machine code as text."""
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        texts = [
            subprocess.run(
                [TOOL, flag, file.name], capture_output=True, text=True, check=True
            ).stdout
            for flag in ("-res-usage", "-sass")
        ]
    return dict(re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", texts[0])), texts[1]


def main() -> None:
    found = [compiled(*configuration) for configuration in configurations()]
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    names = list(found[0])
    print("| " + " | ".join(name.replace("_", " ") for name in names) + " |")
    print("|" + " --- |" * len(names))
    for one in found:
        print("| " + " | ".join(str(one[name]) for name in names) + " |")


if __name__ == "__main__":
    main()
