"""Find picture files below a folder, and open them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError
from torch.utils.data import Dataset

from util.errors import UserError

_LOWER_CASE = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff")
_OF_REFERENCE = _LOWER_CASE + tuple(ending.upper() for ending in _LOWER_CASE)
IMG_EXTENSIONS = [*_OF_REFERENCE, ".webp", ".WEBP"]

# How files of these formats begin: JPEG, PNG, BMP, TIFF, PPM and its kin, WebP (and other RIFF).
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6", b"RIFF")


def is_image_file(filename: str) -> bool:
    """Tell whether a file name ends like a picture's, in whatever case."""
    return filename.lower().endswith((*_LOWER_CASE, ".webp"))


def make_dataset(dir: str | Path, max_dataset_size: float = float("inf")) -> list[str]:
    """List the pictures below a folder, sorted by path, cut to the first `max_dataset_size`.

    Files and folders whose name starts with a dot are left out (macOS puts `._x.png` files beside
    its pictures); the folder itself may have such a name.

    Raises:
        UserError: no such folder.
    """
    if not os.path.isdir(dir):
        raise UserError(f"{dir} is not a valid directory. Check --dataroot and --phase.")
    images = sorted(_pictures_below(str(dir)))
    return images[: int(min(len(images), max_dataset_size))]


def _pictures_below(folder: str) -> Iterator[str]:
    """Walk without following linked folders, as the reference does: a loop of links ends there."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if is_image_file(name) and not entry.is_dir():
                if name.endswith(_OF_REFERENCE) or _begins_like_a_picture(entry.path):
                    yield os.path.join(folder, name)
            elif entry.is_dir(follow_symlinks=False):
                yield from _pictures_below(entry.path)


def _begins_like_a_picture(path: str) -> bool:
    """Look into files that the reference passes over (`.Png`, `.webp`).

    Whoever has such a file that is no picture must be able to train here as there.
    """
    try:
        with open(path, "rb") as file:
            return file.read(4).startswith(_SIGNATURES)
    except OSError:  # a link to nowhere, a file that may not be read: as in the reference
        return False


def default_loader(path: str | Path) -> Image.Image:
    """Open a picture as 8-bit RGB, the right way up.

    Cameras store turned pictures with a note (EXIF orientation), which is followed here.

    Raises:
        UserError: the file is missing, broken or no picture.
    """
    try:
        with Image.open(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return image.convert("RGB")
    except UnidentifiedImageError:
        raise UserError(
            f"{path} is not a picture, or its format is unknown. Remove it or convert it to PNG."
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path} cannot be read: {error}. Replace the file or remove it from the data set."
        ) from error


class ImageFolder(Dataset[Any]):
    """All pictures below a folder.

    Raises:
        UserError: there are none.
    """

    def __init__(
        self,
        root: str | Path,
        transform: Callable[[Image.Image], Any] | None = None,
        return_paths: bool = False,
        loader: Callable[[str], Image.Image] = default_loader,
    ) -> None:
        self.root = root
        self.imgs = make_dataset(root)
        if not self.imgs:
            raise UserError(
                f"Found 0 images in {root}. Supported endings: {', '.join(_LOWER_CASE)}"
            )
        self.transform = transform
        self.return_paths = return_paths
        self.loader = loader

    def __getitem__(self, index: int) -> Any:
        """Return the picture, transformed; with `return_paths` a pair of it and its path."""
        path = self.imgs[index]
        image: Any = self.loader(path)
        if self.transform is not None:
            image = self.transform(image)
        return (image, path) if self.return_paths else image

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.imgs)
