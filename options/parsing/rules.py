"""Checks of option values; each yields one message that says what to do."""

import math
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath, PureWindowsPath

from data.pipeline.jitter import strengths
from models.optimization.schedulers import LR_POLICIES
from models.optimization.speed import speed_problems
from util.base.errors import suggest
from util.base.new_options import framework_option, new_option
from util.images.animation import mp4_problem
from util.images.ranges import ValueRange
from util.training.length import Length

PREPROCESSING = (
    *("resize_and_crop", "resize", "crop", "scale_width", "scale_width_and_crop"),
    *("scale_shortside", "scale_shortside_and_crop", "none"),
)
PARTS_OF_FILE_NAMES = ("epoch", "load_iter", "phase", "model_suffix")
PATHS = ("dataroot", "name", "checkpoints_dir", "results_dir", "pretrained", *PARTS_OF_FILE_NAMES)

AT_LEAST_1 = (lambda n: n >= 1, "it must be 1 or more")
AT_LEAST_0 = (lambda n: n >= 0, "it must be 0 or more")
FINITE = (lambda n: abs(n) < math.inf, "it must be finite")
FINITE_AT_LEAST_0 = (lambda n: 0 <= n < math.inf, "it must be finite, and 0 or more")
BELOW_2_31 = (lambda n: n < 2**31, "it must be below 2**31")

# The numbers that an option may have, as a test and in words.
Ranges = Mapping[str, tuple[Callable[[float], bool], str]]
BASE_RANGES: Ranges = {
    **dict.fromkeys(("input_nc", "output_nc", "ngf", "ndf", "batch_size"), AT_LEAST_1),
    **dict.fromkeys(("crop_size", "load_size", "display_winsize"), AT_LEAST_1),
    **dict.fromkeys(("n_layers_D", "num_threads", "load_iter"), AT_LEAST_0),
    "seed": (lambda n: 0 <= n < 2**32, "it must be from 0 to below 2**32"),
    "max_dataset_size": (lambda n: n >= 1, "it counts images, so it must be 1 or more"),
}
# What no image, network or batch can have.
LARGEST: Ranges = {
    **dict.fromkeys(("crop_size", "load_size", "batch_size", "display_winsize"), BELOW_2_31),
    **dict.fromkeys(("input_nc", "output_nc", "ngf", "ndf"), BELOW_2_31),
    "n_layers_D": (lambda n: n <= 30, "each layer halves images, so it must be 30 or less"),
}
TRAIN_RANGES: Ranges = {
    **dict.fromkeys(("val_freq", "early_stop", "pool_size", "epoch_size"), AT_LEAST_0),
    **dict.fromkeys(("lr", "lr_G", "lr_D", "lambda_gp"), FINITE_AT_LEAST_0),
    **dict.fromkeys(("lambda_L1", "lambda_A", "lambda_B", "lambda_identity"), FINITE),
    **dict.fromkeys(("n_epochs", "n_epochs_decay", "epoch_count"), AT_LEAST_0),
    **dict.fromkeys(("total_steps", "decay_steps", "val_steps"), AT_LEAST_0),
    **dict.fromkeys(("num_val", "accumulate"), AT_LEAST_1),
    **dict.fromkeys(("display_freq", "update_html_freq", "print_freq"), AT_LEAST_1),
    **dict.fromkeys(("save_latest_freq", "save_epoch_freq", "lr_decay_iters"), AT_LEAST_1),
    "cache_gb": (lambda n: 0 < n < 10**6, "it must be above 0, and below a million"),
    "lr_gamma": (lambda n: 0 < n <= 1, "it must be above 0 and at most 1"),
    "ema": (lambda n: 0 <= n < 1, "give 0 for no averages, else a number between 0 and 1"),
    "keep_last": (lambda n: n >= 0, "it counts checkpoints; 0 keeps all"),
    "beta1": (lambda n: 0 <= n < 1, "Adam needs a number from 0 to below 1"),
}
TEST_RANGES: Ranges = {
    "aspect_ratio": (lambda n: 0.01 <= n <= 100, "it must be above 0, from 0.01 to 100"),
    "num_test": (lambda n: n >= 1 or n == -1, "it must be 1 or more, or -1 for all"),
    **dict.fromkeys(("tile", "overlap"), AT_LEAST_0),
}

BASE_CHOICES = {"direction": ("AtoB", "BtoA")}
TRAIN_CHOICES = {
    "lr_policy": tuple(LR_POLICIES),
    "on_nan": ("stop", "rollback"),
    "cache": ("none", "decoded", "resized"),
}


