#!/usr/bin/env bash
# Train pix2pix on the facades: labels to photographs.
# More options are passed on, and win: bash scripts/train_pix2pix.sh --n_epochs 5
set -ex
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python}" train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256 --direction BtoA --lambda_L1 100 --dataset_mode aligned --norm batch --pool_size 0 "$@"
