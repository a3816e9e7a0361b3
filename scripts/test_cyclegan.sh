#!/usr/bin/env bash
# Test what train_cyclegan.sh trained, both ways.
# More options are passed on, and win: bash scripts/test_cyclegan.sh --num_test 5
set -ex
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python}" test.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --phase test --no_dropout "$@"
