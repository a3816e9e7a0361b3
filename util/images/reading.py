"""Open image files, the right way up: as 8-bit RGB, or at their own depth; errors name the file."""

import logging
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from util.base.errors import UserError
from util.images import arrays, deep
from util.images.pixels import (
    AnyImage,
    is_pillow_kind,
    stored_values,
    to_pillow,
    with_channels,
)

LOWER_CASE = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff")  # of the reference
_PILLOW = r"PIL\."  # the modules whose warnings nobody needs
_UPRIGHT = {  # by how a camera was held (deep.ORIENTATION): what undoes that
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_DEEP_MODES = ("I", "F")  # how Pillow's names of more than 8 bits begin
_DEPTHS = {"I;16": torch.uint16, "I": torch.int32, "F": torch.float32}
_PLAIN = {
    "1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB",
    "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB",
}  # fmt: skip


KNOWN_ENDINGS = (*LOWER_CASE, ".webp")


class FileInMemory(BytesIO):
    """The bytes of an image file that lies inside another one; messages show its name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name

    def __str__(self) -> str:
        return self.name


def has_known_ending(filename: str) -> bool:
    """Tell whether a file name ends like an image that is read here, in whatever case."""
    return filename.lower().endswith(KNOWN_ENDINGS)


def default_loader(path: deep.File) -> Image.Image:
    """Open an image as 8-bit RGB, the right way up.

    Cameras store turned images with a note (EXIF orientation), which is followed here. Of an
    animation the first image counts; values of more than 8 bits are cut off at 255.

    Raises:
        UserError: the file is missing, broken or no image.
    """
    with errors_naming(path), _opened(path) as image:
        return _as_rgb(image)


def read_image(path: deep.File, channels: int | None = None) -> AnyImage:
    """Open an image at the depth that it has, with so many channels, whatever its ending says.

    What holds 8 bits is a Pillow image if 1 or 3 channels are wanted: RGB, as `default_loader`
    opens it, or L made of that. All else is a tensor of stored values (channels, H, W): uint8,
    uint16, int32 or float32. As many pages of a TIFF file as channels are wanted are the channels.
    None takes the channels that there are, and 8 bits as RGB.

    Raises:
        UserError: the file is missing, broken, no image, or of other channels (see
            `with_channels`).
    """
    with errors_naming(path):
        beginning = _beginning_of(path)
        if beginning.startswith(arrays.BEGINNINGS):
            return _on_its_way(arrays.read_array(path, channels))
        try:
            image = _opened(path)
        except UnidentifiedImageError:
            if not beginning.startswith(deep.TIFF_BEGINNINGS):
                raise
            (width, height), _ = deep.size_and_type(path)
            require_usual_size(path, width * height)
            stored, has_alpha = deep.read_tiff(path, channels or 1)
            return _on_its_way(with_channels(stored, channels, has_alpha=has_alpha))
        with image:
            return _read_opened(image, path, channels)


def _read_opened(image: Image.Image, path: deep.File, channels: int | None) -> AnyImage:
    if deep.is_cut_off(image, channels or 3):
        stored, has_alpha = deep.read_whole(path, image)
        return _on_its_way(with_channels(stored, channels, has_alpha=has_alpha))
    is_paged = image.format == "TIFF" and 1 < (channels or 1) == getattr(image, "n_frames", 1)
    if is_paged and len(image.getbands()) == 1 and image.mode != "P":
        pages = [
            _at_its_depth(_upright(page), kind="TIFF") for page in deep.pages_as_channels(image)
        ]
        return _on_its_way(torch.cat(pages))
    return as_it_is(image, channels)


def as_it_is(image: Image.Image, channels: int | None = None) -> AnyImage:
    """Return a Pillow image, the right way up, with as many channels as `read_image` gives.

    One that is open, but not decoded yet, is read at the depth of its file.

    Raises:
        UserError: it has others; the message is to follow the image's name.
    """
    if deep.is_cut_off(image, channels or 3) and (file := deep.undecoded_file(image)):
        with Image.open(file) as anew:
            return _read_opened(anew, file, channels)
    if not image.mode.startswith(_DEEP_MODES) and channels in (1, 3, None):
        rgb = _as_rgb(image)
        return rgb.convert("L") if channels == 1 else rgb
    stored = _at_its_depth(_plain(_upright(image), channels), kind=str(image.format))
    has_alpha = stored.shape[0] in (2, 4) and image.mode != "CMYK"
    return _on_its_way(with_channels(stored, channels, has_alpha=has_alpha))


class Look(NamedTuple):
    """What the beginning of a file tells, of those that Pillow does not open."""

    kind: str  # NumPy or TIFF
    size: tuple[int, int]  # width, height
    dtype: torch.dtype  # of what is stored


def look_without_pillow(path: deep.File) -> Look | None:
    """Look into a file of an array, or a TIFF file that Pillow does not know; None: it is none.

    Raises:
        UserError: it is broken, or holds no image.
    """
    beginning = _beginning_of(path)
    if beginning.startswith(arrays.BEGINNINGS):
        with errors_naming(path):
            size, dtype = arrays.size_and_type(path)
            return Look("NumPy", size, _torch_type(dtype))
    if not beginning.startswith(deep.TIFF_BEGINNINGS):
        return None
    with errors_naming(path):
        try:
            Image.open(path).close()
        except UnidentifiedImageError:
            size, dtype = deep.size_and_type(path)
            return Look("TIFF", size, _torch_type(dtype))
    return None


def depth_of(path: deep.File) -> torch.dtype:
    """Return the type that `read_image` would store a file's values in, after a look at its header.

    It is uint8 for whatever is no such file.
    """
    try:
        with errors_naming(path):
            if (found := look_without_pillow(path)) is not None:
                return found.dtype
            with _opened(path) as image:
                if deep.is_cut_off(image):
                    return torch.uint16
                return _DEPTHS.get(_deep_mode(image.mode, str(image.format)), torch.uint8)
    except UserError:
        return torch.uint8


@contextmanager
def errors_naming(path: deep.File) -> Iterator[None]:
    """Let whatever goes wrong with a file inside be a UserError that names it."""
    silence_pillow()
    try:
        # Whoever opens a pipe waits for its other end.
        if not (isinstance(path, BytesIO) or stat.S_ISREG(os.stat(path).st_mode)):
            raise UserError("is no file, but a folder, pipe or device. Remove it.")
        yield
    except MemoryError:
        raise
    except UserError as error:
        said = str(error)
        raise UserError(f"{path}{' ' if said[0].islower() else ': '}{said}") from error
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except UnidentifiedImageError:
        what = "is not an image, or its format is unknown. Remove it or convert it to PNG."
        raise UserError(f"{path} {what}") from None
    except Exception as error:  # a damaged file makes Pillow raise all kinds
        why = f"cannot be read: {str(error) or type(error).__name__}"
        raise UserError(
            f"{path} {why}. Replace the file or remove it from the data set."
        ) from error


def allow_large_images() -> None:
    """Open images of any number of pixels from now on, in this process."""
    Image.MAX_IMAGE_PIXELS = None


def require_usual_size(path: deep.File, pixels: int) -> None:
    """Raise a UserError if Pillow would not open an image of so many pixels."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > 2 * limit:
        raise _too_large(path)


def _too_large(path: deep.File) -> UserError:
    return UserError(
        f"{path} has more than 179 million pixels, which is refused since a small file can claim "
        "to be a huge image. If you trust it: test.py and scripts/translate.py open it with "
        "--large_pictures. For training, cut it into smaller images."
    )


def _beginning_of(path: deep.File) -> bytes:
    if isinstance(path, BytesIO):
        return bytes(path.getbuffer()[:8])
    with open(path, "rb") as file:
        return file.read(8)


def _on_its_way(stored: Tensor) -> AnyImage:
    return to_pillow(stored) if is_pillow_kind(stored.dtype, stored.shape[0]) else stored


def _at_its_depth(image: Image.Image, kind: str) -> Tensor:
    """Return stored values; Pillow's mode I holds the 16 bits of some kinds of files."""
    stored = stored_values(image)
    return stored.to(_DEPTHS.get(_deep_mode(image.mode, kind), stored.dtype))


def _deep_mode(mode: str, kind: str) -> str:
    is_16_bit = mode.startswith("I;16") or (mode == "I" and kind in ("PNG", "PPM"))
    return "I;16" if is_16_bit else mode


def _plain(image: Image.Image, channels: int | None) -> Image.Image:
    """Return an image of 8 bits in a mode whose channels mean something by themselves."""
    if image.mode == "P" or (image.mode == "RGB" and channels == 4):  # perhaps transparent
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert(_PLAIN[image.mode]) if image.mode in _PLAIN else image


def _torch_type(dtype: type) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype


def _opened(path: deep.File) -> Image.Image:
    image = Image.open(path)
    if image.format == "EPS":  # a program, which Pillow would hand to Ghostscript
        image.close()
        raise UserError("is PostScript. Convert it to PNG.")
    if deep.is_turned(image):
        vars(image)["filename"] = ""  # else Pillow maps rows into memory as if they were upright
    return image


def _as_rgb(image: Image.Image) -> Image.Image:
    """Return an image that is open as 8-bit RGB, turned as its EXIF orientation says."""
    upright = _upright(image)
    return upright if upright.mode == "RGB" else upright.convert("RGB")  # copies always


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says.

    `ImageOps.exif_transpose` also writes the EXIF data anew, which fails for some sound images.
    """
    image.load()  # in PNG the EXIF data may stand behind the pixels
    turn = _UPRIGHT.get(image.getexif().get(deep.ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def silence_pillow() -> None:
    """Let nobody be told about odd EXIF data, transparent palettes and large images.

    They can all be read, or else are an error. One filter for good, not `catch_warnings` around
    each image: that makes Python forget which warnings of others it has shown already.
    """
    if all(getattr(module, "pattern", "") != _PILLOW for _, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW)
        logging.getLogger("PIL").addHandler(logging.NullHandler())
