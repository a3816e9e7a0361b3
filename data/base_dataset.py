"""The base of all data sets, and the transforms that the options describe."""

import os
import random
import shlex
from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image
from torch.utils import data
from torch.utils.data import Dataset

from data.image_folder import is_image_file
from data.pipeline.files import list_files
from util.base.errors import UserError
from util.base.new_options import new_option
from util.images import transforms as T
from util.images.file_lists import ENDING as LIST
from util.images.file_lists import list_beside, natural, read_list
from util.images.ranges import ValueRange
from util.images.reading import LOWER_CASE

# What `from data.base_dataset import *` brings: the original's names.
__all__ = [
    "ABC", "BaseDataset", "Image", "abstractmethod", "data", "get_params", "get_transform", "np",
    "random", "transforms",  # noqa: F822 - see __getattr__
]  # fmt: skip

Item = TypeVar("Item")
Layout = tuple[str, ...]  # names of folders below --dataroot
ONE_FOLDER: Layout = ("{phase}",)  # for example train
TWO_FOLDERS: Layout = ("{phase}A", "{phase}B")  # trainA and trainB
PAIR_FOLDERS: Layout = ("A/{phase}", "B/{phase}")
ITSELF: Layout = (".",)  # for all phases
LAYOUTS = {  # of the built-in data sets, the first that is there; others have one of the first two
    "aligned": (ONE_FOLDER, PAIR_FOLDERS, TWO_FOLDERS),
    "colorization": (ONE_FOLDER,),
    "domains": (ONE_FOLDER,),  # with a folder for each domain in it
    "unaligned": (TWO_FOLDERS,),
    "single": (ITSELF,),
}
_LISTS = ("paths", "imgs", "image_files")  # usual names of lists of files, besides *_paths


class BaseDataset(Dataset[dict[str, Any]], ABC):
    """Base class: a subclass lists its images in `__init__` and loads one in `__getitem__`.

    `data/template_dataset.py` is the file to copy. What a subclass may define besides:

        sampling_weights(self)   how likely each item is: an epoch then draws as many as there are,
            with replacement, unless `--serial_batches` is given
        epoch_order(self, generator)   all indices once, in an order drawn from torch's `generator`,
            where one in which all orders are equally likely would not do
    """

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        self.root: str = opt.dataroot

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Add options of this data set, or change defaults of others."""
        del is_train
        return parser

    @classmethod
    def has_split(cls, opt: Namespace, phase: str) -> bool:
        """Tell whether there are images of a phase (train, val, test); asked before validation.

        By default, whether `opt.dataroot` has a folder `val`, or both `valA` and `valB`.
        """
        layouts = LAYOUTS.get(opt.dataset_mode, (ONE_FOLDER, TWO_FOLDERS))
        return layouts != (ITSELF,) and layout_of(opt.dataroot, phase, layouts) is not None

    def image_files(self) -> list[str]:
        """Return the files of all images, which are looked at before training.

        By default the lists with usual names (`A_paths`, `image_paths`, ...); else override it.
        """
        return [path for paths in lists_of_files(self).values() for path in paths]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one item: tensors and the paths they came from, by name."""


def get_params(opt: Namespace, size: tuple[int, int]) -> dict[str, Any]:
    """Draw where to crop and whether to flip, so that several images can share it.

    Always draws three times from python's `random`, whatever the options use of it, and then what
    new ones need. `size` is the image's (width, height), `crop_pos` (x, y) within the resized one.
    """
    width, height = size
    words = opt.preprocess.split("_and_")
    if "crop" not in words:
        pass  # what is drawn has no effect
    elif "resize" in words:
        width = height = opt.load_size
    elif "scale_width" in words:
        width, height = opt.load_size, opt.load_size * height // width
    elif "scale_shortside" in words:
        width, height = T.ScaleShortside(opt.load_size).size_of(size)
    x = random.randint(0, max(0, width - opt.crop_size))
    y = random.randint(0, max(0, height - opt.crop_size))
    params: dict[str, Any] = {"crop_pos": (x, y), "flip": random.random() > 0.5}
    if _augments(opt, "vertical_flip"):
        params["vertical_flip"] = random.random() > 0.5
    if _augments(opt, "rotate90"):
        params["quarter_turns"] = random.randrange(4)
    return params


