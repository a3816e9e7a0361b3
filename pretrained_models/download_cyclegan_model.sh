#!/usr/bin/env bash
# Where this script was in 2017 and 2018: bash pretrained_models/download_cyclegan_model.sh NAME
exec bash "$(dirname "${BASH_SOURCE[0]}")/../scripts/download_cyclegan_model.sh" "$@"
