#!/usr/bin/env bash
# Train CycleGAN on the maps.
# More options are passed on, and win: bash scripts/train_cyclegan.sh --n_epochs 5
set -ex
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python}" train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --pool_size 50 --no_dropout "$@"
