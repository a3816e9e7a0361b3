"""Find image files below a folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image as Image
from torch.utils import data as data
from torch.utils.data import Dataset

from util.base.errors import UserError
from util.images.reading import LOWER_CASE as _LOWER_CASE
from util.images.reading import default_loader as default_loader

_OF_REFERENCE = _LOWER_CASE + tuple(ending.upper() for ending in _LOWER_CASE)
_OURS = (".webp", ".WEBP")
# Endings of images; who reads other files adds theirs. In other cases (.Png) they count as well.
IMG_EXTENSIONS = [*_OF_REFERENCE, *_OURS]

# How files of these formats begin: JPEG, PNG, BMP, TIFF, PPM and its kin, WebP (and other RIFF).
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6", b"RIFF")


def is_image_file(filename: str) -> bool:
    """Tell whether a file name ends like an image's, in whatever case."""
    return filename.lower().endswith(tuple(map(str.lower, IMG_EXTENSIONS)))


def make_dataset(dir: str | Path, max_dataset_size: float = float("inf")) -> list[str]:
    """List the images below a folder, sorted by path, cut to the first `max_dataset_size`.

    Files and folders whose name starts with a dot are left out (macOS puts `._x.png` files beside
    its images); the folder itself may have such a name.

    Raises:
        UserError: no such folder.
    """
    if not os.path.isdir(dir):
        raise UserError(f"{dir} is not a valid directory. Check --dataroot and --phase.")
    images: list[str] = []
    known = tuple(ending for ending in IMG_EXTENSIONS if ending not in _OURS)
    folders = [str(dir)]  # not recursive: folders can be nested deeper than Python's calls
    while folders:
        _look_into(folders.pop(), images, folders, known)
    images.sort()
    return images[: int(min(len(images), max_dataset_size))]


def _look_into(folder: str, images: list[str], folders: list[str], known: tuple[str, ...]) -> None:
    """Add the images and the folders inside a folder; linked ones may make a loop and stay out."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            try:  # no function around this: a million files may pass here
                leads_to_a_folder = entry.is_dir()
            except OSError:  # a link that leads to itself: listed as a file, as in the reference
                leads_to_a_folder = False
            if leads_to_a_folder:
                if not entry.is_symlink():
                    folders.append(entry.path)
            elif name.endswith(known) or (is_image_file(name) and _begins_like_an_image(entry)):
                images.append(entry.path)


def _begins_like_an_image(entry: os.DirEntry[str]) -> bool:
    """Look into files that the reference passes over (`.Png`, `.webp`), whatever they are."""
    try:
        if not entry.is_file():  # whoever opens a pipe waits for its other end
            return False
        with open(entry.path, "rb") as file:
            return file.read(4).startswith(_SIGNATURES)
    except OSError:  # a link to nowhere, a file that may not be read: as in the reference
        return False


class ImageFolder(Dataset[Any]):
    """All images below a folder; a UserError if there are none."""

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
            endings = ", ".join(_LOWER_CASE)
            raise UserError(f"Found 0 images in {root}. Supported endings: {endings}")
        self.transform = transform
        self.return_paths = return_paths
        self.loader = loader

    def __getitem__(self, index: int) -> Any:
        """Return the image, transformed; with `return_paths` a pair of it and its path."""
        path = self.imgs[index]
        image = self.loader(path)
        result = image if self.transform is None else self.transform(image)
        return (result, path) if self.return_paths else result

    def __len__(self) -> int:
        return len(self.imgs)
