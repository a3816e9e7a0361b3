#!/usr/bin/env bash
# Download a data set that was published with cyclegan: bash datasets/download_cyclegan_dataset.sh NAME
# Options as of datasets/download.py, which does it.
set -euo pipefail
exec "${PYTHON:-python}" "$(dirname "${BASH_SOURCE[0]}")/download.py" --technique cyclegan "$@"
