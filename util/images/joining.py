"""Two images side by side in one file, as `--dataset_mode aligned` reads them."""

from pathlib import Path
from typing import Any

from PIL import Image

from util.images.writing import write_image

# Of JPEG files; pix2pix learns from colours, so they keep their full resolution.
BEST: dict[str, Any] = {"quality": 95, "subsampling": 0}


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
