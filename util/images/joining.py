"""Two images side by side in one file, as `--dataset_mode aligned` reads them."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from util.base.errors import UserError
from util.images.reading import default_loader, depth_of
from util.images.writing import write_image

# Of JPEG files; pix2pix learns from colours, so they keep their full resolution.
BEST: dict[str, Any] = {"quality": 95, "subsampling": 0}


def open_side(path: str | Path) -> Image.Image:
    """Open an image to be joined, as 8-bit RGB.

    Raises:
        UserError: it has more than 8 bits, which joining would cut off, or cannot be read.
    """
    if depth_of(path) != torch.uint8:
        raise UserError(
            f"{path} has more than 8 bits, of which joined files keep 8. Leave the pairs in two "
            "folders: --dataset_mode aligned reads those at their depth."
        )
    return default_loader(path)


def join(left: Image.Image, right: Image.Image) -> Image.Image:
    """Return an RGB image with two of equal size beside each other."""
    both = Image.new("RGB", (left.width + right.width, left.height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both


def write_as(path: Path, image: Image.Image, **jpeg: Any) -> None:
    """Write an image, and make its folder; `jpeg` are Pillow's options for such files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    write_image(path, image, **(jpeg if is_jpeg else {}))
