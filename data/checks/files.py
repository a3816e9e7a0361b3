"""Look for image files that training would stumble over.

`inspect_image` reads one file to its end, as training would; `glance` spends a second on a
whole data set. scripts/check_dataset.py makes a report of them.
"""

import hashlib
import os
import stat
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from data.base_dataset import LAYOUTS
from util.base.commands import as_argument, command
from util.base.errors import UserError
from util.base.log import printable, say, warn
from util.base.new_options import new_option
from util.images.arrays import ARRAYS
from util.images.deep import is_cut_off
from util.images.file_lists import folder_of
from util.images.reading import KNOWN_ENDINGS, look_without_pillow, read_image, silence_pillow
from util.images.transforms import resizes, size_of

Size = tuple[int, int]  # width, height
T = TypeVar("T")

SHOWN_PROBLEMS = 5
LONGEST_REASON = 150  # characters of what Pillow has to say
PAIR = 1.5  # times as wide as high, if not more, is nearly every image with A and B
STANDARD_ERROR = 2  # its descriptor
DEEP, ALPHA = "more than 8 bits", "transparency"
LOSSES = {DEEP: "all above 255 becomes white", ALPHA: "it is dropped"}  # when read as 8-bit RGB
AT_DEPTH = ("aligned", "single", "unaligned")  # data sets that read all values
OWN_DEPTH = "read at that depth; --value_range says which values are black and white"

_ENDINGS = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),  # several JPEGs in one file, as some cameras write them
    "PNG": (".png",),
    "PPM": (".ppm",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "NumPy": ARRAYS,
}
_TURNED_BY_A_QUARTER = (5, 6, 7, 8)  # of the values of EXIF's orientation
_DEEP_TYPES = ("uint16", "int32", "float32")  # of what is no Pillow image
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


