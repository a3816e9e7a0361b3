"""Open image files: 8-bit RGB, the right way up, or an error that names the file."""

import logging
import os
import stat
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from util.base.errors import UserError

LOWER_CASE = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff")  # of the reference
_PILLOW = r"PIL\."  # the modules whose warnings nobody needs
_ORIENTATION = 274  # the EXIF tag that says how a camera was held; by its value, what undoes that
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def has_known_ending(filename: str) -> bool:
    """Tell whether a file name ends like an image that is read here, in whatever case."""
    return filename.lower().endswith((*LOWER_CASE, ".webp"))


def default_loader(path: str | Path) -> Image.Image:
    """Open an image as 8-bit RGB, the right way up.

    Cameras store turned images with a note (EXIF orientation), which is followed here. Of an
    animation the first image counts; values of more than 8 bits are cut off at 255.

    Raises:
        UserError: the file is missing, broken or no image.
    """
    silence_pillow()
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # whoever opens a pipe waits for its other end
            raise UserError(f"{path} is no file, but a folder, pipe or device. Remove it.")
        with Image.open(path) as image:
            if image.format == "EPS":  # a program, which Pillow would hand to Ghostscript
                raise UserError(f"{path} is PostScript. Convert it to PNG.")
            return upright_rgb(image)
    except (UserError, MemoryError):
        raise
    except UnidentifiedImageError:
        what = "is not an image, or its format is unknown. Remove it or convert it to PNG."
        raise UserError(f"{path} {what}") from None
    except Exception as error:  # a damaged file makes Pillow raise all kinds
        why = f"cannot be read: {str(error) or type(error).__name__}"
        raise UserError(
            f"{path} {why}. Replace the file or remove it from the data set."
        ) from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an image that is open as 8-bit RGB, turned as its EXIF orientation says."""
    upright = _upright(image)
    return upright if upright.mode == "RGB" else upright.convert("RGB")  # copies always


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says.

    `ImageOps.exif_transpose` also writes the EXIF data anew, which fails for some sound images.
    """
    image.load()  # in PNG the EXIF data may stand behind the pixels
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def silence_pillow() -> None:
    """Let nobody be told about odd EXIF data, transparent palettes and large images.

    They can all be read, or else are an error. One filter for good, not `catch_warnings` around
    each image: that makes Python forget which warnings of others it has shown already.
    """
    if all(getattr(module, "pattern", "") != _PILLOW for _, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW)
        logging.getLogger("PIL").addHandler(logging.NullHandler())
