#!/usr/bin/env bash
# What only a GPU can tell, in under ten minutes: correctness, then speed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ "${1:-}" == --help || "${1:-}" == -h ]]; then
    cat <<'HELP'
Usage: bash scripts/bench_gpu.sh [FOLDER]

First the kernels' tests run on the GPU, then kernels are timed beside PyTorch's own, then whole
training steps and translation. Tables, the tests' log and versions go to FOLDER (default:
results-gpu). Needs one NVIDIA GPU, PyTorch with CUDA, Triton, and this package's requirements.

Environment:
  PYTHON   the interpreter (default: python3)
HELP
    exit 0
fi

output=${1:-results-gpu}
mkdir -p "$output"
python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
bench() { "$python" -m reluformer.cli.bench device=cuda output="$output/speed-gpu.md" "$@"; }

{
  nvidia-smi
  "$python" -c "import sys, torch, triton; print(sys.version, torch.__version__, triton.__version__)"
} | tee "$output/machine.txt"

echo "1. correctness, on the GPU"
"$python" -m pytest -q -p no:cacheprovider tests/kernels tests/attention tests/properties \
  --deselect tests/kernels/test_compiled.py 2>&1 | tee "$output/tests.txt"

echo "2. kernels: heads of 64 and 128, 16,384 positions, 2,048 channels"
for heads in 32 16; do
  for causal in false true; do
    bench what=kernels precision=bf16 model.d_model=2048 model.num_heads=$heads \
      lengths=[512,2048,4096,16384] positions=16384 causal=$causal rounds=5
  done
done
echo "   sentences: 4 heads of 128, 65,536 positions"
for packed in false true; do
  bench what=kernels precision=bf16 lengths=[28,64,128] positions=65536 packed=$packed rounds=5
done

echo "3. training steps of 4,096 and 65,536 positions, and on long windows"
for tokens in 4096 65536; do
  for compile in false true; do
    bench what=train precision=bf16 max_tokens=$tokens updates=8 rounds=3 compile=$compile \
      systems=[relu,relu_centered,softmax,pytorch]
  done
done
bench what=windows precision=bf16 max_tokens=16384 lengths=[512,2048,8192] rounds=3 \
  model.max_positions=8192 systems=[relu,relu_centered,softmax]

echo "4. translation, 256 sentences, beam 5"
for compile in false true; do
  bench what=translate precision=bf16 sentences=256 rounds=3 compile=$compile \
    systems=[relu,relu_centered,softmax]
done
echo "done: $output"
