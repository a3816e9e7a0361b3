#!/usr/bin/env bash
# Download a data set that was published with pix2pix: bash datasets/download_pix2pix_dataset.sh NAME
# Options as of datasets/download.py, which does it.
set -euo pipefail
exec "${PYTHON:-python}" "$(dirname "${BASH_SOURCE[0]}")/download.py" --technique pix2pix "$@"
