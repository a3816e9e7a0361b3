"""Image files that are larger than memory should hold: read in parts, written in strips."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from util.images import deep, png
from util.images.pixels import stored_of_array, stored_values, with_channels
from util.images.reading import errors_naming, read_image, require_usual_size
from util.images.writing import require_holds, write_stored
from util.storage.files import replacing

ROWS = 512  # of a part of what has been read whole
DEPTHS = {"uint8": torch.uint8, "uint16": torch.uint16, "float32": torch.float32}  # numpy's names


class Part(NamedTuple):
    """Some pixels of an image, and where they begin."""

    top: int
    left: int
    stored: Tensor  # (C, rows, columns)


class LargeImage(NamedTuple):
    """An image file whose parts are read one after the other."""

    shape: tuple[int, int, int]  # (C, H, W)
    depth: torch.dtype
    parts: Iterator[Part]


def open_in_parts(path: str | Path, channels: int) -> LargeImage:
    """Open an image file of so many channels; what is stored is what `read_image` returns.

    TIFF files are read by their own strips or tiles, if tifffile is installed and nothing about
    them is unusual. All else is decoded whole.

    Raises:
        UserError: as `read_image`.
    """
    with errors_naming(path):
        image = _tiff_in_parts(path, channels)
    if image is not None:
        return image
    stored = stored_values(read_image(path, channels))
    parts = (Part(top, 0, stored[:, top : top + ROWS]) for top in range(0, stored.shape[1], ROWS))
    return LargeImage((channels, stored.shape[1], stored.shape[2]), stored.dtype, parts)


def _tiff_in_parts(path: str | Path, channels: int) -> LargeImage | None:
    """Open a TIFF file; None if it is none, or has to be read whole."""
    with open(path, "rb") as beginning:
        if beginning.read(4) not in deep.TIFF_BEGINNINGS or find_spec("tifffile") is None:
            return None
    with deep.import_tifffile().TiffFile(path) as file:
        page = file.pages[0]
        turned, dtype = page.tags.get(deep.ORIENTATION), str(page.dtype)
        is_plain = page.photometric.name in ("MINISBLACK", "RGB") and page.axes in ("YX", "YXS")
        are_channels = 1 < channels == len(file.pages)
        if not is_plain or are_channels or dtype not in DEPTHS or (turned and turned.value != 1):
            return None
        shape = channels, int(page.imagelength), int(page.imagewidth)
    require_usual_size(path, shape[1] * shape[2])
    return LargeImage(shape, DEPTHS[dtype], _parts_of_tiff(path, shape))


def _parts_of_tiff(path: str | Path, shape: tuple[int, int, int]) -> Iterator[Part]:
    channels, height, width = shape
    with errors_naming(path), deep.import_tifffile().TiffFile(path) as file:
        page = file.pages[0]
        has_alpha = bool(page.extrasamples) and page.extrasamples[-1] in deep.ALPHA
        for values, (_, _, top, left, _), _ in page.segments():
            pixels = values[0, : height - top, : width - left]  # tiles may reach beyond the image
            stored = stored_of_array(pixels.transpose(2, 0, 1))
            yield Part(top, left, with_channels(stored, channels, has_alpha=has_alpha))


def write_strips(
    path: str | Path, strips: Iterable[Tensor], shape: tuple[int, int, int], depth: torch.dtype
) -> None:
    """Write an image (C, H, W) that comes in strips (C, rows, W), equally high but the last one.

    PNG, .npy and, with tifffile, TIFF are written strip by strip, others at the end.

    Raises:
        UserError: as `write_stored`.
    """
    channels, height, width = shape
    nothing = torch.empty((channels, 0, 0), dtype=depth)
    kind = require_holds(path, nothing)
    if kind not in ("png", "npy", "tif") or (kind == "tif" and find_spec("tifffile") is None):
        write_stored(path, torch.cat(list(strips), dim=1))
        return
    rows = (strip.permute(1, 2, 0).contiguous().numpy() for strip in strips)
    pixels = (height, width, channels)
    with replacing(path) as temporary:
        if kind == "tif":
            _write_tiff(temporary, rows, pixels, nothing.numpy().dtype)
        else:
            encode = png.encode_strips if kind == "png" else _npy
            with temporary.open("wb") as file:
                file.writelines(encode(rows, pixels, nothing.numpy().dtype))


Strips = Iterator[NDArray[Any]]  # (rows, W, C)


def _npy(strips: Strips, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Iterator[bytes]:
    lengths = shape[:2] if shape[2] == 1 else shape
    header = {"descr": dtype.str, "fortran_order": False, "shape": lengths}
    beginning = BytesIO()
    np.lib.format.write_array_header_1_0(beginning, header)
    yield beginning.getvalue()
    yield from (strip.tobytes() for strip in strips)


def _write_tiff(
    path: Path, strips: Strips, shape: tuple[int, int, int], dtype: np.dtype[Any]
) -> None:
    first = next(strips)
    channels = shape[2]
    several = {"planarconfig": "contig"} if channels > 1 else {}
    deep.import_tifffile().imwrite(
        path,
        (strip.tobytes() for strip in chain([first], strips)),
        shape=shape if channels > 1 else shape[:2],
        dtype=dtype,
        rowsperstrip=len(first),
        photometric="rgb" if channels == 3 else "minisblack",
        **several,
    )
