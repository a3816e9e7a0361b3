#!/usr/bin/env bash
# Everything a change must pass, in the order that fails fastest.
#   scripts/ci.sh            all tests
#   scripts/ci.sh fast       without the slow ones (under 5 minutes on 2 cores)
#   scripts/ci.sh dist       all cases of several processes, nothing else (under 4 minutes)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"  # the tests run in two processes
unset PYTHONDONTWRITEBYTECODE  # or each of the processes that tests start would compile everything

tests="not gpu"
files=tests
at_once=2
if [ "${1:-all}" = fast ]; then
    tests="not gpu and not slow"
elif [ "${1:-all}" = dist ]; then
    tests="not gpu and dist"
    export DIST=all
    # Those that have any: to import all of them takes each process five seconds.
    files="$(grep -rl 'mark\.dist' tests --include='*.py' | sort)"
    at_once=3  # they often wait for a time-out
fi

if [ "${1:-all}" != dist ]; then
    ruff check .
    ruff format --check .
    lint-imports
    mypy --num-workers 2
fi
python -m pytest $files -m "$tests" --numprocesses $at_once --dist loadfile --no-loadscope-reorder
