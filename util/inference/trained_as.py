"""What a test should know of the training run: its model, and how large its images were."""

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from util.base.commands import command
from util.base.log import warn
from util.images.sizes import ImageSize


def own_model_command(opt: Namespace, trained: Mapping[str, Any]) -> str:
    """Return the command that tests the same images with what the run was `trained` as.

    A data set of pairs reads `<dataroot>/<phase>`, so a folder of images is a phase of the one
    above it.
    """
    folder, phase = Path(opt.dataroot), opt.phase
    if not (os.path.isfile(folder) or os.path.isdir(folder / phase)):
        folder, phase = folder.resolve().parent, folder.resolve().name
    model = trained.get("model", "colorization")
    options = {"dataroot": folder, "name": opt.name, "model": model}
    options |= {} if phase == "test" else {"phase": phase}
    options |= {name: getattr(opt, name) for name in ("checkpoints_dir", "epoch", "load_iter")}
    return command("test.py", options)


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
