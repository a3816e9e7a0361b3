"""Files of more than 8 bits that Pillow would cut off, or does not know: colour PNG, TIFF, PPM."""

import logging
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from util.base.errors import UserError
from util.images.pixels import stored_of_array, stored_type

File = str | Path | BytesIO
TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two of files above 4 GB
ORIENTATION = 274  # the tag, of TIFF and EXIF, that says how the image is turned
_BITS = 258  # the tag that says how many bits each channel has
_SAMPLES = 277  # the tag that says how many channels there are
ALPHA = (1, 2)  # of the kinds of extra samples in TIFF
# By the orientation: whether rows and columns change places, then what is mirrored.
_UPRIGHT = {
    2: (False, (2,)), 3: (False, (1, 2)), 4: (False, (1,)), 5: (True, ()),
    6: (True, (2,)), 7: (True, (1, 2)), 8: (True, (1,)),
}  # fmt: skip


class Planes(NamedTuple):
    """What a file holds."""

    stored: Tensor  # (C, H, W)
    has_alpha: bool  # the last channel is transparency


def is_cut_off(image: Image.Image, channels: int = 3) -> bool:
    """Tell whether Pillow, which has opened a file, would cut 16 bits of several channels to 8.

    Or leave out channels, where these are wanted.
    """
    tags = getattr(image, "tag_v2", {})
    if channels not in (1, 3) and tags.get(_SAMPLES, 1) > len(image.getbands()):
        return True
    if len(image.getbands()) == 1:
        return False
    match image.format, _undecoded(image):
        case "PNG", [(_, _, _, str() as how)]:
            return ";16" in how
        case "PPM", [("ppm", _, _, (_, int() as most))]:
            return most > 255
        case "TIFF", _:
            return max(tags.get(_BITS, (8,))) > 8
    return False


def is_turned(image: Image.Image) -> bool:
    """Tell whether a TIFF file that Pillow has opened stores rows where columns are to be seen."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(ORIENTATION) in (5, 6, 7, 8)


def _undecoded(image: Image.Image) -> list[Any]:
    """Return how Pillow will decode an image: (codec, place, offset in the file, parameters)."""
    return list(getattr(image, "tile", ()))


def undecoded_file(image: Image.Image) -> BytesIO | None:
    """Return the bytes of the file of an image that Pillow has not decoded yet; None if it has."""
    file = getattr(image, "fp", None)
    if file is None or not _undecoded(image):
        return None
    file.seek(0)
    return BytesIO(file.read())


def read_whole(path: File, image: Image.Image) -> Planes:
    """Return what is in a file of which `is_cut_off` is true."""
    match image.format:
        case "PNG":
            return _png(path, image)
        case "TIFF":
            return read_tiff(path)
    _, _, offset, (_, most) = _undecoded(image)[0]
    data = path.getvalue() if isinstance(path, BytesIO) else Path(path).read_bytes()
    values = np.frombuffer(data, ">u2", 3 * image.width * image.height, offset)
    pixels = values.reshape(image.height, image.width, 3).transpose(2, 0, 1)
    return Planes(stored_of_array(np.rint(pixels * (65535 / most)).astype(np.uint16)), False)


def _png(path: File, image: Image.Image) -> Planes:
    """Read all 16 bits: Pillow takes one byte of each two, of which it is told the order.

    Gray with alpha has four bytes a pixel, as RGBA of 8 bits.
    """
    [(codec, place, offset, how)] = _undecoded(image)
    if how.startswith("LA"):
        pairs = _decoded_as(image, [(codec, place, offset, "RGBA")])
        high, low = pairs[:, :, ::2], pairs[:, :, 1::2]
    else:
        with Image.open(path) as again:
            low = _decoded_as(again, [(codec, place, offset, how.replace(";16B", ";16L"))])
        high = np.asarray(image)
    values = (high.astype(np.uint16) << 8 | low).transpose(2, 0, 1)
    turned = _upright(values, image.getexif().get(ORIENTATION, 1))
    return Planes(stored_of_array(turned), len(values) in (2, 4))


def _decoded_as(image: Image.Image, tiles: list[Any]) -> NDArray[np.uint8]:
    vars(image)["tile"] = tiles
    image.load()
    return np.asarray(image)


def read_tiff(path: File, channels: int = 0) -> Planes:
    """Return the first page of a TIFF file, or all pages as channels if there are so many.

    Raises:
        UserError: tifffile is not installed, or the page is no image.
    """
    with _opened_tiff(path) as file:
        pages = file.pages
        first = pages[0]
        kinds = {(page.shape, page.axes) for page in pages} if len(pages) == channels else set()
        if channels > 1 and kinds == {(first.shape, "YX")}:
            array = np.stack([page.asarray() for page in pages])
        else:
            array = _channels_first(first.asarray(), first.axes)
        orientation = first.tags.get(ORIENTATION)
        turned = _upright(array, 1 if orientation is None else int(orientation.value))
        has_alpha = bool(first.extrasamples) and first.extrasamples[-1] in ALPHA
    return Planes(stored_of_array(turned), has_alpha)


def _opened_tiff(path: File) -> Any:
    if isinstance(path, BytesIO):
        path.seek(0)
    return import_tifffile().TiffFile(path, offset=0)


def size_and_type(path: File) -> tuple[tuple[int, int], type]:
    """Return width and height of a TIFF file's first page, and the type that is stored of it."""
    with _opened_tiff(path) as file:
        page = file.pages[0]
        return (page.imagewidth, page.imagelength), stored_type(np.dtype(page.dtype))


def write_tiff(path: str | Path, pixels: NDArray[Any]) -> None:
    """Write (H, W, C) of any type that is stored; three channels are red, green and blue.

    Raises:
        UserError: tifffile is not installed.
    """
    kind = "rgb" if pixels.shape[2] == 3 else "minisblack"
    import_tifffile().imwrite(path, pixels, photometric=kind, planarconfig="contig")


def pages_as_channels(image: Image.Image) -> Sequence[Image.Image]:
    """Return the pages of a TIFF file that Pillow has opened, all of one size and of one mode.

    Raises:
        UserError: they are not.
    """
    pages = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        pages.append(image.copy())
    if len({(page.size, page.mode) for page in pages}) > 1:
        raise UserError("Its pages are of different sizes or kinds. Keep one channel in each.")
    return pages


def _channels_first(array: NDArray[Any], axes: str) -> NDArray[Any]:
    match axes:
        case "YX":
            return array[None]
        case "YXS":
            return array.transpose(2, 0, 1)
        case "SYX":
            return array
    raise UserError(f"Its first page is no image: its axes are {axes}.")


def _upright(planes: NDArray[Any], orientation: int) -> NDArray[Any]:
    turns, mirrored = _UPRIGHT.get(orientation, (False, ()))
    return np.flip(planes.swapaxes(1, 2) if turns else planes, mirrored)


def import_tifffile() -> ModuleType:
    """Return tifffile; a UserError says that it is not installed."""
    try:
        import tifffile
    except ImportError:
        raise UserError(
            "This kind of TIFF (several channels of more than 8 bits, say) needs the package "
            "tifffile: python -m pip install tifffile."
        ) from None
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # errors are ours to tell
    module: ModuleType = tifffile
    return module
