"""What a test should know of the training run: its model, and how large its images were."""

import os
import shlex
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from util.base.log import warn
from util.images.sizes import ImageSize

DEFAULTS = {"phase": "test", "checkpoints_dir": "./checkpoints", "epoch": "latest"}


def own_model_command(opt: Namespace, trained: Mapping[str, Any]) -> str:
    """Return the command that tests the same images with what the run was `trained` as.

    A data set of pairs reads `<dataroot>/<phase>`, so a folder of images is a phase of the one
    above it.
    """
    folder, phase = Path(opt.dataroot), opt.phase
    if not os.path.isdir(folder / phase):
        folder, phase = folder.resolve().parent, folder.resolve().name
    words = {
        "dataroot": str(folder),
        "name": opt.name,
        "model": str(trained.get("model", "colorization")),
        "phase": phase,
        "checkpoints_dir": opt.checkpoints_dir,
        "epoch": opt.epoch,
    }
    given = [(f"--{name}", word) for name, word in words.items() if word != DEFAULTS.get(name)]
    return shlex.join(["python", "test.py", *(word for pair in given for word in pair)])


def if_pairs(opt: Namespace, trained: Mapping[str, Any]) -> str:
    """Say what to do if single images turn out to be pairs; nothing if that is to be expected."""
    if opt.dataset_mode != "single" or trained.get("dataset_mode") != "aligned":
        return ""
    return f"If so, this takes them apart:\n  {own_model_command(opt, trained)}"


def warn_of_other_sizes(opt: Namespace, trained: Mapping[str, Any]) -> None:
    """Say how large images are here, if they were of another size in training."""
    here, there = ImageSize.of(vars(opt)), ImageSize.of(trained)
    if here is None or there is None or str(here) == str(there):
        return
    same = there.whole()
    hint = "" if str(here) == str(same) else f" To go by training: {same.options}."
    warn(f"Images are {here} here; in training they were {there}.{hint}")
