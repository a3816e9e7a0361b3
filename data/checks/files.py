"""Look for image files that training would stumble over.

`inspect_image` reads one file to its end, as training would; `spot_check` spends a second on a
whole data set. scripts/check_dataset.py makes a report of them.
"""

import hashlib
import os
import shlex
import stat
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from util.base.errors import UserError
from util.base.log import warn
from util.images.reading import default_loader, has_known_ending, silence_pillow
from util.images.transforms import resizes

Size = tuple[int, int]  # width, height
T = TypeVar("T")

SHOWN_PROBLEMS = 5
LONGEST_REASON = 150  # characters of what Pillow has to say
STANDARD_ERROR = 2  # its descriptor

_ENDINGS = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),  # several JPEGs in one file, as some cameras write them
    "PNG": (".png",),
    "PPM": (".ppm",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
_TURNED_BY_A_QUARTER = (5, 6, 7, 8)  # of the values of EXIF's orientation


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in an image file; None where nothing is known."""

    path: str
    size: Size | None = None  # of the image, the right way up
    mode: str | None = None  # Pillow's name of the pixel format in the file: RGB, L, P, CMYK, ...
    problem: str | None = None  # why training cannot use the file, to be read after "is"
    notes: tuple[str, ...] = ()  # oddities that do not stop training, read after the file's name
    digest: str | None = None  # the same for files with the same bytes


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
        size, mode, kind = header
        image, problem = _attempt(default_loader, path)
        frames = _attempt(_count_frames, path)[0] if image else 1
    notes = tuple(_notes(path, mode, kind, frames or 1))
    return Inspection(path, image.size if image else size, mode, problem, notes, digest)


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
        return None, _explain(inner) if inner else str(error).removeprefix(f"{path} is ")
    except Exception as error:  # noqa: BLE001 - Pillow raises all kinds when the bytes are broken
        return None, _explain(error)


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


def _read_header(path: str) -> tuple[Size, str, str | None]:
    """Return the size that `default_loader` will give, the mode and the format; decode nothing."""
    with Image.open(path) as image:
        width, height = image.size
        # Pillow decodes a whole PNG to look for EXIF behind the pixels.
        cheap = image.format != "PNG" or "exif" in image.info
        turned = cheap and image.getexif().get(ExifTag.Orientation) in _TURNED_BY_A_QUARTER
        return (height, width) if turned else (width, height), image.mode, image.format


def _count_frames(path: str) -> int:
    with Image.open(path) as image:
        return int(getattr(image, "n_frames", 1))


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _notes(path: str, mode: str, kind: str | None, frames: int) -> Iterator[str]:
    if not path.lower().endswith(_ENDINGS.get(kind or "", ())):
        yield f"holds {kind or 'something else'}, whatever its ending says"
    if frames > 1:
        yield f"holds {frames} images, of which the first is used"
    if mode.startswith(("I", "F")):  # Pillow cuts off what 8 bits cannot hold
        yield f"has more than 8 bits (mode {mode}): all above 255 becomes white"


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


def warn_of_bad_images(files: Mapping[str, Sequence[str]], opt: Namespace) -> None:
    """Say what a quick look at a data set's files finds; takes a second at most.

    Lists of an attribute may hold files of other kinds, which a plugin reads in its own way: those
    are passed over. What `image_files` declares (no attribute) is looked at whatever its name.
    """
    listed = {path: name for name, paths in files.items() for path in paths}
    problems = spot_check(
        [path for path, name in listed.items() if not name or has_known_ending(path)],
        preprocess=opt.preprocess,
        crop_size=opt.crop_size,
        side_by_side=opt.dataset_mode == "aligned",
        root=opt.dataroot,
    )
    if problems:
        shown = "\n  ".join(problems[:SHOWN_PROBLEMS])
        hidden = len(problems) - SHOWN_PROBLEMS
        more = f"\n  ... and {hidden} more" if hidden > 0 else ""
        warn(
            f"{len(problems)} images will fail:\n  {shown}{more}\n"
            f"  python scripts/check_dataset.py {shlex.quote(opt.dataroot)} looks at every "
            "image; --skip_bad_images goes on without the bad ones."
        )


def spot_check(
    paths: Sequence[str],
    *,
    preprocess: str = "resize_and_crop",
    crop_size: int = 256,
    side_by_side: bool = False,
    root: str | Path | None = None,
    headers: int = 48,
    seconds: float = 1.0,
) -> list[str]:
    """Return a line for each problem that can be found at once, however many images there are.

    Reads so many headers of images, spread evenly over the list, for half of the seconds at most;
    then looks for empty files in the time that is left, spread over the list too. Decodes nothing,
    so an image that breaks off half-way is not noticed: scripts/check_dataset.py finds it.

    Lines are in the order of `paths`, with names relative to `root`: "trainA/x.jpg is empty
    (0 bytes)". `side_by_side` says that every file holds A and B.
    """

    def header_problem(path: str) -> str | None:
        if problem := _trouble_on_disk(path):
            return problem
        header, problem = _attempt(_read_header, path)
        if header is None:
            return problem
        return (side_by_side and odd_width(header[0])) or too_small(
            header[0], preprocess=preprocess, crop_size=crop_size, side_by_side=side_by_side
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
    return [f"{shown_name(paths[index], root)} is {found[index]}" for index in sorted(found)]


def look_side_by_side(sizes: Sequence[Size]) -> bool:
    """Tell whether most images are about twice as wide as high, as A and B in one file are."""
    wide = sum(1.8 <= width / height <= 2.2 for width, height in sizes)
    return 2 * wide > len(sizes)


def shown_name(path: str, root: str | Path | None) -> str:
    """Return a path relative to `root`, with slashes, in characters that can be printed."""
    relative = path if root is None else Path(os.path.relpath(path, root)).as_posix()
    return relative.encode("utf-8", "backslashreplace").decode("utf-8")