def problems(opt: Namespace) -> Iterator[str]:
    """Yield one message for each value that cannot work; forks may lack some of the options."""
    yield from base_problems(opt)
    yield from train_problems(opt) if opt.isTrain else test_problems(opt)


def base_problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options of every command."""
    yield from _out_of_range(opt, BASE_RANGES)
    yield from _out_of_range(opt, LARGEST)
    yield from _leading_elsewhere(opt)
    yield from speed_problems(opt)
    yield from _unknown(opt, BASE_CHOICES)
    yield from _of_value_range(opt)
    words = sorted(opt.preprocess.split("_and_"))  # in any order
    if words not in [sorted(mode.split("_and_")) for mode in PREPROCESSING]:
        mode = opt.preprocess
        yield f"--preprocess {mode} is not known. {suggest(mode, PREPROCESSING)}"


def _of_value_range(opt: Namespace) -> Iterator[str]:
    texts = new_option(opt, "value_range") or []
    shown = f"--value_range {' '.join(texts)}"
    if len(texts) > 2:
        yield f"{shown} gives {len(texts)} ranges. There may be two: of what goes in and comes out."
    if "auto" in texts and not opt.isTrain:
        yield f"{shown}: auto is found when training. Leave it out, or give LO,HI."
    for text in texts:
        try:
            _ = text == "auto" or ValueRange.parse(text)
        except ValueError:
            yield f"{shown}: {text} is no range. Give LO,HI with LO below HI: 0,4095, say; or auto."


def test_problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options of testing."""
    yield from _out_of_range(opt, TEST_RANGES)
    if new_option(opt, "animation") == "mp4" and (problem := mp4_problem()):
        yield f"--animation mp4: {problem}"
    tile = new_option(opt, "tile")
    if tile and new_option(opt, "compile"):
        yield (
            f"--tile {tile} and --compile contradict each other: what is computed in tiles is not "
            "compiled. Leave one out."
        )
    if new_option(opt, "keep_size") and opt.preprocess != "none":
        yield (
            f"--keep_size is for images as they are, but --preprocess {opt.preprocess} changes "
            "their size. Give --preprocess none, or leave --keep_size out."
        )
    if (overlap := new_option(opt, "overlap")) and not tile:
        yield f"--overlap {overlap} needs --tile, the side of a tile in pixels, such as --tile 512."


