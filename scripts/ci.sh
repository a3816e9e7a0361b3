#!/usr/bin/env bash
# Everything a change must pass, in the order that fails fastest.
#   scripts/ci.sh            all tests
#   scripts/ci.sh fast       without the slow ones (under 5 minutes on 2 cores)
#   scripts/ci.sh dist       those of several processes alone, all cases (under 4 minutes)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"  # the tests run in two processes
unset PYTHONDONTWRITEBYTECODE  # or each of the processes that tests start would compile everything

ruff check .
ruff format --check .
lint-imports
mypy --num-workers 2
tests="not gpu"
at_once=2
if [ "${1:-all}" = fast ]; then
    tests="not gpu and not slow"
elif [ "${1:-all}" = dist ]; then
    tests="not gpu and dist"
    export DIST=all
    at_once=3  # they often wait for a time-out
fi
python -m pytest -m "$tests" --numprocesses $at_once --dist loadfile --no-loadscope-reorder