def get_transform(
    opt: Namespace,
    params: Mapping[str, Any] | None = None,
    grayscale: bool = False,
    method: Any = Image.Resampling.BICUBIC,
    convert: bool = True,
    *,
    value_range: ValueRange | None = None,
) -> T.Compose:
    """Return the transform from an image to a tensor that the options describe.

    `params` is what `get_params` drew; without it crop and flip are drawn anew for every image,
    from torch's generator. `grayscale` reduces to one channel first. `method` says how to resample:
    Pillow's constant, or torchvision's of the same name. With `convert` the result is a float32
    tensor (C, H, W) in [-1, 1], otherwise an image as it came; `value_range` are the stored values
    that become -1 and 1, if not the usual ones of their type.
    """
    method = __transforms2pil_resize(method)
    steps: list[Callable[[Any], Any]] = [T.Grayscale()] if grayscale else []
    if "resize" in opt.preprocess:
        steps.append(T.Resize(opt.load_size, opt.load_size, method))
    elif "scale_width" in opt.preprocess:
        steps.append(T.ScaleWidth(opt.load_size, opt.crop_size, method))
    elif "scale_shortside" in opt.preprocess:
        steps.append(T.ScaleShortside(opt.load_size, method))
    if opt.preprocess == "none" and not new_option(opt, "keep_size"):
        steps.append(T.RoundSides(4, method))
    if "crop" in opt.preprocess:
        if params is None:
            steps.append(T.RandomCrop(opt.crop_size))
        else:
            x, y = params["crop_pos"]
            steps.append(T.CropAt(x, y, opt.crop_size))
    if not opt.no_flip and (params is None or params["flip"]):
        steps.append(T.RandomFlip() if params is None else T.Flip())
    if params is None:
        steps += random_turns(opt)
    else:
        steps += [T.VerticalFlip()] if params.get("vertical_flip") else []
        steps += [T.Turn(params["quarter_turns"])] if params.get("quarter_turns") else []
    if convert:
        steps += [T.ToTensor(value_range), T.Normalize()]
    return T.Compose(steps)


def random_turns(opt: Namespace) -> list[T.Step]:
    """Return the steps of `--vertical_flip` and `--rotate90`, which draw anew for every image."""
    steps: list[T.Step] = [T.RandomVerticalFlip()] if _augments(opt, "vertical_flip") else []
    return [*steps, T.RandomTurn()] if _augments(opt, "rotate90") else steps


def _augments(opt: Namespace, name: str) -> bool:
    return bool(getattr(opt, "isTrain", False) and new_option(opt, name))


def check_crop_fits(opt: Namespace) -> None:
    """Raise a UserError if a crop is larger than what it is cut from."""
    is_resized = T.resizes(opt.preprocess)
    if is_resized and "crop" in opt.preprocess and opt.load_size < opt.crop_size:
        raise UserError(
            f"--crop_size {opt.crop_size} is larger than --load_size {opt.load_size}, to which "
            f"--preprocess {opt.preprocess} resizes first. Raise --load_size or lower --crop_size."
        )


def folders_of(root: str | Path, phase: str, layout: Layout) -> list[str]:
    """Return the folders that hold a phase of the data set that lies at `root`."""
    return [os.path.join(root, name.format(phase=phase)) for name in layout]


def layout_of(root: str | Path, phase: str, layouts: Iterable[Layout]) -> Layout | None:
    """Return the first layout all of whose folders are there, or lists in their place."""
    for layout in layouts:
        if all(os.path.isdir(f) or list_beside(f) for f in folders_of(root, phase, layout)):
            return layout
    return None


def list_for(opt: Namespace, folder: str) -> str | None:
    """Return the list or the single image that is read instead of a folder, None if there is none.

    That is `--dataroot`, if it is a file, else a list that lies where the folder could.

    Raises:
        UserError: `--dataroot` is another file, or one but the data set reads two folders.
    """
    if not os.path.isfile(opt.dataroot):
        return list_beside(folder)
    if not (is_image_file(opt.dataroot) or opt.dataroot.lower().endswith(LIST)):
        raise UserError(
            f"--dataroot {opt.dataroot} is a file, but neither an image ({', '.join(LOWER_CASE)}) "
            f"nor a list of images ({LIST}, with a path on each line)."
        )
    if LAYOUTS.get(opt.dataset_mode) == (TWO_FOLDERS,):
        lists = " and ".join(f"{side}.txt" for side in folders_of("", opt.phase, TWO_FOLDERS))
        raise UserError(
            f"--dataroot {opt.dataroot} is one file, but --dataset_mode {opt.dataset_mode} needs "
            f"two sides. Put two lists into a folder, called {lists}, and give that folder."
        )
    return str(opt.dataroot)