def train_problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options of train.py."""
    yield from _out_of_range(opt, TRAIN_RANGES)
    yield from _unknown(opt, TRAIN_CHOICES)
    yield from _contradictions(opt)
    yield from _of_drawing(opt)
    if new_option(opt, "jitter"):
        yield from _of_jitter(opt)
    elif new_option(opt, "jitter_both"):
        yield "--jitter_both needs --jitter B,C,S,H, for example --jitter 0.2,0.2,0.2,0.05."


def _contradictions(opt: Namespace) -> Iterator[str]:
    if {"epoch_count", "n_epochs", "n_epochs_decay"} <= vars(opt).keys():
        yield from _of_length(opt)
    keep_states = new_option(opt, "keep_states")
    if keep_states != "all" and not re.fullmatch(r"[1-9]\d{0,8}", keep_states):
        yield (
            f"--keep_states {keep_states} cannot work: give all, or how many of the numbered "
            "checkpoints keep their state, 1 or more."
        )
    save_best, early_stop = new_option(opt, "save_best"), new_option(opt, "early_stop")
    if early_stop > 0 and not save_best:
        yield (
            f"--early_stop {early_stop} needs --save_best METRIC, to know what is better: for "
            "example --save_best L1."
        )
    _, colon, direction = save_best.partition(":")
    if colon and direction not in ("min", "max"):
        yield f"--save_best {save_best} must end with :min or :max, or with the metric's name."
    if save_best and new_option(opt, "val_freq") == 0:
        yield (
            f"--save_best {save_best} and --val_freq 0 contradict each other: nothing would be "
            "measured. Leave one out."
        )
    if new_option(opt, "pretrained") and opt.continue_train:
        yield (
            "--continue_train and --pretrained contradict each other: one goes on with this run's "
            "networks, the other starts from another run's. Leave one out."
        )
    if new_option(opt, "start_visdom") and opt.display_id <= 0:
        yield (
            f"--start_visdom and --display_id {opt.display_id} contradict each other: 0 and below "
            "mean no visdom. Leave one out."
        )


def _of_drawing(opt: Namespace) -> Iterator[str]:
    size = new_option(opt, "epoch_size")
    given = {f"--epoch_size {size}": size, "--balanced": new_option(opt, "balanced")}
    for option in (option for option, is_given in given.items() if is_given):
        if opt.serial_batches:
            yield (
                f"{option} and --serial_batches contradict each other: images in order are the "
                "same in every epoch. Leave one out."
            )
    steps = new_option(opt, "val_steps")
    if size > 0 and steps > 0 and new_option(opt, "total_steps"):
        yield (
            f"--epoch_size {size} and --val_steps {steps} contradict each other: both say how long "
            "an epoch is. Leave one out, or give --val_steps 0."
        )


def _of_jitter(opt: Namespace) -> Iterator[str]:
    text = new_option(opt, "jitter")
    try:
        *_, saturation, hue = strengths(text)
    except ValueError:
        yield (
            f"--jitter {text} cannot work: give four numbers, how far brightness, contrast and "
            "saturation may be from 1 and hue from 0 (0.5 at most), such as 0.2,0.2,0.2,0.05."
        )
        return
    both = new_option(opt, "jitter_both") or opt.dataset_mode == "unaligned"
    for name in ("input_nc", "output_nc") if both else ("input_nc",):
        if (channels := getattr(opt, name)) not in (1, 3):
            yield (
                f"--jitter {text} cannot work with --{name} {channels}: what colours are is known "
                "of 3 channels, and brightness and contrast of 1. Leave it out."
            )
        elif channels == 1 and (saturation or hue):
            yield (
                f"--jitter {text} cannot work with --{name} 1: grey images have no saturation and "
                "hue. Give 0 for them: B,C,0,0."
            )


def _of_length(opt: Namespace) -> Iterator[str]:
    length = Length.of(opt)
    if length.constant < 0:
        yield (
            f"--decay_steps {length.decay} is more than --total_steps {length.total}, all that "
            "there are. Lower it; 0 keeps the learning rate as it is."
        )
    if (last := length.epochs) is None:  # that depends on the data
        return
    if opt.epoch_count > last:
        yield (
            f"--epoch_count {opt.epoch_count} starts after the last epoch, {last} "
            f"(--n_epochs {opt.n_epochs} + --n_epochs_decay {opt.n_epochs_decay}), so nothing "
            "would be trained. Raise --n_epochs or lower --epoch_count."
        )
    every, save_best = new_option(opt, "val_freq"), new_option(opt, "save_best")
    first = 1 if opt.continue_train else opt.epoch_count
    if save_best and every > 0 and first <= last and last // every == (first - 1) // every:
        yield (
            f"--save_best {save_best} needs a validation, but --val_freq {every} is not reached in "
            f"epochs {first} to {last}. Lower it."
        )


def _leading_elsewhere(opt: Namespace) -> Iterator[str]:
    """Judge names by their text alone, for every system alike: links are the user's business."""
    for name in PATHS:
        value = framework_option(opt, name)
        if isinstance(value, str) and "\0" in value:  # from a notebook; no shell lets it through
            yield f"--{name} {value!r} cannot work: no name of a file holds a NUL. Leave it out."
    if why := _why_no_folder(getattr(opt, "name", "run")):  # with what --suffix has added
        yield (
            f"--name {opt.name!r} cannot work: {why}, but runs are folders below "
            "--checkpoints_dir and --results_dir. Give a name like maps_cyclegan or exp/run1."
        )
    for name in PARTS_OF_FILE_NAMES:
        value = getattr(opt, name, "")
        if isinstance(value, str) and (value == ".." or re.search(r"[/\\]", value)):
            yield (
                f"--{name} {value!r} cannot work: it is a part of file names, so it must not lead "
                "to another folder. Leave out the slashes."
            )


def _why_no_folder(name: str) -> str:
    """Say why a name cannot be that of a folder below another one; nothing if it can."""
    parts = {part.strip() for part in re.split(r"[/\\]", name)}
    if name[:1] in ("/", "\\") or PurePath(name).drive or PureWindowsPath(name).is_absolute():
        return "it is a whole path"
    if ".." in parts:
        return "its '..' leads outside"
    return "" if parts - {"", "."} else "it names no folder"


def _unknown(opt: Namespace, choices: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, known in choices.items():
        value = framework_option(opt, name)
        if value is not None and value not in known:
            yield f"--{name} {value} is not known. {suggest(value, known)}"


def _out_of_range(opt: Namespace, ranges: Ranges) -> Iterator[str]:
    for name, (is_in_range, says) in ranges.items():
        value = framework_option(opt, name)
        # A plugin may have given the option another type.
        if isinstance(value, int | float) and not is_in_range(value):
            yield f"--{name} {value} cannot work: {says}."
