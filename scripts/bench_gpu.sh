#!/usr/bin/env bash
# What only a GPU can tell, in under ten minutes: correctness, then speed.
set -uo pipefail

if [[ "${1:-}" == --help || "${1:-}" == -h ]]; then
    cat <<'HELP'
Usage: bash scripts/bench_gpu.sh [FOLDER [STEP...]]

Needs one NVIDIA GPU, PyTorch with CUDA, Triton and this package's requirements. The steps, in the
order of what one wants to know first; all of them without STEP:

  tests        the kernels' tests, on the GPU
  train        training steps of 4,096 and 65,536 positions, as they are
  translate    256 sentences, beam 5, as they are
  compiled     both again with compiled layers
  windows      training on 512 to 8,192 positions, with the memory that it takes
  sentences    kernels on 65,536 positions of short sentences, padded and packed
  kernels      kernels on 512 to 16,384 positions, beside PyTorch's own

Each step has its time, and ends there with what it has; a step that fails does not keep the others
from running. FOLDER (default: results-gpu) gets speed-gpu.md with all tables, speed-gpu.jsonl with
every round, tests.txt and machine.txt.

Environment:
  PYTHON   the interpreter (default: python3)
HELP
    exit 0
fi

fail() {
    echo "error: $*" >&2
    exit 2
}

STEPS="tests train translate compiled windows sentences kernels"
[[ "${1:-}" != -* ]] || fail "there is no option $1: see --help"
output=$(realpath -m "${1:-results-gpu}")
steps=${*:2}
for step in $steps; do
    [[ " $STEPS " == *" $step "* ]] || fail "there is no step $step: take some of $STEPS"
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} TRITON_INTERPRET=0

"$python" - <<'PYTHON' || exit 2
import sys
from importlib.util import find_spec

PACKAGES = {
    "torch": "torch", "triton": "triton", "hydra": "hydra-core", "omegaconf": "omegaconf",
    "sentencepiece": "sentencepiece", "sacrebleu": "sacrebleu", "sacremoses": "sacremoses",
    "tensorboard": "tensorboard", "yaml": "pyyaml", "numpy": "numpy", "safetensors": "safetensors",
    "jaxtyping": "jaxtyping", "rich": "rich", "filelock": "filelock",
    "threadpoolctl": "threadpoolctl", "beartype": "beartype", "hypothesis": "hypothesis",
    "pytest": "pytest", "xdist": "pytest-xdist", "pytest_timeout": "pytest-timeout",
}
missing = " ".join(name for module, name in PACKAGES.items() if find_spec(module) is None)
if missing:
    sys.exit(f"error: packages are missing: pip install {missing}")
import torch

if not torch.cuda.is_available():
    sys.exit("error: PyTorch finds no NVIDIA GPU here: see nvidia-smi, and torch.version.cuda")
PYTHON
mkdir -p "$output" || fail "cannot write to $output"

failed=
step() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2 began=$SECONDS
    shift 2
    [[ -z $steps || " $steps " == *" $name "* ]] || return 0
    echo "== $name"
    if ((spent >= seconds)) || ! timeout -k 5 "$((seconds - spent))" "$@"; then
        echo "== $name: not to its end" >&2
        [[ " $failed " == *" $name "* ]] || failed+=" $name"
    fi
    spent=$((spent + SECONDS - began))
}
# Benchmarks of one step share its time.
bench() { step "$1" "$2" "$python" -m reluformer.cli.bench device=cuda output="$output/speed-gpu.md" "${@:3}"; }

"$python" - <<'PYTHON' | tee "$output/machine.txt"
"""The machine, and its two ceilings: bytes copied and numbers multiplied a second."""
import subprocess
import sys

import torch
import triton

print(subprocess.run(["nvidia-smi"], capture_output=True, text=True).stdout)
print(f"Python {sys.version.split()[0]}, PyTorch {torch.__version__}, Triton {triton.__version__}")


def milliseconds(run):
    return triton.testing.do_bench(run, return_mode="median")


source = torch.empty(2**31, dtype=torch.uint8, device="cuda").random_()
target = torch.empty_like(source)
print(f"copy: {2 * source.nbytes / milliseconds(lambda: target.copy_(source)) / 1e9:.2f} TB/s")
a, b = torch.randn(2, 8192, 8192, device="cuda", dtype=torch.bfloat16)
print(f"bf16 product: {2 * 8192**3 / milliseconds(lambda: a @ b) / 1e9:.0f} TFLOP/s")
PYTHON

spent=0
step tests 130 bash -o pipefail -c '"$0" -m pytest -q -n 8 -p no:cacheprovider \
    tests/kernels/test_{triton,cross_entropy,attention}.py tests/attention/test_entmax.py 2>&1 | tee "$1"' \
    "$python" "$output/tests.txt"

MODELS='systems=[relu,relu_centered,softmax,pytorch]' OURS='systems=[relu,relu_centered,softmax]'
spent=0
for tokens in 65536 4096; do
    bench train 80 what=train precision=bf16 max_tokens=$tokens updates=8 rounds=3 "$MODELS"
done
spent=0
bench translate 50 what=translate precision=bf16 sentences=256 rounds=3 "$OURS"
spent=0
for tokens in 65536 4096; do
    bench compiled 140 what=train precision=bf16 max_tokens=$tokens updates=8 rounds=3 compile=true "$OURS"
done
bench compiled 140 what=translate precision=bf16 sentences=256 rounds=3 compile=true "$OURS"
spent=0
bench windows 40 what=windows precision=bf16 max_tokens=16384 'lengths=[512,2048,8192]' rounds=2 \
    model.max_positions=8192 "$OURS"
spent=0
for packed in false true; do
    bench sentences 50 what=kernels precision=bf16 'lengths=[28,64,128]' positions=65536 packed=$packed rounds=3
done
spent=0
for heads in 16 32; do # of 128 and of 64
    for causal in true false; do
        bench kernels 90 what=kernels precision=bf16 model.d_model=2048 model.num_heads=$heads \
            'lengths=[512,2048,4096,16384]' positions=16384 causal=$causal rounds=3
    done
done

[[ -z $failed ]] || { echo "not to their end:$failed" >&2; exit 1; }
echo "done: $output"
