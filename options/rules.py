"""Checks of option values; each yields one message that says what to do."""

from argparse import Namespace
from collections.abc import Iterator

from models.schedulers import LR_POLICIES
from util.errors import near_miss

DIRECTIONS = ("AtoB", "BtoA")
PREPROCESS_PARTS = ("resize", "crop", "scale_width")
PREPROCESS_MODES = (
    "resize_and_crop",
    "crop",
    "scale_width",
    "scale_width_and_crop",
    "resize",
    "none",
)


def base_problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options of every command."""
    if opt.direction not in DIRECTIONS:
        yield f"--direction {opt.direction} is not known. {near_miss(opt.direction, DIRECTIONS)}"
    known = opt.preprocess == "none" or opt.preprocess in PREPROCESS_MODES
    if not known and not _is_made_of_parts(opt.preprocess):
        yield (
            f"--preprocess {opt.preprocess} is not known. "
            f"{near_miss(opt.preprocess, PREPROCESS_MODES)}"
        )


def train_problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options of train.py."""
    if opt.lr_policy not in LR_POLICIES:
        yield f"--lr_policy {opt.lr_policy} is not known. {near_miss(opt.lr_policy, LR_POLICIES)}"


def _is_made_of_parts(preprocess: str) -> bool:
    """Tell whether the reference would do something with this value: it looks for parts of it."""
    return any(part in preprocess for part in PREPROCESS_PARTS)
