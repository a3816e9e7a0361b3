#!/usr/bin/env bash
# Install what train.py and test.py need, with pip. (Shorter: python3 -m pip install uv, then uv sync.)
set -ex
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python}" -m pip install -r requirements.txt "$@"
