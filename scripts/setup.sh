#!/usr/bin/env bash
# Make .venv with the package, editable, and everything that developing it needs.
# Does nothing when pyproject.toml and constraints.txt are as they were at the last time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ "${1:-}" == --help || "${1:-}" == -h ]]; then
    cat <<'HELP'
Usage: bash scripts/setup.sh

Makes the virtual environment .venv in the checkout and installs reluformer into it (editable, with
its development tools), in the versions of constraints.txt. Repeating it costs nothing until
pyproject.toml or constraints.txt change.

Environment:
  PYTHON     the interpreter to use (default: python3); 3.10 or newer
  TORCH_INDEX_URL   an index to take PyTorch from instead of the default one, such as one of CPU builds
HELP
    exit 0
fi

fail() {
    echo "error: $*" >&2
    exit 2
}

python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "there is no $python: install Python 3.10 or newer, or set PYTHON to it"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$python" --version) is too old: reluformer needs 3.10 or newer (set PYTHON to one)"

stamp=.venv/installed
state=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)
if [[ -f $stamp && "$(<"$stamp")" == "$state" ]] && .venv/bin/python -c 'import sys' 2>/dev/null; then
    exit 0
fi

if ! .venv/bin/python -c 'import sys' 2>/dev/null; then
    echo "making .venv with $("$python" --version)" >&2
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments: install its venv package (python3-venv on Debian and Ubuntu)"
    "$python" -m venv --clear .venv
fi

pip() {
    .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"
}

echo "installing into .venv; the first time this takes some minutes, most of it for PyTorch" >&2
torch=$(grep '^torch==' constraints.txt)
pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$torch" ||
    fail "$torch could not be installed: is there a network, or a package index that pip knows?"
pip install --constraint constraints.txt --editable '.[dev,baselines,analysis,parallel,slurm,sweep]' ||
    fail "the dependencies of pyproject.toml could not be installed; see pip's message above"
echo "$state" >"$stamp"
echo "ready: source .venv/bin/activate" >&2
