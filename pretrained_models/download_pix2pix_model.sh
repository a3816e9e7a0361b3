#!/usr/bin/env bash
# Where this script was in 2017 and 2018: bash pretrained_models/download_pix2pix_model.sh NAME
exec bash "$(dirname "${BASH_SOURCE[0]}")/../scripts/download_pix2pix_model.sh" "$@"
