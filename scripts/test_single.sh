#!/usr/bin/env bash
# Test what train_pix2pix.sh trained, on a folder of labels alone.
# More options are passed on, and win: bash scripts/test_single.sh --num_test 5
set -ex
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python}" test.py --dataroot ./datasets/facades/testB/ --name facades_pix2pix --model test --netG unet_256 --direction BtoA --dataset_mode single --norm batch "$@"
