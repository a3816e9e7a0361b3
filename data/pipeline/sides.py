"""What the files of each side of a data set hold: channels, and the values that networks see."""

import os
from argparse import Namespace
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from util.base.errors import UserError
from util.base.log import say
from util.base.new_options import new_option, set_new_option
from util.images.deep import File
from util.images.pixels import stored_values
from util.images.ranges import ValueRange, ranges_in_and_out, usual_range
from util.images.reading import depth_of, read_image

AUTO = "auto"
MOST_LOOKED_AT = 500  # files, spread evenly over the side


class Side(NamedTuple):
    """What is wanted of the files of one side; None is the usual range of their type."""

    channels: int
    value_range: ValueRange | None = None


def sides_of(opt: Namespace, A_paths: Sequence[File], B_paths: Sequence[File]) -> tuple[Side, Side]:
    """Return what is wanted of A and of B; `--direction` says which of them goes in.

    Where `--value_range` is auto, or what goes in is of another depth than what comes out, the
    files tell it, and the option becomes what they told: a test needs the ranges of the training.

    Raises:
        UserError: they do not, since all their values are equal or not finite.
    """
    is_turned = opt.direction == "BtoA"
    going_in, coming_out = (B_paths, A_paths) if is_turned else (A_paths, B_paths)
    channels = opt.input_nc, opt.output_nc
    texts = new_option(opt, "value_range")
    if texts and AUTO in texts:
        files = zip(texts * (3 - len(texts)), (going_in, coming_out), channels, strict=True)
        found = [range_in(paths, nc) if text == AUTO else text for text, paths, nc in files]
        set_new_option(opt, "value_range", texts := list(map(str, found)))
        say(f"--value_range auto is {texts[0]} of what goes in, {texts[1]} of what comes out.")
    elif not texts and getattr(opt, "isTrain", False):
        set_new_option(opt, "value_range", texts := _ranges_of_unequal_depths(going_in, coming_out))
    first, second = (Side(*both) for both in zip(channels, ranges_in_and_out(texts), strict=True))
    return (second, first) if is_turned else (first, second)


def _ranges_of_unequal_depths(
    going_in: Sequence[File], coming_out: Sequence[File]
) -> list[str] | None:
    """Return the usual ranges of both sides if their files are of unequal depths, else None.

    A test that has no files of the other side could not know otherwise how deep its results are.
    """
    depths = [depth_of(paths[0]) for paths in (going_in, coming_out) if paths]
    if len(set(depths)) < 2 or torch.int32 in depths:  # which has no usual range
        return None
    texts = [str(usual_range(depth)) for depth in depths]
    say(f"Values are {texts[0]} in what goes in, {texts[1]} in what comes out: --value_range.")
    return texts


def range_in(paths: Sequence[File], channels: int) -> ValueRange:
    """Return the range of the values in files; of many files some are looked at.

    Raises:
        UserError: there is none.
    """
    count = min(len(paths), MOST_LOOKED_AT)
    evenly = np.linspace(0, len(paths) - 1, count, dtype=int).tolist()
    least, most = np.inf, -np.inf
    for path in (paths[index] for index in evenly):
        values = stored_values(read_image(path, channels)).numpy()
        least, most = min(least, float(values.min())), max(most, float(values.max()))
        if not np.isfinite([least, most]).all():
            raise UserError(f"{path}: It holds values that are not finite. Replace them.")
    if least >= most:
        folder = os.path.dirname(str(paths[0])) if paths else "the data set"
        raise UserError(f"--value_range auto finds no range in {folder}. Give LO,HI.")
    return ValueRange(least, most)