class Header(NamedTuple):
    """What the beginning of an image file tells."""

    size: Size  # the right way up
    mode: str
    kind: str | None  # of file: PNG, JPEG, ...
    has_alpha: bool

    @property
    def losses(self) -> tuple[str, ...]:
        """Return the kinds of `LOSSES` that reading it brings."""
        is_deep = self.mode.startswith(("I", "F")) or self.mode in _DEEP_TYPES or ";16" in self.mode
        happens = (is_deep, self.has_alpha)
        return tuple(kind for kind, does in zip(LOSSES, happens, strict=True) if does)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in an image file; None where nothing is known."""

    path: str
    size: Size | None = None  # of the image, the right way up
    mode: str | None = None  # Pillow's name of the pixel format in the file: RGB, L, P, CMYK, ...
    problem: str | None = None  # why training cannot use the file, to be read after "is"
    notes: tuple[str, ...] = ()  # oddities that do not stop training, read after the file's name
    digest: str | None = None  # the same for files with the same bytes
    losses: tuple[str, ...] = ()  # kinds of `LOSSES`


def inspect_image(path: str) -> Inspection:
    """Read an image file to its end; whatever is in it, nothing is raised and nothing printed.

    For one thread at a time: nothing of the process reaches standard error meanwhile.
    """
    if problem := _trouble_on_disk(path):
        return Inspection(path, problem=problem)
    digest, _ = _attempt(_digest, path)
    with _silent_libraries():
        header, problem = _attempt(_read_header, path)
        if header is None:
            return Inspection(path, problem=problem, digest=digest)
        size, mode, kind, _ = header
        image, problem = _attempt(read_image, path)
        is_pillow = isinstance(image, Image.Image)
        frames = _attempt(_count_frames, path)[0] if is_pillow else 1
    notes = tuple(_notes(path, kind, frames or 1))
    size = size if image is None else size_of(image)
    return Inspection(path, size, mode, problem, notes, digest, header.losses)


def _trouble_on_disk(path: str) -> str | None:
    """Find what can be told without opening the file; opening a pipe would wait for ever."""
    try:
        status = os.stat(path)
    except OSError as error:
        return _explain(error)
    if not stat.S_ISREG(status.st_mode):
        return "no file, but a folder, a pipe or a device"
    return None if status.st_size else "empty (0 bytes)"


def _attempt(function: Callable[[str], T], path: str) -> tuple[T | None, str | None]:
    """Return what a function makes of a file, and None; or None, and why it failed."""
    silence_pillow()
    try:
        return function(path), None
    except UserError as error:  # the loader's, mostly around Pillow's own
        inner = error.__cause__ or error.__context__
        if inner is None or isinstance(inner, UserError):
            return None, _own_words(error, path)
        return None, _explain(inner)
    except Exception as error:  # noqa: BLE001 - Pillow raises all kinds when the bytes are broken
        return None, _explain(error)


def _own_words(error: UserError, path: str) -> str:
    """Return what a loader says of a file, in words that follow "is"."""
    said = str(error).removeprefix(path).lstrip(": ")
    return said.removeprefix("is ") if said.startswith("is ") else f"of no use: {said}"


def _explain(error: BaseException) -> str:
    """Say why a file cannot be used, in words that follow "is"."""
    if isinstance(error, UnidentifiedImageError):
        return "no image, or of a format that is not known"
    if isinstance(error, FileNotFoundError):
        return "missing, or a link to nowhere"
    reason = " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"not readable: {error.strerror}"
    if isinstance(error, Image.DecompressionBombError):
        return f"too large: {reason.partition(',')[0]}"
    return f"truncated or broken: {reason}"


def _read_header(path: str) -> Header:
    """Return what a loader will find; decode nothing."""
    if (found := look_without_pillow(path)) is not None:
        mode = str(found.dtype).removeprefix("torch.")
        return Header(found.size, mode, found.kind, has_alpha=False)
    with Image.open(path) as image:
        width, height = image.size
        # Pillow decodes a whole PNG to look for EXIF behind the pixels.
        cheap = image.format != "PNG" or "exif" in image.info
        turned = cheap and image.getexif().get(ExifTag.Orientation) in _TURNED_BY_A_QUARTER
        size = (height, width) if turned else (width, height)
        has_alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
        mode = f"{image.mode};16" if is_cut_off(image) else image.mode
        return Header(size, mode, image.format, has_alpha)


def _count_frames(path: str) -> int:
    with Image.open(path) as image:
        return int(getattr(image, "n_frames", 1))


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _notes(path: str, kind: str | None, frames: int) -> Iterator[str]:
    if not path.lower().endswith(_ENDINGS.get(kind or "", ())):
        yield f"holds {kind or 'something else'}, whatever its ending says"
    if frames > 1:
        yield f"holds {frames} images, of which the first is used"


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """Keep from the console what libraries in C write there by themselves, as libtiff does."""
    try:
        console = os.dup(STANDARD_ERROR)
    except OSError:  # there is none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STANDARD_ERROR)
        yield
    finally:
        os.dup2(console, STANDARD_ERROR)
        os.close(console)
        os.close(nowhere)


def too_small(
    size: Size, *, preprocess: str, crop_size: int, side_by_side: bool = False
) -> str | None:
    """Say why an image is too small for the options, in words that follow "is"; None if it fits.

    Only an image that is cropped as it is (`--preprocess crop`) can be: what resizes first makes
    every image large enough. Most data sets refuse one that is too small; of pairs side by side
    (`side_by_side`), smaller halves stay as they are, and parts outside are black.
    """
    if resizes(preprocess):
        return None
    width, height = (size[0] // 2, size[1]) if side_by_side else size
    if "crop" not in preprocess or min(width, height) >= crop_size:
        return None
    shown = f"{width}x{height}" + (" in each half" if side_by_side else "")
    return f"{shown}, which is too small for --crop_size {crop_size}"


def odd_width(size: Size) -> str | None:
    """Say that an image cannot hold two equal halves, in words that follow "is"."""
    return f"{size[0]} pixels wide, an odd number, so A and B differ" if size[0] % 2 else None


def warn_of_bad_images(
    files: Mapping[str, Sequence[str]], opt: Namespace, *, if_pairs: str = ""
) -> None:
    """Say what a quick look at a data set's files finds; takes a second at most.

    Lists of an attribute may hold files of other kinds, which a plugin reads in its own way: those
    are passed over. What `image_files` declares (no attribute) is looked at whatever its name.
    `if_pairs` says what to do if images hold A and B side by side, where that is not expected.
    """
    listed = {path: name for name, paths in files.items() for path in paths}
    is_read_at_depth = opt.dataset_mode in AT_DEPTH
    known = (*KNOWN_ENDINGS, *(ARRAYS if is_read_at_depth else ()))
    paths = [path for path, name in listed.items() if not name or path.lower().endswith(known)]
    is_halved = opt.dataset_mode == "aligned" and "B_paths" not in files
    found = glance(
        paths,
        preprocess=opt.preprocess,
        crop_size=opt.crop_size,
        side_by_side=is_halved,
        root=(folder := folder_of(opt.dataroot)),
    )
    if found.problems:
        shown = "\n  ".join(found.problems[:SHOWN_PROBLEMS])
        hidden = len(found.problems) - SHOWN_PROBLEMS
        more = f"\n  ... and {hidden} more" if hidden > 0 else ""
        skip = (
            "; --skip_bad_images goes on without the bad ones"
            if getattr(opt, "isTrain", True)
            else ""
        )
        look_at_all = command("scripts/check_dataset.py", {}, as_argument(folder))
        warn(
            f"{len(found.problems)} images will fail:\n  {shown}{more}\n"
            f"  {look_at_all} looks at every image{skip}."
        )
    losses = [kind for kind in LOSSES if not (kind == DEEP and is_read_at_depth)]
    deep = sum(DEEP in header.losses for header in found.headers.values())
    if deep and DEEP not in losses and not new_option(opt, "value_range"):
        say(f"{deep} images of more than 8 bits are {OWN_DEPTH}.")
    if lost := "\n  ".join(_lost_values(found.headers, folder, losses)):
        few = len(found.headers)
        which = "images" if few == len(paths) else f"of the {few} images that were looked at, some"
        own = f" (unless {opt.dataset_mode} reads them in its own way)"
        by_whom = "" if opt.dataset_mode in LAYOUTS else own
        warn(f"Read as 8-bit RGB, {which} lose a part{by_whom}:\n  {lost}")
    sizes = [header.size for header in found.headers.values()]
    if if_pairs and look_side_by_side(sizes):
        warn(f"These images are twice as wide as high, as A and B side by side are. {if_pairs}")
    if is_halved and sizes and all(w < PAIR * h for w, h in sizes):
        warn(
            "--dataset_mode aligned takes the left half of each image for A and the right half for "
            "B, but these are hardly wider than high. If they are no pairs, translate them with "
            "--model test, and train on them with --dataset_mode unaligned."
        )


def _lost_values(headers: Mapping[str, Header], root: str, kinds: Sequence[str]) -> Iterator[str]:
    for kind in kinds:
        paths = [path for path, header in headers.items() if kind in header.losses]
        names = [shown_name(path, root) for path in paths[:SHOWN_PROBLEMS]]
        if paths:
            more = ", ..." if len(paths) > len(names) else ""
            yield f"{len(paths)} with {kind}: {LOSSES[kind]} ({', '.join(names)}{more})"


class Glance(NamedTuple):
    """What a quick look at images has found."""

    problems: list[str]  # lines such as "trainA/x.jpg is empty (0 bytes)", in the images' order
    headers: dict[str, Header]  # of those that were looked into, by path


def glance(
    paths: Sequence[str],
    *,
    preprocess: str = "resize_and_crop",
    crop_size: int = 256,
    side_by_side: bool = False,
    root: str | Path | None = None,
    headers: int = 1000,
    seconds: float = 1.0,
) -> Glance:
    """Return what can be found at once, however many images there are.

    Reads so many headers of images, spread evenly over the list, for half of the seconds at most;
    then looks for empty files in the time that is left, spread over the list too. Decodes nothing,
    so an image that breaks off half-way is not noticed: scripts/check_dataset.py finds it.

    Names in problems are relative to `root`. `side_by_side` says that every file holds A and B.
    """
    read: dict[str, Header] = {}

    def header_problem(path: str) -> str | None:
        if problem := _trouble_on_disk(path):
            return problem
        header, problem = _attempt(_read_header, path)
        if header is None:
            return problem
        read[path] = header
        return (side_by_side and odd_width(header.size)) or too_small(
            header.size, preprocess=preprocess, crop_size=crop_size, side_by_side=side_by_side
        )

    began = time.monotonic()
    length, found = len(paths), {}
    evenly = np.linspace(0, length - 1, min(length, headers), dtype=int).tolist()
    step = max(1, length // 1000)
    scattered = (index for first in range(step) for index in range(first, length, step))
    for indices, look, until in (
        (evenly, header_problem, seconds / 2),
        (scattered, _trouble_on_disk, seconds),
    ):
        for index in indices:
            if time.monotonic() - began > until:
                break
            if problem := look(paths[index]):
                found[index] = problem
    problems = [f"{shown_name(paths[index], root)} is {found[index]}" for index in sorted(found)]
    return Glance(problems, read)


def look_side_by_side(sizes: Sequence[Size]) -> bool:
    """Tell whether most images are about twice as wide as high, as A and B in one file are."""
    wide = sum(1.8 <= width / height <= 2.2 for width, height in sizes)
    return 2 * wide > len(sizes)


def shown_name(path: str, root: str | Path | None) -> str:
    """Return a path relative to `root`, with slashes, in characters that can be printed."""
    relative = path if root is None else Path(os.path.relpath(path, root)).as_posix()
    return printable(relative)
