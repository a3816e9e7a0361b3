"""Write images: at once, or beside the work that makes the next ones."""

import errno
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray
from PIL import Image

from util.base.system import usable_cores
from util.images import png
from util.images.ranges import storable
from util.storage.files import replacing

MOST_THREADS = 16
WAITING_PER_THREAD = 4  # images


def write_image(path: str | Path, image: Image.Image, **options: Any) -> None:
    """Write an image; the suffix of `path` decides the format, whose `options` are Pillow's."""
    encoded = png.encode(image) if Path(path).suffix.lower() == ".png" else None
    with replacing(path) as temporary:
        if encoded is None:
            image.save(temporary, **options)
        else:
            temporary.write_bytes(encoded)


def as_pillow(image_numpy: NDArray[Any], aspect_ratio: float = 1.0) -> Image.Image:
    """Turn (H, W, C) or (H, W) uint8 into what is written of it, see `storable`.

    Above 1 the ratio widens it, below 1 it makes it taller.
    """
    image = Image.fromarray(storable(image_numpy))
    size = int(image.width * max(aspect_ratio, 1)), int(image.height / min(aspect_ratio, 1))
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def save_image(
    image_numpy: NDArray[Any], image_path: str | Path, aspect_ratio: float = 1.0
) -> None:
    """Write an image, (H, W, C) uint8; see `as_pillow`."""
    write_image(image_path, as_pillow(image_numpy, aspect_ratio))


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
        waiting = self._handed_over
        while waiting and (waiting[0].done() or len(waiting) == self._most):
            waiting.popleft().result()
        waiting.append(self._pool.submit(_write, image_numpy, Path(image_path), aspect_ratio))


def _write(image: NDArray[Any], path: Path, aspect_ratio: float) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(image, path, aspect_ratio)
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
