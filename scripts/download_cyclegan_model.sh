#!/usr/bin/env bash
# Download a generator that was published with cyclegan: bash scripts/download_cyclegan_model.sh NAME
# Options as of scripts/download_model.py, which does it.
set -euo pipefail
exec "${PYTHON:-python}" "$(dirname "${BASH_SOURCE[0]}")/download_model.py" --technique cyclegan "$@"
