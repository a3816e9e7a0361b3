"""The base of all data sets, and the transforms that the options describe."""

import os
import random
from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from textwrap import indent
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from data.image_folder import make_dataset
from data.pipeline.image_reader import ImageReader, Levels
from data.pipeline.image_reader import load_image as load_image
from util.base.errors import UserError
from util.images import transforms as T


class BaseDataset(Dataset[dict[str, Any]], ABC):
    """Base class: a subclass lists its images in `__init__` and loads one in `__getitem__`.

    `data/template_dataset.py` is the file to copy.
    """

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        self.root: str = opt.dataroot

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Add options of this data set, or change defaults of others."""
        del is_train
        return parser

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of items."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one item: tensors and the paths they came from, by name."""


class BuiltInDataset(BaseDataset):
    """Base of the built-in data sets: an item is read as 8-bit levels, and normalised last.

    The loader of batches takes `levels`, unless a subclass has its own `__getitem__`: a quarter of
    the bytes travels from the workers and to the GPU, and a batch is normalised as a whole.

    Attributes:
        reader: reads the images; set by the subclass, which knows how many there are.
    """

    reader: ImageReader

    @abstractmethod
    def levels(self, index: int) -> Levels:
        """Return one item before its images are normalised."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one item: tensors in [-1, 1] and the paths they came from, by name."""
        return self.levels(index).normalized()

    def gives_levels(self) -> bool:
        """Tell whether `levels` holds all that items are made of."""
        return type(self).__getitem__ is BuiltInDataset.__getitem__


def get_params(opt: Namespace, size: tuple[int, int]) -> dict[str, Any]:
    """Draw where to crop and whether to flip, so that several images can share it.

    Always draws three times from python's `random`, whatever the options use of it.

    Args:
        opt: `preprocess`, `load_size` and `crop_size` are read.
        size: (width, height) of the image.

    Returns:
        `crop_pos` (x, y) within the resized image, and `flip`.
    """
    width, height = size
    if opt.preprocess == "resize_and_crop":
        width = height = opt.load_size
    elif opt.preprocess == "scale_width_and_crop":
        width, height = opt.load_size, opt.load_size * height // width
    x = random.randint(0, max(0, width - opt.crop_size))
    y = random.randint(0, max(0, height - opt.crop_size))
    return {"crop_pos": (x, y), "flip": random.random() > 0.5}


def get_transform(
    opt: Namespace,
    params: Mapping[str, Any] | None = None,
    grayscale: bool = False,
    method: Any = Image.Resampling.BICUBIC,
    convert: bool = True,
) -> Callable[[Image.Image], Any]:
    """Return the transform from an image to a tensor that the options describe.

    Args:
        opt: `preprocess`, `load_size`, `crop_size` and `no_flip` are read.
        params: what `get_params` drew; without it crop and flip are drawn anew for every image,
            from torch's generator.
        grayscale: reduce to one channel first.
        method: how to resample: Pillow's constant, or torchvision's of the same name.
        convert: return a float32 tensor (C, H, W) in [-1, 1]; otherwise a Pillow image.
    """
    steps = [*fixed_steps(opt, grayscale, method), *varying_steps(opt, params)]
    return T.Compose([*steps, T.ToNormalizedTensor()] if convert else steps)


def fixed_steps(
    opt: Namespace, grayscale: bool, method: Any = Image.Resampling.BICUBIC
) -> list[Callable[[Any], Any]]:
    """Return the first steps of `get_transform`, which do the same to an image every time."""
    if not isinstance(method, int):  # torchvision.transforms.InterpolationMode
        method = Image.Resampling[method.name]
    steps: list[Callable[[Any], Any]] = [T.Grayscale()] if grayscale else []
    if "resize" in opt.preprocess:
        steps.append(T.Resize(opt.load_size, opt.load_size, method))
    elif "scale_width" in opt.preprocess:
        steps.append(T.ScaleWidth(opt.load_size, opt.crop_size, method))
    if opt.preprocess == "none":
        steps.append(T.RoundSides(4, method))
    return steps


def varying_steps(opt: Namespace, params: Mapping[str, Any] | None) -> list[Callable[[Any], Any]]:
    """Return the steps of `get_transform` that follow: where to crop and whether to flip."""
    steps: list[Callable[[Any], Any]] = []
    if "crop" in opt.preprocess:
        steps.append(_crop(opt.crop_size, params))
    if not opt.no_flip:
        if params is None:
            steps.append(T.RandomFlip())
        elif params["flip"]:
            steps.append(T.Flip())
    return steps


def _crop(size: int, params: Mapping[str, Any] | None) -> Callable[[Any], Any]:
    if params is None:
        return T.RandomCrop(size)
    x, y = params["crop_pos"]
    return T.CropAt(x, y, size)


def check_crop_fits(opt: Namespace) -> None:
    """Refuse a crop that is larger than what it is cut from.

    Raises:
        UserError: `--crop_size` is larger than `--load_size`, and both are used.
    """
    resizes = "resize" in opt.preprocess or "scale_width" in opt.preprocess
    if resizes and "crop" in opt.preprocess and opt.load_size < opt.crop_size:
        raise UserError(
            f"--crop_size {opt.crop_size} is larger than --load_size {opt.load_size}, to which "
            f"--preprocess {opt.preprocess} resizes first. Raise --load_size or lower --crop_size."
        )


def find_images(opt: Namespace, folder: str, expected: str) -> list[str]:
    """List the images of a folder, at most `opt.max_dataset_size`.

    Args:
        opt: `dataroot` and `max_dataset_size` are read.
        folder: where the images are.
        expected: the layout that the data set wants, one line for each folder.

    Raises:
        UserError: no such folder, or no images in it; shows what is wanted and what is there.
    """
    if os.path.isdir(folder):
        if paths := make_dataset(folder, opt.max_dataset_size):
            return paths
        problem = f"There are no images in {folder}."
    else:
        problem = f"{folder} is not a valid directory."
    raise UserError(
        f"{problem} Check --dataroot, --phase and --dataset_mode.\n"
        f"  --dataset_mode {opt.dataset_mode} expects\n{indent(expected, ' ' * 4)}\n"
        f"  and finds\n    {_what_is_in(opt.dataroot)}"
    )


def _folders_first(entry: tuple[bool, str]) -> tuple[bool, str]:
    return not entry[0], entry[1]


def _what_is_in(folder: str) -> str:
    if not os.path.exists(folder):
        return f"{folder} (which does not exist)"
    if not os.path.isdir(folder):
        return f"{folder} (which is a file)"
    found = [(os.path.isdir(entry.path), entry.name) for entry in os.scandir(folder)]
    names = [f"{name}/" if is_dir else name for is_dir, name in sorted(found, key=_folders_first)]
    shown = ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
    return f"{folder} (with {shown or 'nothing in it'})"
