#!/usr/bin/env bash
# Make the conda environment pytorch-CycleGAN-and-pix2pix with what train.py and test.py need.
set -ex
cd "$(dirname "${BASH_SOURCE[0]}")/.."
conda env create -f environment.yml "$@"
