#!/usr/bin/env bash
# Test what train_colorization.sh trained.
# More options are passed on, and win: bash scripts/test_colorization.sh --num_test 5
set -ex
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python}" test.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization "$@"
