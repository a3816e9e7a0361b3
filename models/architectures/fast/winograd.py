"""3x3 convolutions on the CPU with a quarter of the multiplications: Winograd's minimal filtering.

Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4: F(4x4, 3x3).
Every patch of 6x6 numbers gives a tile of 4x4 results. Patch and kernel are read as polynomials,
and evaluated at six points in each direction: 36 values. Products of values belong to the product
of the polynomials, which is the convolution: 36 products, of matrices for all tiles and channels,
instead of 144.

The points decide how much rounding matters. The usual ones (0, 1, -1, 2, -2 and infinity) double
float32's error; those chosen here keep it near that of a direct convolution. A number far larger
than all others disturbs the results of its whole patch.

Tensors between the steps have a row for each of the 36 values (16 results, 9 weights); behind that
come tiles and channels.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.architectures.fast.memory_format import layout_of

TILE, KERNEL = 4, 3
OVERLAP = KERNEL - 1  # a patch is so much larger than its tile
PATCH = TILE + OVERLAP
POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)  # and infinity
# Below these numbers the transforms cost more than they save.
FEWEST_CHANNELS = 128  # of input and output
FEWEST_TILES = 64
LEAST_USED = 0.7  # share of the tiles that lies inside the images
MOST_TILES = 128  # at once, or one row of them: few enough to be small beside what training keeps


def pays(x: Tensor, weight: Tensor, padding: tuple[int, int]) -> bool:
    """Tell whether this is faster than torch's, after so many zeros on both sides (H, W)."""
    if weight.shape[1:] != (x.shape[1], KERNEL, KERNEL):
        return False
    height, width = (x.shape[2 + i] + 2 * padding[i] - OVERLAP for i in range(2))
    if min(height, width, *padding) < 0 or min(weight.shape[:2]) < FEWEST_CHANNELS:
        return False
    tiles = x.shape[0] * _tiles(height) * _tiles(width)
    used = x.shape[0] * height * width
    return used > 0 and tiles >= FEWEST_TILES and used >= LEAST_USED * tiles * TILE * TILE


