"""Compile the Triton kernels for an NVIDIA GPU (Hopper; see --capability), without having one.

Needs Triton on Linux (x86_64), whose assembler and disassembler it uses.
"""

import argparse
import itertools
import json
import os
import random
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import triton
from tqdm import tqdm
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from reluformer.kernels import triton_backward, triton_cross_entropy, triton_forward
from reluformer.kernels.cross_entropy import BLOCK, WARPS
from reluformer.kernels.launch import FLOAT32_TILES, HALF_TILES, Tile

KERNELS = {
    "forward": triton_forward.forward,
    "query_gradient": triton_backward.query_gradient,
    "key_gradient": triton_backward.key_gradient,
    "short_gradient": triton_backward.short_gradient,
    "cross_entropy": triton_cross_entropy.cross_entropy,
}
ACTIVATIONS = ("relu", "relu_squared", "gelu", "softplus", "sigmoid", "identity", "softmax")
LAYOUTS = {  # packed, queries padded, keys padded
    "whole": (False, False, False),
    "padded queries": (False, True, False),
    "padded keys": (False, False, True),
    "padded": (False, True, True),
    "packed": (True, False, False),
}
OPERANDS = {"Q", "K", "V", "OUT", "DO", "DQ", "DK", "DV", "LOGITS"}
TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
INSTRUCTIONS = {"fast_log2": r"\bMUFU\.LG2\b", "wgmma": r"\bHGMMA\b", "mma": r"\bHMMA\b"}


class Configuration(NamedTuple):
    """One kernel as it may be launched."""

    kernel: str
    head_dim: int
    dtype: str
    tile: Tile
    options: dict[str, Any]


def configurations(dtype: str, everything: bool) -> Iterator[Configuration]:
    """All that can be selected for operands of a type; or of each tile the one that trains
    ReLUFormer with most: causal, centred, row sums, entropies and dropout, on padded batches. And
    the loss, with its gradient or also without."""
    for kernel, sizes in (FLOAT32_TILES if dtype == "fp32" else HALF_TILES).items():
        chosen = list(options(kernel, dtype == "fp32")) if everything else [option("relu")]
        for head_dim, tiles in sizes.items():
            for tile, one in itertools.product(tiles.values(), chosen):
                yield Configuration(kernel, head_dim, dtype, tile, one)
    for gradient in (True, False) if everything else (True,):
        one = option("relu") | {"GRADIENT": gradient}
        yield Configuration("cross_entropy", 0, dtype, Tile(1, BLOCK, WARPS, 3), one)


def options(kernel: str, float32: bool) -> Iterator[dict[str, Any]]:
    """An attention kernel's choices; float32 is exact or TensorFloat32."""
    either = False, True
    free = itertools.product(ACTIVATIONS, LAYOUTS, either, either, either, either, either)
    for activation, layout, causal, centered, row_sums, entropies, dropout in free:
        if (activation != "relu" and (row_sums or entropies)) or (
            activation == "softmax" and centered
        ):
            continue
        # Sums of P ln P come with row sums; a loss may be of either alone.
        if kernel == "forward" and entropies and not row_sums:
            continue
        for precision in ("tf32", "ieee") if float32 else ("tf32",):
            yield option(
                activation, layout, causal, centered, row_sums, entropies, dropout, precision
            )


def option(
    activation: str,
    layout: str = "padded",
    causal: bool = True,
    centered: bool = True,
    row_sums: bool = True,
    entropies: bool = True,
    dropout: bool = True,
    precision: str = "tf32",
) -> dict[str, Any]:
    """Compile-time arguments, by the kernels' names for them."""
    packed, queries_padded, keys_padded = LAYOUTS[layout]
    return {
        "ACTIVATION": activation,
        "CAUSAL": causal,
        "CENTERED": centered,
        "ROW_SUM": row_sums,
        "ENTROPY": entropies,
        "DROPOUT": dropout,
        "PRECISION": precision,
        "FAST": True,
        "PACKED": packed,
        "QUERIES_PADDED": queries_padded,
        "KEYS_PADDED": keys_padded,
    }


