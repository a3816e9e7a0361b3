"""Files that are whole or not there: written under a temporary name, then renamed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success rename it, on failure remove it.

    The temporary name keeps the suffix, since Pillow chooses the format by it.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.tmp-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file, flush it to the disk and rename it to `path`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: str | Path, text: str) -> None:
    """Write a text file as UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_image(path: str | Path, image: Image.Image) -> None:
    """Write a picture; the suffix of `path` decides the format."""
    with replacing(path) as temporary:
        image.save(temporary)
