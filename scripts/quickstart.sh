#!/usr/bin/env bash
# The whole main job on a small generated corpus: prepare, train two systems, translate, score.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ "${1:-}" == --help || "${1:-}" == -h ]]; then
    cat <<'HELP'
Usage: bash scripts/quickstart.sh

Sets up .venv if needed (see scripts/setup.sh), generates a German-English corpus from a grammar,
preprocesses it, trains a small ReLUFormer and the same model with softmax attention side by side,
translates the held-out test set with both, and prints a table of their scores. About six minutes
on two CPU cores after installation. Everything lands in data/embedded and runs/embedded.

Run it again at any time: what is finished is not done again, and what was stopped (Ctrl-C) goes on
where it was. To start over, delete data/embedded and runs/embedded.

Environment:
  PYTHON   the interpreter for .venv
HELP
    exit 0
fi
if (($#)); then
    echo "error: quickstart.sh takes no arguments but --help, and got: $*" >&2
    exit 2
fi

bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1

systems=(reluformer softmax)
text=data/embedded/text
log=runs/embedded/softmax.log

step() {
    printf '\n== %s\n' "$*" >&2
}

step "a German-English corpus, generated from a grammar"
python data_prep/embedded.py documents=0

step "subwords and binary files"
reluformer-preprocess data=embedded

step "training, both systems at once; softmax reports in $log"
mkdir -p runs/embedded
reluformer-train experiment=embedded/softmax device=cpu threads=1 2>"$log" &
softmax=$!
# A background process is not interrupted by Ctrl-C: pass it on, so that both save and stop.
trap 'kill -TERM $softmax 2>/dev/null; wait $softmax; exit 130' INT TERM
reluformer-train experiment=embedded/reluformer device=cpu threads=1
if ! wait $softmax; then
    tail -n 5 "$log" >&2
    exit 1
fi
trap - INT TERM

for system in "${systems[@]}"; do
    run=runs/embedded/$system-seed1
    if [[ ! $run/test.en -nt $run/checkpoints/checkpoint_best.safetensors ]]; then
        step "translating the test set with $system"
        reluformer-translate run="$run" input=$text/test.de output="$run/test.en"
    fi
    if [[ ! $run/scores.json -nt $run/test.en ]]; then
        reluformer-score hypothesis="$run/test.en" reference=$text/test.en output="$run/scores.json" >"$run/scores.txt"
    fi
done

step "the result"
python scripts/runs_table.py runs/embedded/{reluformer,softmax}-seed1
cat <<'NEXT'

To go on, after `source .venv/bin/activate`:
  head -n 3 data/embedded/text/valid.de | reluformer-translate run=runs/embedded/reluformer-seed1
  reluformer-score hypothesis=runs/embedded/reluformer-seed1/test.en baseline=runs/embedded/softmax-seed1/test.en reference=data/embedded/text/test.en
  python data_prep/iwslt14.py    # real text: TED talks, German to English; README.md goes on from there
NEXT
