"""Images as numpy keeps them: .npy and .npz files, (H, W), (H, W, C) or (C, H, W)."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from util.base.errors import UserError
from util.images.pixels import stored_of_array, stored_type, with_channels

ARRAYS = (".npy", ".npz")  # endings
BEGINNINGS = (b"\x93NUMPY", b"PK\x03\x04")  # of .npy, and of a .npz, which is a ZIP archive
USUAL_NAMES = ("image", "arr_0")  # of the array in an archive of several


def read_array(path: str | Path | BytesIO, channels: int | None) -> Tensor:
    """Return an array as stored values (channels, H, W).

    Of three axes the last one is the channels if it is as long as wanted, else the first one; with
    None, the shorter one of these two.

    Raises:
        UserError: it is no array of an image; the message is to follow the file's name.
    """
    array = _of_image(path)
    if channels is None and array.ndim == 3:
        channels = min(array.shape[2], array.shape[0])
    planes = array[None] if array.ndim == 2 else channels_first(array, channels or 1)
    return with_channels(stored_of_array(planes), channels)


def size_and_type(path: str | Path | BytesIO) -> tuple[tuple[int, int], type]:
    """Return width and height of an array, and the type that is stored of its values.

    Raises:
        UserError: it is no array of an image.
    """
    array = _of_image(path)
    is_first = array.ndim == 3 and array.shape[0] < array.shape[2]  # the channels are
    height, width = array.shape[1:] if is_first else array.shape[:2]
    return (width, height), stored_type(array.dtype)


def _of_image(path: str | Path | BytesIO) -> NDArray[Any]:
    array = open_array(path)
    if array.size == 0 or array.ndim not in (2, 3):
        raise UserError(f"It has the shape {array.shape}; images are (H, W), (H, W, C), (C, H, W).")
    return array


def open_array(path: str | Path | BytesIO) -> NDArray[Any]:
    """Return the array of a file; its values are read when they are used, where that is possible.

    Raises:
        UserError: it is an archive of several arrays, none of which is called as an image may be.
    """
    if isinstance(path, BytesIO):
        path.seek(0)
        found = np.load(path, allow_pickle=False)
        return found if isinstance(found, np.ndarray) else _image_in(found)
    with open(path, "rb") as file:
        if file.read(4) == BEGINNINGS[0][:4]:
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            return array
        file.seek(0)  # numpy leaves a broken archive open that it has opened itself
        with np.load(file, allow_pickle=False) as archive:
            return _image_in(archive)


def _image_in(archive: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    names = list(archive)
    chosen = names if len(names) == 1 else [name for name in USUAL_NAMES if name in names]
    if not chosen:
        listed = ", ".join(names) or "nothing"
        raise UserError(f"It holds {listed}. Keep one array, or call one of them image.")
    return archive[chosen[0]]


def channels_first(array: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return an array of three axes as (C, H, W), by which of them may be the channels.

    Raises:
        UserError: neither the first nor the last one may be.
    """
    for wanted in (channels, *({1: (3,), 3: (1,)}.get(channels, ()))):  # gray and colour
        if array.shape[2] == wanted:
            return array.transpose(2, 0, 1)
        if array.shape[0] == wanted:
            return array
    raise UserError(
        f"It has the shape {array.shape}, of which neither the last nor the first number is "
        f"{channels}, the number of channels that is wanted (--input_nc, --output_nc)."
    )
