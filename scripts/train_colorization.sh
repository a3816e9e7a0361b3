#!/usr/bin/env bash
# Train colours for grey photographs.
# More options are passed on, and win: bash scripts/train_colorization.sh --n_epochs 5
set -ex
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python}" train.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization "$@"