def convolve(x: Tensor, weight: Tensor, kernels: Tensor | None = None) -> Tensor:
    """Convolve images by a weight, (D, C, 3, 3), without padding.

    What comes out, (N, D, H - 2, W - 2), is in the layout of what went in, (N, C, H, W). Without
    gradients the weight's `values_of_kernels` can be given, to compute them once for many images.
    """
    return _Winograd.apply(x, weight) if kernels is None else _convolved(x, kernels)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolved(x, values_of_kernels(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient of this gradient is wanted too
            settings = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1, [*ctx.needs_input_grad, False])
            backward = torch.ops.aten.convolution_backward
            return backward(gradient, x, weight, None, *settings)[:2]
        with torch.autocast("cpu", enabled=False):
            return _gradients(gradient, x, weight, *ctx.needs_input_grad)


def _convolved(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve images by the values of kernels, (36, C, D)."""
    count, _, height, width = x.shape
    shape = (count, kernels.shape[2], height - OVERLAP, width - OVERLAP)
    made = torch.empty(shape, dtype=x.dtype, memory_format=layout_of(x))
    for strip in _strips(x):
        products = torch.bmm(strip.values_of_patches(x), kernels)
        made[:, :, strip.top : strip.bottom] = strip.results(products)
    return made


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, x_wanted: bool, weight_wanted: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of images and weight: the steps forward, transposed and reversed."""
    gradient_of_x = torch.zeros_like(x, memory_format=layout_of(x)) if x_wanted else None
    kernels = values_of_kernels(weight)
    gradient_of_kernels = torch.zeros_like(kernels) if weight_wanted else None
    for strip in _strips(x):
        of_products = strip.values_of_gradient(gradient)
        if gradient_of_x is not None:
            strip.add_patches(gradient_of_x, torch.bmm(of_products, kernels.mT))
        if gradient_of_kernels is not None:
            gradient_of_kernels.baddbmm_(strip.values_of_patches(x).mT, of_products)
    if gradient_of_kernels is None:
        return gradient_of_x, None
    return gradient_of_x, _weights_of_values(gradient_of_kernels)


class _Transforms(NamedTuple):
    """Matrices for both directions of an image at once."""

    patches: Tensor  # (36, 36): values of patches
    kernels: Tensor  # (36, 9): values of kernels
    results: Tensor  # (16, 36): results from products


@functools.cache
def _transforms(dtype: torch.dtype) -> _Transforms:
    """Build the matrices (of Toom and Cook), which Lavin and Gray call B', G and A'."""
    points = np.array(POINTS)
    powers = np.vander(points, PATCH, increasing=True)
    at_infinity = np.eye(PATCH)[-1]  # the highest coefficient
    results = np.vstack([powers[:, :TILE], at_infinity[-TILE:]]).T
    others = [np.delete(points, i) for i in range(len(points))]
    # Lagrange's interpolation divides by these; it is done here, where it costs least.
    scales = np.array([np.prod(point - rest) for point, rest in zip(points, others, strict=True)])
    kernels = np.vstack([powers[:, :KERNEL] / scales[:, None], at_infinity[-KERNEL:]])
    roots = [*others, points]  # of the polynomials whose coefficients are the rows
    rows = [np.pad(np.poly(each)[::-1], (0, PATCH - 1 - len(each))) for each in roots]
    both_directions = (np.kron(each, each) for each in (np.vstack(rows), kernels, results))
    with torch.inference_mode(mode=False):  # they are kept for training too
        return _Transforms(*(torch.from_numpy(matrix).to(dtype) for matrix in both_directions))


def values_of_kernels(weight: Tensor) -> Tensor:
    """Return the values of the kernels of a weight, (D, C, 3, 3): (36, C, D)."""
    channels_out, channels_in = weight.shape[:2]
    flat = weight.permute(2, 3, 1, 0).reshape(KERNEL * KERNEL, -1)
    return (_transforms(weight.dtype).kernels @ flat).view(-1, channels_in, channels_out)


def _weights_of_values(values: Tensor) -> Tensor:
    """Return the gradient of the weights, (D, C, 3, 3), from that of their values, (36, C, D)."""
    flat = _transforms(values.dtype).kernels.T @ values.flatten(1)
    return flat.view(KERNEL, KERNEL, *values.shape[1:]).permute(3, 2, 0, 1).contiguous()


def _tiles(length: int) -> int:
    """Return how many tiles cover so many results; the last one may reach beyond them."""
    return -(-length // TILE)


def _strips(x: Tensor) -> Iterator["_Strip"]:
    """Yield the strips in which images are convolved, from top to bottom."""
    height, width = x.shape[2] - OVERLAP, x.shape[3] - OVERLAP
    rows = max(MOST_TILES // (len(x) * _tiles(width)), 1) * TILE
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        yield _Strip(top, bottom, width, (len(x), _tiles(bottom - top), _tiles(width)))


class _Strip(NamedTuple):
    """Some rows of the results of all images."""

    top: int
    bottom: int
    width: int
    tiles: tuple[int, int, int]  # images, and tiles below each other and side by side

    def values_of_patches(self, x: Tensor) -> Tensor:
        """Return the values of all patches, (36, tiles, C)."""
        _, down, across = self.tiles
        seen = x[:, :, self.top : self.bottom + OVERLAP]
        rows = _as_rows(seen, down * TILE + OVERLAP, across * TILE + OVERLAP)
        patches = rows.unfold(1, PATCH, TILE).unfold(2, PATCH, TILE).permute(4, 5, 0, 1, 2, 3)
        flat = patches.reshape(PATCH * PATCH, -1)
        return (_transforms(x.dtype).patches @ flat).view(PATCH * PATCH, -1, x.shape[1])

    def add_patches(self, gradient: Tensor, values: Tensor) -> None:
        """Add to the images' gradient, (N, C, H, W), what the values' say, (36, tiles, C)."""
        count, down, across = self.tiles
        flat = _transforms(values.dtype).patches.T @ values.flatten(1)
        patches = flat.view(PATCH, PATCH, *self.tiles, values.shape[2])
        height, width = down * TILE, across * TILE
        joined = flat.new_zeros(count, height + OVERLAP, width + OVERLAP, values.shape[2])
        for i in range(PATCH):
            for j in range(PATCH):
                joined[:, i : i + height : TILE, j : j + width : TILE] += patches[i, j]
        seen = gradient[:, :, self.top : self.bottom + OVERLAP]
        seen += joined[:, : seen.shape[2], : seen.shape[3]].permute(0, 3, 1, 2)

    def results(self, products: Tensor) -> Tensor:
        """Return the convolved rows, (N, D, rows, width), from the products, (36, tiles, D)."""
        count, down, across = self.tiles
        flat = _transforms(products.dtype).results @ products.flatten(1)
        tiles = flat.view(TILE, TILE, *self.tiles, products.shape[2]).permute(2, 3, 0, 4, 1, 5)
        joined = tiles.reshape(count, down * TILE, across * TILE, products.shape[2])
        return joined[:, : self.bottom - self.top, : self.width].permute(0, 3, 1, 2)

    def values_of_gradient(self, gradient: Tensor) -> Tensor:
        """Return the gradients of the products, (36, tiles, D), from (N, D, H - 2, W - 2)."""
        count, down, across = self.tiles
        rows = _as_rows(gradient[:, :, self.top : self.bottom], down * TILE, across * TILE)
        tiles = rows.view(count, down, TILE, across, TILE, -1).permute(2, 4, 0, 1, 3, 5)
        flat = _transforms(gradient.dtype).results.T @ tiles.reshape(TILE * TILE, -1)
        return flat.view(PATCH * PATCH, -1, gradient.shape[1])


def _as_rows(x: Tensor, height: int, width: int) -> Tensor:
    """Return images (N, C, H, W) as (N, height, width, C), with zeros below and beside."""
    rows = x.permute(0, 2, 3, 1)
    missing = (0, 0, 0, width - rows.shape[2], 0, height - rows.shape[1])
    return (F.pad(rows, missing) if any(missing) else rows).contiguous()