def lists_of_files(dataset: BaseDataset) -> dict[str, list[str]]:
    """Return the lists of files that a data set keeps under the usual names, by name.

    Lists of something else, as domains or labels, may have such a name: they hold no paths.
    """
    return {
        name: [os.fspath(path) for path in values]
        for name, values in sorted(vars(dataset).items())
        if (name in _LISTS or name.endswith("_paths")) and _are_files(values)
    }


def _are_files(values: object) -> bool:
    if not isinstance(values, list | tuple) or not values:
        return False
    folder, name = os.path.split(str(values[0]))
    return bool(folder or "." in name) and all(isinstance(v, str | os.PathLike) for v in values)


def find_images(opt: Namespace, folder: str, expected: str) -> list[str]:
    """List the images of a folder, or the arrays if there are none; or those of `list_for` it.

    At most `opt.max_dataset_size`.

    Raises:
        UserError: no such folder, or no images in it; shows what is `expected`, one line for each
            folder of the data set, and what is there.
    """
    if file := list_for(opt, folder):
        return first_of(read_list(file), opt.max_dataset_size)
    is_folder = os.path.isdir(folder)
    if is_folder and (paths := list_files(folder)):
        return first_of(in_order(opt, paths), opt.max_dataset_size)
    problem = "There are no images in {}" if is_folder else "{} is not a valid directory"
    raise UserError(
        f"{problem.format(folder)}. Check --dataroot, --phase and --dataset_mode.\n"
        f"  --dataset_mode {opt.dataset_mode} expects\n{indent(expected, ' ' * 4)}\n"
        f"  and finds\n    {_what_is_in(opt.dataroot)}{_what_was_meant(opt)}"
    )


def in_order(opt: Namespace, paths: list[str]) -> list[str]:
    """Return sorted paths as `--natural_order` asks, by default as they are."""
    return sorted(paths, key=natural) if new_option(opt, "natural_order") else paths


def first_of(items: list[Item], most: float) -> list[Item]:
    """Return the first so many items; most may be infinite."""
    return items[: int(min(len(items), most))]


def _what_is_in(folder: str) -> str:
    if not os.path.isdir(folder):
        return f"{folder} (which {'is a file' if os.path.exists(folder) else 'does not exist'})"
    found = sorted((not entry.is_dir(), entry.name) for entry in os.scandir(folder))
    names = [name if is_file else f"{name}/" for is_file, name in found]
    shown = ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
    return f"{folder} (with {shown or 'nothing in it'})"


def _what_was_meant(opt: Namespace) -> str:
    """Name a folder above or below that has the images, or the model that reads these."""
    root, layouts = Path(opt.dataroot), LAYOUTS.get(opt.dataset_mode, ())
    below = sorted(root.iterdir()) if root.is_dir() else []
    for folder in (root.parent, *below):
        if layouts != (ITSELF,) and layout_of(folder, opt.phase, layouts) is not None:
            return f"\n  Did you mean --dataroot {shlex.quote(str(folder))}?"
    if layouts == (TWO_FOLDERS,) and layout_of(root, opt.phase, LAYOUTS["aligned"]) is not None:
        return "\n  If these are pairs, give --model pix2pix."
    return ""


# ---- for other people's code: the original's names for steps of a transform ------------------


def __transforms2pil_resize(method: Any) -> int:
    """Return Pillow's constant for a way to resample, which may be torchvision's."""
    return method if isinstance(method, int) else Image.Resampling[method.name]


def __make_power_2(
    img: Image.Image, base: int, method: Any = Image.Resampling.BICUBIC
) -> T.AnyImage:
    return T.RoundSides(base, __transforms2pil_resize(method))(img)


def __scale_width(
    img: Image.Image, target_size: int, crop_size: int, method: Any = Image.Resampling.BICUBIC
) -> T.AnyImage:
    return T.ScaleWidth(target_size, crop_size, __transforms2pil_resize(method))(img)


def __crop(img: Image.Image, pos: tuple[int, int], size: int) -> T.AnyImage:
    return T.CropAt(*pos, size)(img)


def __flip(img: Image.Image, flip: bool) -> T.AnyImage:
    return T.Flip()(img) if flip else img


def __print_size_warning(ow: int, oh: int, w: int, h: int) -> None:
    T.note_rounding((ow, oh), (w, h), base=4)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import torchvision for who asks for `transforms`: it takes as long as torch."""
        if name == "transforms":
            return import_module("torchvision.transforms")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
