"""Shards for tests: tar files of given names and bytes."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def tar_bytes(files: Mapping[str, bytes]) -> bytes:
    """Return a tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def png(value: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """Return an image of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(buffer, "png")
    return buffer.getvalue()


def array(value: float) -> bytes:
    """Return a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.full((8, 8), value, np.float32))
    return buffer.getvalue()


def numbered(first: int, count: int) -> bytes:
    """Return a shard of images whose colour is their number."""
    return tar_bytes({f"{n:03d}.png": png(n) for n in range(first, first + count)})


def write(path: Path, content: bytes) -> Path:
    """Write a file, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
