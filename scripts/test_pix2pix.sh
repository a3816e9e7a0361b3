#!/usr/bin/env bash
# Test what train_pix2pix.sh trained.
# More options are passed on, and win: bash scripts/test_pix2pix.sh --n_epochs 5
set -ex
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python}" test.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256 --direction BtoA --dataset_mode aligned --norm batch "$@"
