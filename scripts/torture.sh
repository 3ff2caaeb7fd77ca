#!/usr/bin/env bash
# Tries to break the toolkit: crashes, full disks, hostile text and files; check / trials / failures.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ "${1:-}" == --help || "${1:-}" == -h ]]; then
    cat <<'HELP'
Usage: bash scripts/torture.sh [--quick] [PYTEST ARGUMENTS]

Runs the tests that are marked as checks of reliability (tests/support/checks.py lists the checks)
with all of their trials, prints a table of check / trials / failures, and writes it to
docs/results/reliability.md. About eleven minutes on two cores.

  --quick   few trials of each check but A13, whose processes wait for one another, and no tests
            marked slow, in under 90 seconds on a quiet machine, and no page is written;
            scripts/test.sh runs the same tests with the same trials, and those

Environment:
  PYTHON   the interpreter for .venv
HELP
    exit 0
fi

bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1

trials=(-m check --all-trials --check-table=docs/results/reliability.md)
if [[ "${1:-}" == --quick ]]; then
    shift
    trials=(-m "check and not slow" --check-table=/dev/null)
fi
pytest -n 2 --dist worksteal "${trials[@]}" "$@"
