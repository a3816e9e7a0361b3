"""Between the values that files store and those that networks take: the one place that knows both.

Stored images are uint8, from 0 (black) to WHITE. Metrics work on the unit range, [0, 1], networks
on [-1, 1]. Whatever else may be stored one day begins here.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WHITE = 255  # the largest stored value
MEAN = STD = 0.5  # what brings the unit range to [-1, 1]
ONE_LEVEL = 2 / WHITE  # the least difference that can be stored, in [-1, 1]


def to_unit(stored: Tensor) -> Tensor:
    """Bring stored values to float32 in [0, 1]; floating point ones are there already.

    Raises:
        TypeError: nobody has said what is white in values of this type.
    """
    if stored.is_floating_point():
        return stored
    if stored.dtype != torch.uint8:
        raise TypeError(f"Images hold 8 bits or floating point values, but these {stored.dtype}.")
    return stored.to(torch.float32, memory_format=torch.contiguous_format).div_(WHITE)


def from_unit(images: Tensor) -> Tensor:
    """Bring images from [0, 1] to what is stored; truncated, not rounded."""
    return (images * WHITE).to(torch.uint8)


def to_network(stored: Tensor) -> Tensor:
    """Bring what `to_unit` takes to [-1, 1], in a new tensor: `(to_unit(stored) - MEAN) / STD`."""
    if stored.dtype != torch.uint8:
        return (to_unit(stored) - MEAN) / STD
    values = stored.to(torch.float32, memory_format=torch.contiguous_format)
    return values.div_(WHITE / 2).sub_(1)  # the same bits for each of the 256, in less time


def in_unit_range(images: Tensor) -> Tensor:
    """Bring images from [-1, 1] to float32 in [0, 1]; what lies outside is cut off."""
    return ((images.detach().float() + 1) / 2).clamp(0, 1)


def tensor2im(input_image: Any, imtype: type = np.uint8) -> Any:
    """Turn the first image of a batch into an array that can be saved.

    Values (N, C, H, W) in [-1, 1] become (H, W, C), one channel is repeated to three. They are
    truncated, not rounded, as in the reference: PNG files stay byte-equal. An array of stored
    values is only converted to `imtype`; anything else is handed back.
    """
    if isinstance(input_image, np.ndarray):
        return input_image.astype(imtype)
    if not isinstance(input_image, Tensor):
        return input_image
    levels = input_image.detach()[0].float().cpu().numpy() + np.float32(1)  # (C, H, W)
    levels *= np.float32(WHITE / 2)  # the same bits as dividing by 2 first, which is exact
    planes = list(levels.astype(imtype))
    return np.stack(planes * 3 if len(planes) == 1 else planes, axis=-1)  # faster than transposing


def three_channels(images: Tensor) -> Tensor:
    """Return (..., 3, H, W), what is shown of images (..., C, H, W) of any number of channels.

    One channel is taken three times, two get a third of zeros, of more the first three are taken.
    """
    first = images[..., :1, :, :]
    more = {1: [first, first], 2: [torch.zeros_like(first)]}.get(images.shape[-3], [])
    return torch.cat([images[..., :3, :, :], *more], dim=-3)


def shown(image: NDArray[Any]) -> NDArray[Any]:
    """Return what is shown of an array (H, W, C) or (H, W), see `three_channels`: (H, W, 3)."""
    planes = torch.from_numpy(np.atleast_3d(image)).permute(2, 0, 1)
    return three_channels(planes).permute(1, 2, 0).numpy()


def storable(image: NDArray[Any]) -> NDArray[Any]:
    """Return what an image file holds of an array (H, W, C) or (H, W).

    Gray, RGB and RGBA are stored as they are; of any other number of channels, what is `shown`.
    """
    if image.ndim == 3 and image.shape[2] == 1:
        return image[:, :, 0]
    return image if image.ndim != 3 or image.shape[2] in (3, 4) else shown(image)
