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

from util.base.errors import about
from util.images import transforms as T
from util.images.pixels import (
    AnyImage,
    is_pillow_kind,
    stored_of_array,
    stored_values,
    to_pillow,
    with_channels,
)
from util.images.ranges import (
    ValueRange,
    clipped_part,
    depth_of_results,
    tensor2im,
    to_network,
    to_stored,
)
from util.images.reading import as_it_is, read_image

OF_PILLOW = (1, 3, 4)  # channels that its images can have; of more than 8 bits only one


class Opened(NamedTuple):
    """An image, or a tensor of several, on its way through a network.

    Attributes:
        images: (N, C, H, W) in [-1, 1].
        back: turns what the network makes of them into what was given.
        name: of the file, on which random numbers depend; empty if it is none.
        cut_off: which part of its values is outside of what the network was trained for.
    """

    images: Tensor
    back: Callable[[Tensor], Any]
    name: str = ""
    cut_off: float = 0.0


class ImageOpener(NamedTuple):
    """Bring whatever is an image to a network, exactly as test.py would.

    Attributes:
        channels: how many the network takes; 1 makes colours grey.
        load_size: the side of the square to which images are resized; 0 leaves them as they are.
        round_sides: resize to multiples of 4, as test.py does with `--preprocess none`.
        ranges: which stored values are -1 and 1 of what goes in, and of what comes out.
    """

    channels: int
    load_size: int = 0
    round_sides: bool = False
    ranges: tuple[ValueRange | None, ValueRange | None] = (None, None)

    def open(self, x: Any) -> Opened:
        """Open a path, or take an image, an array or a tensor; see `Generator.translate`.

        Raises:
            UserError: a file that is no image, or one of other channels or values.
            TypeError, ValueError: no image either.
        """
        match x:
            case str() | Path():
                return _then(self.open_file(x), _as_image)
            case Image.Image():
                name = Path(getattr(x, "filename", None) or "").name  # of a file that was opened
                opened = self._prepared(as_it_is(x, self.channels))._replace(name=name)
                return _then(opened, _as_image)
            case np.ndarray():
                image = _of_array(x, self.channels)
                back = partial(_as_array, flat=x.ndim == 2, like=x.dtype)
                return _then(self._prepared(image), back)
            case Tensor():
                return self._of_tensor(x)
        raise TypeError(
            f"{type(x).__name__} is no image: give a path, a Pillow image, an array (H, W, C) or "
            "a tensor (C, H, W) or (N, C, H, W), or a list or generator of these."
        )

    def open_file(self, path: str | Path, name: str | None = None) -> Opened:
        """Open a file; what comes back are stored values (C, H, W)."""
        image = read_image(path, self.channels)
        with about(path):
            opened = self._prepared(image)
        return opened._replace(name=Path(path).name if name is None else name)

    def _prepared(self, image: AnyImage) -> Opened:
        """Transform an image; what comes back are stored values (C, H, W)."""
        going_in, _ = self.ranges
        depth = image.dtype if isinstance(image, Tensor) else torch.uint8
        needs_look = isinstance(image, Tensor) or going_in is not None
        cut_off = clipped_part(stored_values(image), going_in) if needs_look else 0.0
        steps = T.Compose([*self._steps(), T.ToTensor(going_in), T.Normalize()])
        return Opened(steps(image)[None], partial(self.stored, depth), cut_off=cut_off)

    def _steps(self) -> list[T.Step]:
        if self.load_size:
            return [T.Resize(self.load_size, self.load_size)]
        return [T.RoundSides(4)] if self.round_sides else []

    def _of_tensor(self, x: Tensor) -> Opened:
        """Take stored values (integers), or those of networks (floating point, in [-1, 1])."""
        if x.dim() not in (3, 4) or not x.numel():
            raise ValueError(
                f"A tensor of shape {tuple(x.shape)} is no image: give (C, H, W) or (N, C, H, W)."
            )
        is_float = x.is_floating_point()
        images = x.detach().float() if is_float else to_network(x, self.ranges[0])

        def back(made: Tensor) -> Tensor:
            if is_float:
                values = made.to(x.device, x.dtype)
            else:
                values = torch.stack([self.stored(x.dtype, one[None]) for one in made])
            return values if x.dim() == 4 else values[0]

        return Opened(images if x.dim() == 4 else images[None], back)

    def stored(self, depth: torch.dtype, made: Tensor) -> Tensor:
        """Return what test.py stores of what was made, (1, C, H, W), of an image of this depth."""
        going_in, coming_out = self.ranges
        depth = depth_of_results(depth, going_in, coming_out)
        if depth == torch.uint8 and coming_out is None:  # truncated, as by the reference
            levels = torch.from_numpy(tensor2im(made)).permute(2, 0, 1)
            return levels[: made.shape[1]]
        return to_stored(made[0], depth, coming_out)


def _then(opened: Opened, convert: Callable[[Tensor], Any]) -> Opened:
    """Convert the stored values that come back."""
    return opened._replace(back=lambda made: convert(opened.back(made)))


def _of_array(array: NDArray[Any], channels: int) -> AnyImage:
    """Take (H, W) or (H, W, C) of stored values."""
    if array.ndim not in (2, 3) or not array.size:
        raise ValueError(
            f"An array of shape {array.shape} is no image: give (H, W) or (H, W, C), and others "
            "as tensors."
        )
    stored = stored_of_array(np.atleast_3d(array).transpose(2, 0, 1))
    is_rgba = stored.dtype == torch.uint8 and stored.shape[0] in (2, 4)
    stored = with_channels(stored, channels, has_alpha=is_rgba)
    return to_pillow(stored) if is_pillow_kind(stored.dtype, stored.shape[0]) else stored


def _as_array(stored: Tensor, *, flat: bool, like: np.dtype[Any] | None = None) -> NDArray[Any]:
    """Return (H, W, C), or (H, W) if that is what came `flat` and there is one channel.

    Floating point is of the type that came, `like`.
    """
    array: NDArray[Any] = stored.permute(1, 2, 0).numpy()
    if like is not None and like.kind == array.dtype.kind == "f":
        array = array.astype(like, copy=False)
    return np.ascontiguousarray(array[:, :, 0] if flat and array.shape[2] == 1 else array)


def _as_image(stored: Tensor) -> Image.Image | NDArray[Any]:
    """Return a Pillow image, or an array where there is none of such values."""
    array = _as_array(stored, flat=True)
    is_pillows = len(stored) in OF_PILLOW and (len(stored) == 1 or stored.dtype == torch.uint8)
    return Image.fromarray(array) if is_pillows else array
