"""Write images: at once, or beside the work that makes the next ones."""

import errno
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from util.base.errors import UserError
from util.base.system import usable_cores
from util.images import png
from util.images.deep import write_tiff
from util.images.ranges import storable
from util.storage.files import replacing

MOST_THREADS = 16
ANY_NUMBER = ()
_OF_8_AND_16_BITS = (1, 2, 3, 4)  # channels: gray, gray and alpha, RGB, RGBA
_EVERYTHING: Mapping[torch.dtype, tuple[int, ...]] = dict.fromkeys(
    (torch.uint8, torch.uint16, torch.int32, torch.float32), ANY_NUMBER
)
# How many channels files hold, by their endings and the type of the values.
RESULT_FORMATS: Mapping[str, Mapping[torch.dtype, tuple[int, ...]]] = {
    "png": dict.fromkeys((torch.uint8, torch.uint16), _OF_8_AND_16_BITS),
    "jpg": {torch.uint8: (1, 3)},
    "webp": {torch.uint8: (3, 4)},
    "tif": _EVERYTHING,
    "npy": _EVERYTHING,
}
_ENDINGS = {"jpeg": "jpg", "tiff": "tif"}  # others of the same formats
_PILLOW_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},  # as of pairs, see joining.py
    "webp": {"format": "WEBP", "quality": 95},
    "tif": {"format": "TIFF"},
}
WAITING_PER_THREAD = 4  # images


def write_image(path: str | Path, image: Image.Image, **options: Any) -> None:
    """Write an image; the suffix of `path` decides the format, whose `options` are Pillow's."""
    encoded = png.encode(image) if Path(path).suffix.lower() == ".png" else None
    with replacing(path) as temporary:
        if encoded is None:
            image.save(temporary, **options)
        else:
            temporary.write_bytes(encoded)


def stretched(size: tuple[int, int], aspect_ratio: float) -> tuple[int, int]:
    """Return (width, height): above 1 the ratio widens an image, below 1 it makes it taller."""
    width, height = size
    return int(width * max(aspect_ratio, 1)), int(height / min(aspect_ratio, 1))


def as_pillow(image_numpy: NDArray[Any], aspect_ratio: float = 1.0) -> Image.Image:
    """Turn (H, W, C) or (H, W) uint8 into what is written of it, see `storable`."""
    image = Image.fromarray(storable(image_numpy))
    size = stretched(image.size, aspect_ratio)
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def save_image(
    image_numpy: NDArray[Any], image_path: str | Path, aspect_ratio: float = 1.0
) -> None:
    """Write an image, (H, W, C) uint8; see `as_pillow`."""
    write_image(image_path, as_pillow(image_numpy, aspect_ratio))


def format_of(path: str | Path) -> str:
    """Return which of RESULT_FORMATS a file name stands for; "" for none of them."""
    ending = Path(path).suffix.lower().removeprefix(".")
    ending = _ENDINGS.get(ending, ending)
    return ending if ending in RESULT_FORMATS else ""


def holds(file_format: str, stored: Tensor) -> bool:
    """Tell whether a file of RESULT_FORMATS holds stored values (C, H, W), all of them."""
    numbers = RESULT_FORMATS[file_format].get(stored.dtype)
    return numbers == ANY_NUMBER or (numbers is not None and len(stored) in numbers)


def require_holds(path: str | Path, stored: Tensor) -> str:
    """Return the format of a file for stored values (C, H, W).

    Raises:
        UserError: its ending is not known, or such a file cannot hold these values.
    """
    kind = format_of(path)
    if not kind:
        raise UserError(f"{path} ends like none of {', '.join(RESULT_FORMATS)}. Rename it.")
    if not holds(kind, stored):
        others = ", ".join(name for name in RESULT_FORMATS if holds(name, stored))
        what = f"{len(stored)} channels of {str(stored.dtype).removeprefix('torch.')}"
        raise UserError(f"{path}: .{kind} files cannot hold {what}; these can: {others}.")
    return kind


def write_stored(path: str | Path, stored: Tensor) -> None:
    """Write stored values (C, H, W) as they are; the ending of `path` decides the format.

    JPEG and WebP lose a little, as they are made to. In .npy the channels come last.

    Raises:
        UserError: the ending is not known, or such a file cannot hold these values.
    """
    kind = require_holds(path, stored)
    planes = stored.permute(1, 2, 0).cpu().numpy()
    with replacing(path) as temporary:
        _write_pixels(temporary, kind, planes[:, :, 0] if len(stored) == 1 else planes)


def _write_pixels(path: Path, kind: str, pixels: NDArray[Any]) -> None:
    """Write pixels (H, W) or (H, W, C) in a format that holds them."""
    if kind == "npy":
        with path.open("wb") as file:  # numpy would add an ending
            np.save(file, np.ascontiguousarray(pixels))
    elif kind == "png":
        path.write_bytes(png.encode_pixels(pixels))
    elif kind == "tif" and not _is_written_by_pillow(pixels):
        write_tiff(path, pixels)
    else:
        Image.fromarray(pixels).save(path, **_PILLOW_OPTIONS[kind])


def _is_written_by_pillow(pixels: NDArray[Any]) -> bool:
    """Tell whether Pillow can write a TIFF file of pixels: of one channel, or 8-bit RGB or RGBA."""
    return pixels.ndim == 2 or (pixels.dtype == np.uint8 and pixels.shape[2] in (3, 4))


class ImageWriter:
    """Write images in a few threads (by default one for each core), which do not hold up Python.

    A bounded number of images waits. At the end of a `with` block all are on the disk. A block
    that ends with an error or Ctrl-C leaves out those that wait still; what is being written is
    finished, so that every file is whole. Inside the block `writer_in_use` returns it.
    """

    def __init__(self, threads: int | None = None) -> None:
        threads = threads or min(MOST_THREADS, usable_cores())
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="images")
        self._most = threads * (1 + WAITING_PER_THREAD)
        self._handed_over: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        _in_use.append(self)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        _in_use.remove(self)
        self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            for writing in self._handed_over:
                writing.result()

    def write(
        self, image_numpy: NDArray[Any], image_path: str | Path, aspect_ratio: float = 1.0
    ) -> None:
        """Write an image as `util.save_image` does, and make its folder; waits if many wait.

        The array must not change any more.

        Raises:
            OSError: an earlier image could not be written.
        """
        self._begin(image_path, lambda: save_image(image_numpy, image_path, aspect_ratio))

    def write_stored(self, path: str | Path, stored: Tensor) -> None:
        """Write stored values as the function `write_stored` does, otherwise like `write`."""
        self._begin(path, lambda: write_stored(path, stored))

    def _begin(self, path: str | Path, write: Callable[[], None]) -> None:
        waiting = self._handed_over
        while waiting and (waiting[0].done() or len(waiting) == self._most):
            waiting.popleft().result()
        waiting.append(self._pool.submit(_write, Path(path), write))


def _write(path: Path, write: Callable[[], None]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except OSError as error:  # a full disk's names no file
        why = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, why, str(path)) from error


_in_use: list[ImageWriter] = []  # the writers of the `with` blocks that run


@contextmanager
def writer_in_use() -> Iterator[ImageWriter]:
    """Lend the writer of the block around; without one a new one, which ends with this block."""
    if _in_use:
        yield _in_use[-1]
        return
    with ImageWriter() as own:
        yield own
