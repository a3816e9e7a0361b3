#!/usr/bin/env bash
# Everything a change must pass, in the order that fails fastest.
#   scripts/ci.sh            all tests
#   scripts/ci.sh fast       without the slow ones (under 5 minutes on 2 cores)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"

ruff check .
ruff format --check .
lint-imports
mypy
if [ "${1:-all}" = fast ]; then
    python -m pytest -m "not slow and not gpu"
else
    python -m pytest -m "not gpu"
fi
