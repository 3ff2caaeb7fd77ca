#!/usr/bin/env bash
# Multi30k: softmax, ReLUFormer and ReLUFormer centred from raw text to a table, or the ablation.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ "${1:-}" == --help || "${1:-}" == -h || $# -eq 0 ]]; then
    cat <<'HELP'
Usage: bash scripts/reproduce_multi30k.sh FOLDER [ablation] [HYDRA OVERRIDES]

FOLDER holds Multi30k's raw text: train.{en,de}[.gz], val.{en,de}, test_2016_flickr.{en,de}.
Trains softmax, ReLUFormer and ReLUFormer centred (tiny: 4 layers of 128) to convergence, averages
the last ten checkpoints, translates test2016 with beam 5 and prints a table. With `ablation`, the
six rows of the ablation instead, 3,000 updates each.

Systems train side by side, JOBS at a time with one thread each; about two hours of one core for
each of the three, and half an hour for each row of the ablation. Stop it at any time (Ctrl-C): the
same command goes on where it stopped. Overrides go to reluformer-train, such as seed=2, or
data=multi30k_de_en for the other direction.

Environment:
  JOBS     systems that train at the same time (default: 2)
  PYTHON   the interpreter for .venv
HELP
    exit 0
fi

folder=$1
shift
ablation=false
if [[ "${1:-}" == ablation ]]; then
    ablation=true
    shift
fi
overrides=("$@")
direction=multi30k_en_de
seed=1
for override in "${overrides[@]}"; do
    [[ $override == data=* ]] && direction=${override#data=}
    [[ $override == seed=* ]] && seed=${override#seed=}
done
target=${direction##*_}
source=$([[ $target == de ]] && echo en || echo de)

bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1
python data_prep/pairs.py folder="$folder" name=multi30k source_lang=en target_lang=de \
    splits.valid=val splits.test=test_2016_flickr moses=true lowercase=true
reluformer-preprocess data="$direction"

sites=(encoder_self_attention decoder_self_attention cross_attention)

# Settings of ReLU attention at all three sites.
everywhere() {
    for site in "${sites[@]}"; do
        for setting in "$@"; do
            echo "model.$site.$setting"
        done
    done
}

# Train, average, translate and score one system: its name, its experiment, its own settings.
run_system() {
    local name=$1 experiment=$2
    shift 2
    local run=runs/$direction/$name-seed$seed
    mkdir -p "$run"
    # One chain: where a step fails or is stopped, the next ones must not run.
    {
        reluformer-train experiment="multi30k_en_de/$experiment" data="$direction" name="$name" \
            device=cpu threads=1 "$@" "${overrides[@]}" &&
            reluformer-average run="$run" last=10 &&
            reluformer-translate run="$run" checkpoint=avg_10 input_tokenised=true detokenise=false \
                input="data/multi30k/text/test.$source" output="$run/test.tokens.$target" &&
            reluformer-score hypothesis="$run/test.tokens.$target" lowercase=true \
                reference="data/multi30k/text/test.raw.$target" \
                tokenised_reference="data/multi30k/text/test.$target" output="$run/scores.json"
    } >"$run/log.txt" 2>&1 || {
        echo "error: $name stopped; the end of $run/log.txt:" >&2
        tail -n 3 "$run/log.txt" >&2
        return 1
    }
    echo "$name is done" >&2
}

if $ablation; then
    overrides+=(train.max_updates=3000)
    systems=(
        "no_scale reluformer loss.regulariser_weight=0 $(everywhere scale=false gamma_mode=fixed | xargs)"
        "scale reluformer loss.regulariser_weight=0"
        "scale_normalisation reluformer $(everywhere entropy_term=false | xargs)"
        "scale_both reluformer"
        "no_scale_centered reluformer_centered loss.regulariser_weight=0 $(everywhere scale=false gamma_mode=fixed | xargs)"
        "scale_both_centered reluformer_centered"
    )
    prefix=ablation_
else
    systems=("softmax softmax" "reluformer reluformer" "reluformer_centered reluformer_centered")
    prefix=
fi

trap 'kill -TERM $(jobs -p) 2>/dev/null; wait; exit 130' INT TERM
echo "training; follow with: tail -f runs/$direction/*-seed$seed/log.txt" >&2
for system in "${systems[@]}"; do
    while (($(jobs -pr | wc -l) >= ${JOBS:-2})); do
        wait -n || true
    done
    read -ra words <<<"$system"
    run_system "$prefix${words[0]}" "${words[@]:1}" &
done
wait
runs=()
for system in "${systems[@]}"; do
    runs+=("runs/$direction/$prefix${system%% *}-seed$seed")
done
python scripts/runs_table.py "${runs[@]}"
