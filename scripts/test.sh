#!/usr/bin/env bash
# Everything that must pass before a change is merged: lint, types, import contracts, tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ "${1:-}" == --help || "${1:-}" == -h ]]; then
    cat <<'HELP'
Usage: bash scripts/test.sh [PYTEST ARGUMENTS]

Sets up .venv if needed (see scripts/setup.sh), then runs ruff, mypy, the import contracts and all
tests. Arguments go to pytest: a path, -k NAME, -m 'not slow', -n 0 to run in one process.

Environment:
  PYTHON               the interpreter for .venv
  RELUFORMER_CORPORA   a folder of real corpora; without it the tests that need them are skipped
HELP
    exit 0
fi

bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1

step() {
    echo "== $*" >&2
    "$@"
}

for script in scripts/*.sh .ci/run; do
    bash -n "$script"
done
step ruff check .
step ruff format --check .
step mypy reluformer data_prep
step lint-imports
step pytest -n 2 --dist worksteal "$@"
