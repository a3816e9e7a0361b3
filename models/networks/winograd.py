"""3x3 convolutions on the CPU with a quarter of the multiplications: Winograd's minimal filtering.

Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4: F(4x4, 3x3).
Every patch of 6x6 numbers gives a tile of 4x4 results. Patch and kernel are read as polynomials,
and evaluated at six points in each direction: 36 values. Products of values belong to the product
of the polynomials, which is the convolution; so the 16 results are found from 36 products instead
of 144. For all tiles and channels these are 36 products of matrices.

The points decide how much rounding matters. The usual ones (0, 1, -1, 2, -2 and infinity) double
float32's error; those chosen here keep it near that of a direct convolution with as many channels.

Tensors between the steps have a row for each of the 36 values (16 results, 9 weights); behind that
come tiles and channels, the latter next to each other in memory.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.networks.conditions import layout_of

TILE, KERNEL = 4, 3
PATCH = TILE + KERNEL - 1
POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)  # and infinity
# Below these numbers the transforms cost more than they save.
FEWEST_CHANNELS = 128  # of input and output
FEWEST_TILES = 64
MOST_TILES = 512  # at once: larger pictures are taken in strips, for the sake of memory and caches


def pays(x: Tensor, weight: Tensor) -> bool:
    """Tell whether this is faster than the convolution itself, of stride 1 and one group.

    Args:
        x: pictures, (N, C, H, W).
        weight: (channels out, channels in, height, width).
    """
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    is_large = min(weight.shape[:2]) >= FEWEST_CHANNELS and pixels >= FEWEST_TILES * TILE * TILE
    return is_large and weight.shape[2:] == (KERNEL, KERNEL)


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve pictures, without padding; what comes out is in the layout of what went in.

    Shapes:
        x: (N, C, H, W)
        weight: (D, C, 3, 3)
        output: (N, D, H - 2, W - 2)
    """
    tiles_beside = x.shape[0] * -(-x.shape[3] // TILE)
    rows = max(MOST_TILES // tiles_beside, 1) * TILE
    tops = range(0, x.shape[2] - KERNEL + 1, rows)
    if len(tops) == 1:
        return _Winograd.apply(x, weight)
    layout = layout_of(x)
    strips = (x[:, :, top : top + rows + KERNEL - 1] for top in tops)
    made = [_Winograd.apply(strip.contiguous(memory_format=layout), weight) for strip in strips]
    return torch.cat(made, dim=2).contiguous(memory_format=layout)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        tiles = _Tiles(x)
        values = torch.bmm(tiles.values_of_input(x), _values_of_weights(weight))
        return tiles.results(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient of this gradient is wanted too
            settings = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1, [*ctx.needs_input_grad, False])
            backward = torch.ops.aten.convolution_backward
            return backward(gradient, x, weight, None, *settings)[:2]
        # The transposes of the steps forward, in reverse order.
        tiles = _Tiles(x)
        of_values = tiles.values_of_gradient(gradient)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_inputs = torch.bmm(of_values, _values_of_weights(weight).mT)
            of_x = tiles.gradient_of_input(of_inputs)
        if ctx.needs_input_grad[1]:
            of_weights = torch.bmm(tiles.values_of_input(x).mT, of_values)
            of_weight = _gradient_of_weights(of_weights)
        return of_x, of_weight


class _Transforms(NamedTuple):
    """Matrices for both directions of a picture at once."""

    inputs: Tensor  # (36, 36): values of a patch
    weights: Tensor  # (36, 9): values of a kernel
    outputs: Tensor  # (16, 36): results from values


@functools.cache
def _transforms(dtype: torch.dtype) -> _Transforms:
    """Build the matrices (of Toom and Cook), which Lavin and Gray call B', G and A'."""
    points = np.array(POINTS)
    values = np.vander(points, PATCH, increasing=True)
    at_infinity = np.eye(PATCH)[-1]
    outputs = np.vstack([values[:, :TILE], at_infinity[-TILE:]]).T
    others = [np.delete(points, i) for i in range(len(points))]
    scales = [np.prod(point - rest) for point, rest in zip(points, others, strict=True)]
    weights = np.vstack([values[:, :KERNEL] / np.array(scales)[:, None], at_infinity[-KERNEL:]])
    roots = [*others, points]  # of the polynomials whose coefficients are the rows
    rows = [np.pad(np.poly(each)[::-1], (0, PATCH - 1 - len(each))) for each in roots]
    matrices = (np.vstack(rows), weights, outputs)
    with torch.inference_mode(mode=False):  # they are kept for training too
        return _Transforms(*(torch.from_numpy(np.kron(each, each)).to(dtype) for each in matrices))


def _values_of_weights(weight: Tensor) -> Tensor:
    """Return the kernels' values, (36, C, D)."""
    out, into = weight.shape[:2]
    flat = weight.permute(2, 3, 1, 0).reshape(KERNEL * KERNEL, into * out)
    return (_transforms(weight.dtype).weights @ flat).view(-1, into, out)


def _gradient_of_weights(values: Tensor) -> Tensor:
    """Return (D, C, 3, 3) from the gradients of the kernels' values, (36, C, D)."""
    _, into, out = values.shape
    flat = _transforms(values.dtype).weights.T @ values.reshape(len(values), -1)
    return flat.view(KERNEL, KERNEL, into, out).permute(3, 2, 0, 1).contiguous()


class _Tiles:
    """The tiles of one batch of pictures; at the right and at the bottom they may reach beyond."""

    def __init__(self, x: Tensor) -> None:
        self.layout = layout_of(x)
        self.count, _, self.height, self.width = x.shape
        self.down = -(-(self.height - KERNEL + 1) // TILE)
        self.right = -(-(self.width - KERNEL + 1) // TILE)

    def values_of_input(self, x: Tensor) -> Tensor:
        """Return the values of all patches, (36, tiles, C)."""
        whole = _as_rows(x, self.down * TILE + KERNEL - 1, self.right * TILE + KERNEL - 1)
        n, y, x_, c = whole.stride()
        channels = whole.shape[3]
        sizes = (PATCH, PATCH, self.count, self.down, self.right, channels)
        patches = whole.as_strided(sizes, (y, x_, n, TILE * y, TILE * x_, c))
        flat = patches.reshape(PATCH * PATCH, -1)
        return (_transforms(x.dtype).inputs @ flat).view(PATCH * PATCH, -1, channels)

    def gradient_of_input(self, values: Tensor) -> Tensor:
        """Return (N, C, H, W) from the gradients of the patches' values: overlaps are added."""
        channels = values.shape[2]
        flat = _transforms(values.dtype).inputs.T @ values.reshape(len(values), -1)
        patches = flat.view(PATCH, PATCH, self.count, self.down, self.right, channels)
        sizes = (self.count, self.down + 1, TILE, self.right + 1, TILE, channels)
        whole = flat.new_zeros(sizes)
        parts = ((0, slice(0, TILE)), (1, slice(TILE, PATCH)))  # of a patch: its tile, the next one
        for below, rows in parts:
            for beside, columns in parts:
                part = patches[rows, columns].permute(2, 3, 0, 4, 1, 5)
                high, wide = part.shape[2], part.shape[4]
                tiles = whole[:, below : below + self.down, :high]
                tiles[:, :, :, beside : beside + self.right, :wide] += part
        joined = whole.view(self.count, (self.down + 1) * TILE, (self.right + 1) * TILE, channels)
        return self._as_pictures(joined[:, : self.height, : self.width])

    def results(self, values: Tensor) -> Tensor:
        """Return (N, D, H - 2, W - 2) from the products of values, (36, tiles, D)."""
        channels = values.shape[2]
        flat = _transforms(values.dtype).outputs @ values.view(len(values), -1)
        tiles = flat.view(TILE, TILE, self.count, self.down, self.right, channels)
        sizes = (self.count, self.down * TILE, self.right * TILE, channels)
        joined = tiles.permute(2, 3, 0, 4, 1, 5).reshape(sizes)
        return self._as_pictures(joined[:, : self.height - KERNEL + 1, : self.width - KERNEL + 1])

    def values_of_gradient(self, gradient: Tensor) -> Tensor:
        """Return the gradients of the products, (36, tiles, D), from those of the results."""
        whole = _as_rows(gradient, self.down * TILE, self.right * TILE)
        channels = whole.shape[3]
        sizes = (self.count, self.down, TILE, self.right, TILE, channels)
        tiles = whole.view(sizes).permute(2, 4, 0, 1, 3, 5).reshape(TILE * TILE, -1)
        return (_transforms(gradient.dtype).outputs.T @ tiles).view(PATCH * PATCH, -1, channels)

    def _as_pictures(self, rows: Tensor) -> Tensor:
        return rows.permute(0, 3, 1, 2).contiguous(memory_format=self.layout)


def _as_rows(x: Tensor, height: int, width: int) -> Tensor:
    """Return pictures (N, C, H, W) as (N, height, width, C), with zeros below and beside."""
    rows = x.permute(0, 2, 3, 1)
    missing = (0, 0, 0, width - rows.shape[2], 0, height - rows.shape[1])
    return (F.pad(rows, missing) if any(missing) else rows).contiguous()
