"""The same pixels as Pillow image, array or tensor of stored values, and their channels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from util.base.errors import UserError

AnyImage = Image.Image | Tensor

# What is stored of numbers of these kinds and sizes (bytes); all other integers need 32 bits.
_STORED: Mapping[str, type] = {"b1": np.uint8, "u1": np.uint8, "u2": np.uint16}
# Of red, green and blue, in parts of 65536: ITU-R BT.601-2, as Pillow makes L of RGB.
_LUMINANCE = (19595, 38470, 7471)


def is_pillow_kind(dtype: Any, channels: int) -> bool:
    """Tell whether such images are Pillow's on their way: they take the path of the reference."""
    return dtype in (torch.uint8, np.uint8) and channels in (1, 3)


def stored_values(image: AnyImage) -> Tensor:
    """Return the values that an image stores as a tensor (C, H, W), their type unchanged."""
    if isinstance(image, Tensor):
        return image
    if image.mode == "1":  # black and white, of which an array would hold 0 and 1
        image = image.convert("L")
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    return torch.from_numpy(pixels.astype(pixels.dtype.newbyteorder("="), order="C"))


def to_pillow(stored: Tensor) -> Image.Image:
    """Return a Pillow image of stored values (C, H, W)."""
    pixels = stored.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def stored_type(dtype: np.dtype[Any]) -> type:
    """Return the type that numbers of an array are stored in here.

    Raises:
        UserError: they are no numbers that an image may have.
    """
    if dtype.kind not in "biuf":
        raise UserError(f"It holds values of the type {dtype}, not numbers.")
    if dtype.kind == "f":
        return np.float32
    return _STORED.get(f"{dtype.kind}{dtype.itemsize}", np.int32)


def stored_of_array(array: NDArray[Any]) -> Tensor:
    """Return an array of numbers as a tensor of stored values: uint8, uint16, int32 or float32.

    Truth values become black and white.

    Raises:
        UserError: they are no numbers, or too large ones.
    """
    wanted = stored_type(array.dtype)
    if array.dtype.kind == "b":
        return torch.from_numpy(array.astype(np.uint8) * 255)
    if wanted is np.int32 and array.dtype.itemsize >= 4:
        least, most = int(array.min()), int(array.max())
        if least < np.iinfo(np.int32).min or most > np.iinfo(np.int32).max:
            raise UserError(f"It holds numbers from {least} to {most}: too large. Use float32.")
    return torch.from_numpy(array.astype(wanted, order="C"))


def with_channels(stored: Tensor, channels: int | None, *, has_alpha: bool = False) -> Tensor:
    """Return an image (C, H, W) with the wanted number of channels.

    Transparency, the last channel if `has_alpha`, is dropped where it is not wanted; gray is
    repeated for three channels, and of three channels the luminance is taken for one. None leaves
    all as they are.

    Raises:
        UserError: it cannot be said what the channels would be; the message is to follow the
            file's name.
    """
    if channels in (None, stored.shape[0]):
        return stored
    if has_alpha:
        stored = stored[:-1]
    match stored.shape[0], channels:
        case had, wanted if had == wanted:
            return stored
        case 1, 3:
            return stored.expand(3, -1, -1).contiguous()
        case 3, 1:
            return luminance(stored)
    has = len(stored) + has_alpha
    raise UserError(
        f"It has {has} channel{'s' * (has != 1)}, but {channels} are wanted. Give --input_nc "
        f"{len(stored)} (or --output_nc, if it is of the images that come out)."
    )


def luminance(stored: Tensor) -> Tensor:
    """Return the brightness (1, H, W) of stored red, green and blue, as Pillow computes it."""
    whole = not stored.is_floating_point()
    planes = stored.to(torch.int64 if whole else torch.float64)
    weighted = sum(plane * weight for plane, weight in zip(planes, _LUMINANCE, strict=True))
    assert isinstance(weighted, Tensor)
    found = (weighted + 2**15) >> 16 if whole else weighted / 2**16
    return found[None].to(stored.dtype)