def compiled(capability: int, one: Configuration) -> dict[str, Any]:
    """What the assembler says of one configuration."""
    function = KERNELS[one.kernel]
    names = function.arg_names
    constants = {"HEAD_DIM": one.head_dim, "BLOCK_M": one.tile.queries, "BLOCK_N": one.tile.keys}
    constants |= {"BLOCK": one.tile.keys}  # of cross-entropy, which has no queries
    constants |= one.options | dict.fromkeys(absent(one.options))
    types = {name: "constexpr" if name in constants else type_of(name, one) for name in names}
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
    launch = {"num_warps": one.tile.warps, "num_stages": one.tile.stages}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=launch)
    usage, code = inspect(made.asm["cubin"])
    return {
        **one._asdict(),
        "tile": list(one.tile[:4]),
        "registers": int(usage["REG"]),
        "spilled_bytes": int(usage["STACK"]),
        "shared_memory": made.metadata.shared,
        **{name: len(re.findall(pattern, code)) for name, pattern in INSTRUCTIONS.items()},
    }


def absent(options: dict[str, Any]) -> set[str]:
    """The tensors that are not given where these options are chosen."""
    needed_by = {
        "SEED": options["DROPOUT"],
        "RHO": options["ROW_SUM"],
        "EPS": options["ENTROPY"],
        "OFFSET": options["CENTERED"],
        "DELTA": options["ACTIVATION"] == "softmax",
        "QUERY_STARTS": options["PACKED"],
        "KEY_STARTS": options["PACKED"],
        "QUERY_LENGTHS": options["QUERIES_PADDED"],
        "KEY_LENGTHS": options["KEYS_PADDED"],
    }
    return {name for name, needed in needed_by.items() if not needed}


def type_of(name: str, one: Configuration) -> str:
    if name in OPERANDS:
        return f"*{one.dtype}"
    if name.endswith("_LENGTHS") or name in ("SEED", "TARGET"):
        return "*i64"
    if name.endswith("_STARTS"):
        return "*i32"
    if name.isupper():
        return "*fp32"
    fractions = "scale", "alpha", "p", "true_share", "other_share"
    return "fp32" if name in fractions else "i32"


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


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: of each tile the most that any of its configurations takes."""
    rows = defaultdict(list)
    for one in found:
        rows[one["kernel"], one["head_dim"], one["dtype"], str(one["tile"])].append(one)
    most = "registers", "spilled_bytes", "shared_memory"
    names = ["kernel", "head dim", "dtype", "tile", "configurations", *most, *INSTRUCTIONS]
    lines = [[name.replace("_", " ") for name in names], ["---"] * len(names)]
    for key, ones in rows.items():
        largest = [max(one[name] for one in ones) for name in (*most, *INSTRUCTIONS)]
        lines.append([*key, len(ones), *largest])
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=["bf16", "fp16", "fp32"], default="bf16")
    parser.add_argument(
        "--all",
        action="store_true",
        help="each tile with every choice of activation, layout, causality, centring, sums,"
        " dropout and precision (hours), not only what trains ReLUFormer with most",
    )
    parser.add_argument(
        "--sample", type=int, metavar="N", help="only N of them, the same each time"
    )
    parser.add_argument(
        "--capability",
        type=int,
        default=90,
        help="of the GPU, times ten: 80 is A100, 86 and 89 are smaller cards, 90 Hopper (default)",
    )
    parser.add_argument("--json", action="store_true", help="a line for each configuration")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    chosen = parser.parse_args()
    if chosen.jobs < 1 or (chosen.sample is not None and chosen.sample < 1):
        parser.error("--jobs and --sample must be 1 or more")
    wanted = list(configurations(chosen.dtype, chosen.all))
    if chosen.sample is not None:
        wanted = random.Random(1).sample(wanted, min(chosen.sample, len(wanted)))
    found = []
    with Pool(chosen.jobs, maxtasksperchild=100) as pool:
        for one in tqdm(
            pool.imap(partial(compiled, chosen.capability), wanted), total=len(wanted), disable=None
        ):
            found.append(one)
            if chosen.json:
                print(json.dumps(one), flush=True)
    if not chosen.json:
        print(table(found))


if __name__ == "__main__":
    main()
