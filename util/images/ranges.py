"""Between the values that files store and those that networks take: the one place that knows both.

Stored values are tensors of uint8, uint16, int32 or float32; their type is the depth. Metrics work
on the unit range, [0, 1], networks on [-1, 1]. Which stored values are black and white there is
said by a ValueRange, or by `usual_range`: of 8 bits 0 and WHITE.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from util.base.errors import UserError

WHITE = 255  # the largest stored value
MEAN = STD = 0.5  # what brings the unit range to [-1, 1]
MOST_CUT_OFF = 0.001  # of a file's values: so many may lie outside a range without a word
ONE_LEVEL = 2 / WHITE  # the least difference that can be stored, in [-1, 1]


class ValueRange(NamedTuple):
    """The stored values that networks see as -1 and 1; what lies outside is cut off."""

    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> "ValueRange":
        """Read `LO,HI`.

        Raises:
            ValueError: these are not two finite numbers, of which the second one is larger.
        """
        low, high = map(float, text.split(","))
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"{text} is no range: LO must be below HI.")
        return cls(low, high)

    def __str__(self) -> str:
        return ",".join(repr(int(end) if end == int(end) else end) for end in self)


def ranges_in_and_out(texts: Sequence[str] | None) -> tuple[ValueRange | None, ValueRange | None]:
    """Return the ranges of what goes in and of what comes out, by `--value_range`.

    One range is that of both; None is the usual one.

    Raises:
        ValueError: a text is no range.
    """
    if not texts:
        return None, None
    return ValueRange.parse(texts[0]), ValueRange.parse(texts[-1])


def usual_range(dtype: torch.dtype) -> ValueRange:
    """Return the range of values of a type where nobody says otherwise.

    Raises:
        TypeError: there is none: 32-bit integers may be anything.
    """
    if dtype.is_floating_point:
        return ValueRange(0.0, 1.0)
    if dtype not in (torch.uint8, torch.uint16):
        raise TypeError(f"Nobody has said which values of {dtype} are black and white.")
    return ValueRange(0.0, float(torch.iinfo(dtype).max))


def clipped_part(stored: Tensor, value_range: ValueRange | None) -> float:
    """Return which part of the values of a file a range cuts off, from 0 to 1.

    Raises:
        UserError: some are not finite, or need a range that is not given; the message is to follow
            the file's name.
    """
    if value_range is None and stored.dtype in (torch.uint8, torch.uint16):
        return 0.0
    values = stored.numpy()  # torch cannot compare uint16
    least, most = float(values.min()), float(values.max())
    if not (math.isfinite(least) and math.isfinite(most)):
        raise UserError("It holds values that are not finite. Replace them.")
    if value_range is None and (not stored.is_floating_point() or least < 0 or most > 1):
        kind = "Values of floating point" if stored.is_floating_point() else "Integers of 32 bits"
        usual = "are taken as from 0 to 1" if stored.is_floating_point() else "have no usual range"
        raise UserError(
            f"{kind} {usual}, but these are from {least:g} to {most:g}. Say with --value_range "
            "LO,HI of train.py (or test.py) which values the network shall see as -1 and 1; "
            "--value_range auto finds out when training."
        )
    if value_range is None or (least >= value_range.low and most <= value_range.high):
        return 0.0
    return float(((values < value_range.low) | (values > value_range.high)).mean())


def depth_of_results(
    source: torch.dtype, going_in: ValueRange | None, coming_out: ValueRange | None
) -> torch.dtype:
    """Return a type for what was made of stored values of the type `source`.

    It is the same type, if values of the range that comes out fit in it as well as those that go
    in; else a wider one.
    """
    if going_in == coming_out or source.is_floating_point:
        return source
    low, high = coming_out or usual_range(source)
    in_steps = low == int(low) and high == int(high) and high - low >= WHITE
    for dtype in (torch.uint8, torch.uint16, torch.int32) if in_steps else ():
        holds = torch.iinfo(dtype)
        if holds.bits >= torch.iinfo(source).bits and holds.min <= low and high <= holds.max:
            return dtype
    return torch.float32


def to_unit(stored: Tensor, value_range: ValueRange | None = None) -> Tensor:
    """Bring stored values to float32 in [0, 1], in a new tensor; what lies outside is cut off.

    Without a range, floating point values are in [0, 1] already, and handed back.

    Raises:
        TypeError: nobody has said what is white in values of this type.
    """
    if value_range is None and stored.is_floating_point():
        return stored
    low, high = value_range or usual_range(stored.dtype)
    values = stored.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    if value_range is None:
        return values.div_(high)
    return values.sub_(low).div_(high - low).clamp_(0, 1)


def from_unit(images: Tensor) -> Tensor:
    """Bring images from [0, 1] to what is stored; truncated, not rounded."""
    return (images * WHITE).to(torch.uint8)


def to_network(stored: Tensor, value_range: ValueRange | None = None) -> Tensor:
    """Bring what `to_unit` takes to [-1, 1], in a new tensor: `(to_unit(stored) - MEAN) / STD`."""
    if value_range is not None or stored.dtype != torch.uint8:
        return (to_unit(stored, value_range) - MEAN) / STD
    values = stored.to(torch.float32, memory_format=torch.contiguous_format)
    return values.div_(WHITE / 2).sub_(1)  # the same bits for each of the 256, in less time


def to_stored(images: Tensor, dtype: torch.dtype, value_range: ValueRange | None = None) -> Tensor:
    """Bring images from [-1, 1] to stored values of a type, on the CPU: undo `to_network`.

    Integers are rounded (`tensor2im` truncates). What lies outside [-1, 1] is cut off.
    """
    low, high = value_range or usual_range(dtype)
    values = images.detach().cpu().double().add(1).div_(2).clamp_(0, 1).mul_(high - low).add_(low)
    if not dtype.is_floating_point:
        values = values.round_().clamp_(torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    return values.to(dtype)


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


def for_display(image: NDArray[Any]) -> NDArray[Any]:
    """Return gray and RGB as they are, and of any other number of channels what is `shown`."""
    return image if image.ndim != 3 or image.shape[2] in (1, 3) else shown(image)


def storable(image: NDArray[Any]) -> NDArray[Any]:
    """Return what an image file holds of an array (H, W, C) or (H, W).

    Gray, RGB and RGBA are stored as they are; of any other number of channels, what is `shown`.
    """
    if image.ndim == 3 and image.shape[2] == 1:
        return image[:, :, 0]
    return image if image.ndim != 3 or image.shape[2] in (3, 4) else shown(image)
