"""Between what people have (files, Pillow's images, arrays, tensors) and what networks take."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from util.images import transforms as T
from util.images.ranges import to_network
from util.images.reading import default_loader, upright_rgb

OF_PILLOW = (1, 3, 4)  # channels that its images can have


class Opened(NamedTuple):
    """An image, or a tensor of several, on its way through a network.

    Attributes:
        images: (N, C, H, W) in [-1, 1].
        back: turns what the network makes of them into what was given.
        name: of the file, on which random numbers depend; empty if it is none.
    """

    images: Tensor
    back: Callable[[Tensor], Any]
    name: str = ""


def open_image(x: Any, channels: int, load_size: int, *, round_sides: bool) -> Opened:
    """Open a path, or take an image, an array or a tensor.

    Args:
        x: see `Generator.translate`.
        channels: how many the network takes; 1 makes colours grey, as test.py does.
        load_size: the side of the square to which images are resized; 0 leaves them as they are.
        round_sides: resize to multiples of 4, as test.py does with `--preprocess none`.

    Raises:
        UserError: a file that is no image.
        TypeError, ValueError: no image either.
    """
    prepare = partial(_prepared, _steps(channels, load_size, round_sides=round_sides))
    match x:
        case str() | Path():
            return Opened(prepare(default_loader(x)), _as_image, Path(x).name)
        case Image.Image():
            return Opened(prepare(upright_rgb(x)), _as_image)
        case np.ndarray():
            array = _checked(x)
            back = partial(_as_array, flat=x.ndim == 2)
            return Opened(prepare(Image.fromarray(array).convert("RGB")), back)
        case Tensor():
            return _of_tensor(x)
    raise TypeError(
        f"{type(x).__name__} is no image: give a path, a Pillow image, an array (H, W, C) or a "
        "tensor (C, H, W) or (N, C, H, W), or a list or generator of these."
    )


def _steps(channels: int, load_size: int, *, round_sides: bool) -> T.Compose:
    """Return the transform that test.py has for one image."""
    steps: list[Callable[[Any], Any]] = [T.Grayscale()] if channels == 1 else []
    if load_size:
        steps.append(T.Resize(load_size, load_size))
    elif round_sides:
        steps.append(T.RoundSides(4))
    return T.Compose([*steps, T.ToTensor(), T.Normalize()])


def _prepared(steps: T.Compose, image: Image.Image) -> Tensor:
    tensor: Tensor = steps(image)
    return tensor[None]


def _checked(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as Pillow takes it."""
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not array.size:
        raise ValueError(
            f"An array of shape {array.shape} and type {array.dtype} is no image: give (H, W) or "
            "(H, W, C) of uint8, 0 to 255."
        )
    if array.ndim == 3 and array.shape[2] not in OF_PILLOW:
        raise ValueError(
            f"An array of shape {array.shape} has {array.shape[2]} channels in its last dimension. "
            "Images are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); give others as tensors."
        )
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _of_tensor(x: Tensor) -> Opened:
    """Take stored values (integers), or those of networks (floating point, in [-1, 1])."""
    if x.dim() not in (3, 4) or not x.numel():
        raise ValueError(
            f"A tensor of shape {tuple(x.shape)} is no image: give (C, H, W) or (N, C, H, W)."
        )
    is_float = x.is_floating_point()
    images = x.float() if is_float else to_network(x)

    def back(made: Tensor) -> Tensor:
        values = made.to(x.device, x.dtype) if is_float else _stored(made).to(x.device)
        return values if x.dim() == 4 else values[0]

    return Opened(images if x.dim() == 4 else images[None], back)


def _stored(made: Tensor) -> Tensor:
    """Return the values that files hold, uint8: truncated, as by `tensor2im`."""
    return ((made.float() + 1) * 127.5).to(torch.uint8)


def _as_array(made: Tensor, *, flat: bool) -> NDArray[Any]:
    """Return (H, W, C), or (H, W) if that is what came `flat` and there is one channel."""
    array: NDArray[Any] = _stored(made[0]).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(array[:, :, 0] if flat and array.shape[2] == 1 else array)


def _as_image(made: Tensor) -> Image.Image | NDArray[Any]:
    """Return a Pillow image, or an array where there is none of so many channels."""
    array = _as_array(made, flat=True)
    return Image.fromarray(array) if array.ndim == 2 or array.shape[2] in OF_PILLOW else array
