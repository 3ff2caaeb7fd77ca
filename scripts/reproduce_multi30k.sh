#!/usr/bin/env bash
# Multi30k from raw text to the tables of a suite: by default softmax, ReLUFormer and its centred form.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ "${1:-}" == --help || "${1:-}" == -h || $# -eq 0 ]]; then
    cat <<'HELP'
Usage: bash scripts/reproduce_multi30k.sh FOLDER [SUITE] [SETTINGS]

FOLDER holds Multi30k's raw text: train.{en,de}[.gz], val.{en,de}, test_2016_flickr.{en,de}.
SUITE, of conf/suite:
  multi30k_en_de      softmax, ReLUFormer and ReLUFormer centred to convergence (the default)
  ablation            the six rows of the ablation, 3,000 updates each
  multi30k_attention  every mechanism, 3,000 updates each
  ffn_memory          the feed-forward network as a memory, 3,000 updates each
SETTINGS go to reluformer-compare, such as seeds=[1,2,3], device=cuda, or
changes=data=multi30k_de_en for the other direction.

All are tiny (4 layers of 128); the last ten checkpoints are averaged and test2016 is translated
with beam 5. Tables and pictures land in comparisons/SUITE. JOBS runs at a time with one thread each;
about two hours of one core for each run to convergence, and half an hour for each of 3,000 updates.
Stop it at any time (Ctrl-C): the same command goes on where it stopped.

Environment:
  JOBS     runs at the same time (default: 2)
  PYTHON   the interpreter for .venv
HELP
    exit 0
fi

folder=$1
shift
suite=multi30k_en_de
if [[ "${1:-}" != "" && "$1" != *=* ]]; then
    suite=$1
    shift
fi
direction=multi30k_en_de
[[ "$*" == *data=multi30k_de_en* ]] && direction=multi30k_de_en

bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1
python data_prep/pairs.py folder="$folder" name=multi30k source_lang=en target_lang=de \
    splits.valid=val splits.test=test_2016_flickr moses=true lowercase=true
reluformer-preprocess data="$direction"
reluformer-compare suite="$suite" jobs="${JOBS:-2}" threads=1 "$@"
cat "comparisons/$suite/table.md"
