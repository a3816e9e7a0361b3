"""Which part of an image a layer needs to compute a part of its result.

Everything here is exact: a layer that is given the box it asks for computes, inside the box that is
wanted, what it computes of the whole image. Only at the image's own border does it pad.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.architectures.fast.convolutions import Conv2d, ConvTranspose2d
from models.architectures.layers import Identity, ReflectionPad2d


class Span(NamedTuple):
    """Pixels from `low` to before `high` in one direction."""

    low: int
    high: int

    def grown(self, margin: int, length: int) -> "Span":
        """Return the span with more pixels on both sides, as far as there are any."""
        return Span(max(self.low - margin, 0), min(self.high + margin, length))

    def within(self, other: "Span") -> slice:
        """Return where this span lies in what begins where the other one does."""
        return slice(self.low - other.low, self.high - other.low)


class Box(NamedTuple):
    """A rectangle of pixels; also a size, if it begins at 0."""

    rows: Span
    columns: Span

    @classmethod
    def whole(cls, height: int, width: int) -> "Box":
        """Return the box of a whole image."""
        return cls(Span(0, height), Span(0, width))

    def pixels(self) -> int:
        """Return how many pixels there are in it."""
        return (self.rows.high - self.rows.low) * (self.columns.high - self.columns.low)

    def grown(self, margin: int, size: "Box") -> "Box":
        """Return the box with more pixels around it, as far as there are any."""
        pairs = zip(self, size, strict=True)
        return Box(*(span.grown(margin, length.high) for span, length in pairs))

    def cut_from(self, x: Tensor, other: "Box") -> Tensor:
        """Return this box of a tensor (N, C, H, W) that holds the other one."""
        rows, columns = (a.within(b) for a, b in zip(self, other, strict=True))
        return x[:, :, rows, columns]

    def tiles(self, side: int) -> Iterator[list["Box"]]:
        """Yield the tiles of each row of tiles, from top to bottom."""
        for rows in _cut(self.rows, side):
            yield [Box(rows, columns) for columns in _cut(self.columns, side)]


def _cut(span: Span, side: int) -> list[Span]:
    return [Span(low, min(low + side, span.high)) for low in range(span.low, span.high, side)]


class Step:
    """A layer, or what stands for it, as it is computed in tiles; here one that sees no neighbours.

    `length` stands for the height or width of what goes in.
    """

    def __init__(self, layer: Callable[[Tensor], Tensor]) -> None:
        self.layer = layer

    def length_made(self, length: int) -> int:
        """Return the height or width of what comes out."""
        return length

    def needed(self, wanted: Span, length: int) -> Span:
        """Return what must go in for this part of what comes out."""
        return wanted

    def compute(self, x: Tensor, has: Box, wanted: Box, size: Box) -> Tensor:
        """Return the wanted box of the result, of the box that is `needed` for it.

        `size` is that of the whole image that goes in.
        """
        return self.layer(x)

    def box_needed(self, wanted: Box, size: Box) -> Box:
        """Return what must go in, in both directions."""
        pairs = zip(wanted, size, strict=True)
        return Box(*(self.needed(span, length.high) for span, length in pairs))

    def size_made(self, size: Box) -> Box:
        """Return the size of what comes out."""
        return Box.whole(*(self.length_made(length.high) for length in size))


class _Padding(Step):
    """Padding by pixels of the image itself: each row and column is one that exists."""

    def __init__(self, layer: nn.ReflectionPad2d | nn.ReplicationPad2d) -> None:
        super().__init__(layer)
        self.padding = layer.padding[0]  # all four are equal
        self.reflects = isinstance(layer, nn.ReflectionPad2d)

    def length_made(self, length: int) -> int:
        return length + 2 * self.padding

    def needed(self, wanted: Span, length: int) -> Span:
        places = self._places(wanted, length)
        return Span(int(places.min()), int(places.max()) + 1)

    def compute(self, x: Tensor, has: Box, wanted: Box, size: Box) -> Tensor:
        for dim, span, given, length in zip((2, 3), wanted, has, size, strict=True):
            places = self._places(span, length.high) - given.low
            if not torch.equal(places, torch.arange(x.shape[dim])):  # at the image's border
                x = x.index_select(dim, places.to(x.device))
        return x

    def _places(self, wanted: Span, length: int) -> Tensor:
        places, last = torch.arange(*wanted) - self.padding, length - 1
        return last - (last - places.abs()).abs() if self.reflects else places.clamp(0, last)


class _Convolution(Step):
    """A convolution, whose zeros around what it is given are right at the image's border only."""

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__(layer)
        self.kernel, self.stride = layer.kernel_size[0], layer.stride[0]
        self.padding, self.more = int(layer.padding[0]), layer.output_padding[0]

    def length_made(self, length: int) -> int:
        return (length + 2 * self.padding - self.kernel) // self.stride + 1

    def needed(self, wanted: Span, length: int) -> Span:
        first = wanted.low * self.stride - self.padding
        end = (wanted.high - 1) * self.stride - self.padding + self.kernel
        # It moves by `stride` pixels from where it begins, so that must be a multiple.
        return Span(max(first // self.stride * self.stride, 0), min(end, length))

    def place_made(self, place: int) -> int:
        """Return where that which is made of an image begins whose first pixel is this one."""
        return place // self.stride

    def compute(self, x: Tensor, has: Box, wanted: Box, size: Box) -> Tensor:
        made = self.layer(x)
        begins = (self.place_made(span.low) for span in has)
        sides = zip(begins, made.shape[2:], strict=True)
        return wanted.cut_from(made, Box(*(Span(low, low + length) for low, length in sides)))


class _TransposedConvolution(_Convolution):
    """A convolution that enlarges."""

    def length_made(self, length: int) -> int:
        return (length - 1) * self.stride - 2 * self.padding + self.kernel + self.more

    def needed(self, wanted: Span, length: int) -> Span:
        first = -((self.kernel - 1 - self.padding - wanted.low) // self.stride)  # rounded up
        last = (wanted.high - 1 + self.padding) // self.stride
        return Span(max(first, 0), min(last + 1, length))

    def place_made(self, place: int) -> int:
        return place * self.stride


# How each kind of layer is computed in tiles; norms, and blocks, need more than a step.
STEPS: dict[type[nn.Module], Callable[..., Step]] = {
    **dict.fromkeys((nn.ReLU, nn.Tanh, Identity), Step),
    **dict.fromkeys((ReflectionPad2d, nn.ReplicationPad2d), _Padding),
    **dict.fromkeys((Conv2d, nn.Conv2d), _Convolution),
    ConvTranspose2d: _TransposedConvolution,
}
