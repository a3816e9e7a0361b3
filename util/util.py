"""Small helpers that plugins and forks import by these names."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from util.base.log import say
from util.storage.files import write_image


def tensor2im(input_image: Any, imtype: type = np.uint8) -> Any:
    """Turn the first image of a batch into an array that can be saved.

    Values are truncated, not rounded, as in the reference: PNG files stay byte-equal.

    Shapes:
        input_image: tensor (N, C, H, W) in [-1, 1]; an array (H, W, C) in [0, 255] is only
            converted to `imtype`; anything else is handed back
        result: (H, W, C), one channel is repeated to three
    """
    if isinstance(input_image, np.ndarray):
        return input_image.astype(imtype)
    if not isinstance(input_image, torch.Tensor):
        return input_image
    levels = input_image.detach()[0].float().cpu().numpy() + np.float32(1)  # (C, H, W)
    levels *= np.float32(255 / 2)  # the same bits as dividing by 2 first, which is exact
    planes: NDArray[Any] = levels.astype(imtype)
    if planes.shape[0] == 1:
        return np.repeat(planes[0, :, :, None], 3, axis=2)
    image = np.empty((*planes.shape[1:], planes.shape[0]), planes.dtype)
    for channel, plane in enumerate(planes):  # much faster than transposing
        image[:, :, channel] = plane
    return image


def save_image(
    image_numpy: NDArray[Any], image_path: str | Path, aspect_ratio: float = 1.0
) -> None:
    """Write an image, stretched so that its sides are in the wanted ratio.

    Shapes:
        image_numpy: (H, W, C) uint8
    An `aspect_ratio` above 1 widens the image, one below 1 makes it taller.
    """
    image = Image.fromarray(image_numpy)
    size = stretched(image.size, aspect_ratio)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    write_image(image_path, image)


def stretched(size: tuple[int, int], aspect_ratio: float) -> tuple[int, int]:
    """Return the width and height that `save_image` gives to an image."""
    width, height = size
    if aspect_ratio > 1.0:
        return int(width * aspect_ratio), height
    if aspect_ratio < 1.0:
        return width, int(height / aspect_ratio)
    return size


def diagnose_network(net: nn.Module, name: str = "network") -> None:
    """Print the mean absolute gradient over a network's parameters."""
    means = [p.grad.abs().mean() for p in net.parameters() if p.grad is not None]
    say(name)
    say(str(float(torch.stack(means).mean()) if means else 0.0))


def print_numpy(x: NDArray[Any], val: bool = True, shp: bool = False) -> None:
    """Print the statistics of an array, its shape if `shp`, its values' if `val`."""
    x = x.astype(np.float64)
    if shp:
        say(f"shape, {x.shape}")
    if val:
        say(
            f"mean = {x.mean():3.3f}, min = {x.min():3.3f}, max = {x.max():3.3f}, "
            f"median = {np.median(x):3.3f}, std={x.std():3.3f}"
        )


def mkdirs(paths: str | Path | Iterable[str | Path]) -> None:
    """Create one folder or several, with their parents, unless they exist."""
    for path in [paths] if isinstance(paths, str | Path) else paths:
        os.makedirs(path, exist_ok=True)


def mkdir(path: str | Path) -> None:
    """Create a folder, with its parents, unless it exists."""
    mkdirs(path)
