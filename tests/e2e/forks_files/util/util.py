"""A fork's own helpers under the original's names."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image


def tensor2im(input_image: Any, imtype: type = np.uint8) -> Any:
    """Turn the first image of a batch into an array; this fork shows negatives."""
    if isinstance(input_image, torch.Tensor):
        planes = input_image.detach()[0].float().cpu().numpy()
        shown = (1 - (planes.transpose(1, 2, 0) + 1) / 2) * 255
        return (
            np.repeat(shown, 3, 2).astype(imtype) if shown.shape[2] == 1 else shown.astype(imtype)
        )
    return input_image


def save_image(image_numpy: Any, image_path: str, aspect_ratio: float = 1.0) -> None:
    """Write an image."""
    image = Image.fromarray(image_numpy)
    width, height = image.size
    image.resize((int(width * aspect_ratio), height)).save(image_path)


def diagnose_network(net: Any, name: str = "network") -> None:
    """Do nothing."""


def print_numpy(x: Any, val: bool = True, shp: bool = False) -> None:
    """Do nothing."""


def mkdirs(paths: str | Iterable[str]) -> None:
    """Create folders."""
    for path in [paths] if isinstance(paths, str) else paths:
        mkdir(path)


def mkdir(path: str) -> None:
    """Create a folder."""
    os.makedirs(path, exist_ok=True)
