"""Translate large images in tiles: bounded memory, and the result of the whole image.

Nothing is blended. A network is computed in sweeps over all tiles of the image, and each tile is
given as many pixels around it as the layers of that sweep look at (`boxes`). A norm divides by the
statistics of all tiles: the sweep before it has summed them up, in float64. What lies between the
sweeps is kept where the image is smallest, and computed again from there or from the image where
it is large. So the result differs from that of the whole image by rounding alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.architectures.fast.batch_norm import BatchNorm2d
from models.architectures.fast.instance_norm import InstanceNorm2d
from models.architectures.resnet import ResnetBlock, ResnetGenerator
from models.architectures.synchronised import SyncBatchNorm2d
from models.architectures.unet import UnetGenerator
from models.inference.boxes import STEPS, Box, Step
from models.inference.scratch import Scratch
from models.optimization.precision import PRECISIONS
from util.base.errors import UserError
from util.base.torch_private import count_hooks

NORMS = (InstanceNorm2d, BatchNorm2d, SyncBatchNorm2d)
Norm = InstanceNorm2d | BatchNorm2d  # SyncBatchNorm2d is one
KEPT = 1 / 10  # of the image's pixels: where there are fewer, values are kept between sweeps


class Source(Protocol):
    """What can be read in boxes: an image in a file or in memory, or what a layer made of it."""

    shape: tuple[int, ...]  # (N, C, H, W)

    def read(self, box: Box) -> Tensor:
        """Return a box, (N, C, rows, columns)."""

    def release(self) -> None:
        """Let go what was read before, as far as it can be read again."""


class InMemory:
    """Images in memory, (N, C, H, W)."""

    def __init__(self, images: Tensor) -> None:
        self.images, self.shape = images, tuple(images.shape)

    def read(self, box: Box) -> Tensor:
        """Return a box of them."""
        return self.images[:, :, slice(*box.rows), slice(*box.columns)]

    def release(self) -> None:
        """Do nothing."""


def why_not_tiled(net: nn.Module) -> str:
    """Say why a network cannot be computed in tiles; nothing if it can."""
    if isinstance(net, UnetGenerator):
        seen = 3 * (net.divisor - 1)
        return (
            f"each pixel that this U-Net makes depends on all within {seen} pixels around it, so "
            "that tiles would have to be computed many times over. Translate such images whole, "
            "or train a ResNet generator (--netG resnet_9blocks), which works in tiles"
        )
    if type(net) is not ResnetGenerator:
        return f"only ResNet generators can, and this is a {type(net).__name__}"
    for layer in net.modules():
        if isinstance(layer, nn.Dropout) and layer.training:
            return (
                "its dropout draws one mask for the whole image. Switch it off: --test_dropout off "
                "of test.py, or --eval, which also takes batch norm's statistics of training"
            )
        if layer is not net and not _is_known(layer):
            return f"its layers have been changed: there is a {type(layer).__name__}"
    return ""


def _is_known(layer: nn.Module) -> bool:
    known = (*STEPS, *NORMS, nn.Sequential, nn.Dropout, ResnetBlock)
    return type(layer) in known and not any(count_hooks(layer))


def translate_tiled(net: nn.Module, x: Tensor, tile: int, overlap: int = 0) -> Tensor:
    """Return what a ResNet generator makes of images, computed in tiles.

    A tile is `tile` pixels wide and high. Around it the layers are given what they look at anyway,
    so computing an `overlap` of some pixels more costs time, and changes nothing. Images are
    (N, C, H, W) in [-1, 1].

    Raises:
        UserError: this network cannot be computed in tiles.
    """
    require_tiles(net)
    if max(x.shape[2:]) > tile:
        return _in_tiles(net, x, tile, overlap)
    with torch.no_grad():  # as in tiles
        return net(x)


def compute_in_tiles(net: nn.Module, tile: int, overlap: int = 0) -> None:
    """Let a network compute in tiles from now on, whoever calls it; see `translate_tiled`."""
    require_tiles(net)

    def forward(x: Tensor) -> Tensor:
        fits = max(x.shape[2:]) <= tile
        return type(net).forward(net, x) if fits else _in_tiles(net, x, tile, overlap)

    net.forward = forward  # what watches the network, as --precision does, goes on


def require_tiles(net: nn.Module) -> None:
    """Raise a UserError unless a network can be computed in tiles."""
    if why := why_not_tiled(net):
        raise UserError(f"--tile: this network cannot be computed in tiles: {why}.")


def _in_tiles(net: nn.Module, x: Tensor, tile: int, overlap: int) -> Tensor:
    return torch.cat(list(translate_strips(net, InMemory(x), tile, overlap)), dim=2)


def translate_strips(
    net: nn.Module, source: Source, tile: int, overlap: int = 0
) -> Iterator[Tensor]:
    """Yield what a ResNet generator makes of images as strips from top to bottom.

    All but the last one are `tile` pixels high. Other arguments as in `translate_tiled`.
    """
    assert isinstance(net, ResnetGenerator)
    net.require_size(*source.shape[2:])
    device = next(net.parameters()).device
    layout = torch.channels_last if device.type in net.channels_last_on else torch.contiguous_format
    sweeps = _Sweeps(source, _Way(tile, overlap, device, layout))
    with _computing(net, device):
        for layer in net.model:
            sweeps.add(layer)
    for row in sweeps.pending.rows():
        with _computing(net, device):  # not while somebody else uses the strip
            strip = torch.cat([_in_float32(values).contiguous() for _, values in row], dim=3)
        yield strip


@contextmanager
def _computing(net: nn.Module, device: torch.device) -> Iterator[None]:
    """Compute without gradients, and as `--precision` says, whose hooks see whole networks only."""
    dtype = PRECISIONS[getattr(net, "computes_in", "fp32")]
    half = nullcontext() if dtype is None else torch.autocast(device.type, dtype)
    with torch.no_grad(), half:
        yield


class _Way(NamedTuple):
    """How tiles are computed."""

    tile: int  # pixels of the image
    overlap: int
    device: torch.device
    layout: torch.memory_format


class _Pending(NamedTuple):
    """Layers whose result can be computed, tile by tile, of something that can be read."""

    source: Source
    way: _Way
    image: Box  # the size of the image, in whose pixels tiles are measured
    steps: tuple[Step, ...] = ()

    def reading(self, source: Source) -> "_Pending":
        """Return what begins anew, with a source that holds what this one would make."""
        return self._replace(source=source, steps=())

    def then(self, step: Step) -> "_Pending":
        """Return the same with one more layer."""
        return self._replace(steps=(*self.steps, step))

    def sizes(self) -> list[Box]:
        """Return the size of what is read, and of what comes out of each layer."""
        sizes = [Box.whole(*self.source.shape[2:])]
        for step in self.steps:
            sizes.append(step.size_made(sizes[-1]))
        return sizes

    def rows(self) -> Iterator[Iterator[tuple[Box, Tensor]]]:
        """Yield rows of tiles from top to bottom: where each one lies, and what is made there."""
        size = self.sizes()[-1]
        scale = max(round(self.image.rows.high / size.rows.high), 1)
        margin = -(-self.way.overlap // scale)
        for row in size.tiles(max(self.way.tile // scale, 1)):
            yield ((box, self._compute(box, box.grown(margin, size))) for box in row)
            self.source.release()

    def _compute(self, wanted: Box, wide: Box) -> Tensor:
        """Compute a wide box, and return the wanted part of it."""
        sizes, boxes = self.sizes(), [wide]
        for step, size in zip(reversed(self.steps), sizes[-2::-1], strict=True):
            boxes.insert(0, step.box_needed(boxes[0], size))
        x = self.source.read(boxes[0]).to(self.way.device)
        for step, has, made, size in zip(self.steps, boxes, boxes[1:], sizes, strict=False):
            x = step.compute(x.contiguous(memory_format=self.way.layout), has, made, size)
        return wanted.cut_from(x, wide)


class _Sweeps:
    """The way of images through a network: layers are added, and computed where that must be."""

    def __init__(self, source: Source, way: _Way) -> None:
        self.pending = _Pending(source, way, Box.whole(*source.shape[2:]))

    def add(self, layer: nn.Module) -> None:
        """Put a layer behind those before it."""
        if isinstance(layer, ResnetBlock):
            self._add_block(layer)
        elif isinstance(layer, NORMS):
            self._add_norm(layer)
        elif not isinstance(layer, nn.Dropout):  # which is off, else nothing is computed in tiles
            self.pending = self.pending.then(STEPS[type(layer)](layer))

    def _add_block(self, block: ResnetBlock) -> None:
        """Add a residual block, whose input is kept until it is added to the result."""
        before = self._keep()
        for layer in block.conv_block:
            self.add(layer)
        if self.pending.source is before:  # tiles still look at their neighbours there
            self._keep()
        for row in self.pending.rows():
            for box, added in row:
                before.write(box, before.read(box).to(added.device) + added)
            before.release()
        self.pending = self.pending.reading(before)

    def _add_norm(self, norm: Norm) -> None:
        """Add a norm; one that takes its statistics from the images needs those of all tiles."""
        is_fixed = isinstance(norm, _BatchNorm) and norm.running_mean is not None
        if is_fixed and not norm.training:
            self.pending = self.pending.then(Step(norm))
            return
        size, sums = self.pending.sizes()[-1], _Sums()
        if size.pixels() < KEPT * self.pending.image.pixels():
            self._keep(sums)
        else:
            for row in self.pending.rows():
                for _, values in row:
                    sums.add(values)
        self.pending = self.pending.then(Step(sums.norm(norm, size.pixels())))

    def _keep(self, sums: "_Sums | None" = None) -> Scratch:
        """Compute all tiles and keep them, to go on from there; sum them up on the way."""
        if isinstance(self.pending.source, Scratch) and not self.pending.steps:
            return self.pending.source
        kept: Scratch | None = None
        for row in self.pending.rows():
            for box, values in row:
                if kept is None:
                    size = self.pending.sizes()[-1]
                    lengths = (size.rows.high, size.columns.high)
                    kept = Scratch((*values.shape[:2], *lengths), values.dtype)
                kept.write(box, values)
                if sums is not None:
                    sums.add(values)
            if kept is not None:
                kept.release()
        assert kept is not None  # an image has pixels
        self.pending = self.pending.reading(kept)
        return kept


class _Sums:
    """The statistics of a norm, of tiles that cover the images."""

    def __init__(self) -> None:
        self.sum: Tensor | float = 0.0  # (N, C), like the next one
        self.squares: Tensor | float = 0.0

    def add(self, values: Tensor) -> None:
        """Take in a tile, (N, C, rows, columns)."""
        values = values.double()
        self.sum = self.sum + values.sum((2, 3))
        self.squares = self.squares + (values * values).sum((2, 3))

    def norm(self, norm: Norm, pixels: int) -> Callable[[Tensor], Tensor]:
        """Return what the norm does to values, with the statistics of so many pixels."""
        mean, squares = torch.as_tensor(self.sum) / pixels, torch.as_tensor(self.squares) / pixels
        if isinstance(norm, _BatchNorm):  # over all images
            mean, squares = mean.mean(0, keepdim=True), squares.mean(0, keepdim=True)
        scale = (squares - mean * mean).clamp(min=0).add(norm.eps).rsqrt()
        shift = -mean * scale
        if norm.affine:
            scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
        return partial(_scaled, scale=scale[:, :, None, None], shift=shift[:, :, None, None])


def _scaled(values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return `values * scale + shift`, computed in float32 at least."""
    precise = _in_float32(values)
    scale, shift = scale.to(precise.dtype), shift.to(precise.dtype)
    return torch.addcmul(shift, precise, scale).to(values.dtype)


def _in_float32(values: Tensor) -> Tensor:
    """Return values of half precision in float32, others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
