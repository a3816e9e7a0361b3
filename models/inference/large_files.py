"""Translate an image file that is larger than memory: read, computed and written in parts."""

import math
from pathlib import Path

import torch
from torch import Tensor

from models.inference.boxes import Box, Span
from models.inference.generator import Generator
from models.inference.padding import Sides, mirrored
from models.inference.scratch import Scratch
from models.inference.tiles import require_tiles, translate_strips
from util.base.errors import about
from util.images.ranges import ValueRange, clipped_part, depth_of_results, to_network
from util.images.strips import LargeImage, open_in_parts, write_strips

PARTS = 100  # of a file that are read before their memory goes to the scratch file


class _Stored:
    """A stored image as a network takes it: in [-1, 1], continued until its sides fit."""

    def __init__(self, stored: Scratch, sides: Sides, going_in: ValueRange | None) -> None:
        self._stored, self._range = stored, going_in
        _, channels, *lengths = stored.shape
        self._places = [mirrored(side, sides.above(side)) for side in lengths]
        self.shape = (1, channels, *map(len, self._places))

    def read(self, box: Box) -> Tensor:
        """Return a box; beyond the stored image lies its mirror image."""
        places = [each[slice(*span)] for each, span in zip(self._places, box, strict=True)]
        spans = [Span(int(each.min()), int(each.max()) + 1) for each in places]
        x = self._stored.read(Box(*spans))
        for dimension, each, span in zip((2, 3), places, spans, strict=True):
            if not torch.equal(each, torch.arange(*span)):
                x = x.index_select(dimension, each - span.low)
        return to_network(x, self._range)

    def release(self) -> None:
        """Let go what was read."""
        self._stored.release()


def translate_large_file(
    generator: Generator, source: Path, target: Path, *, tile: int, overlap: int = 0
) -> float:
    """Translate an image file in tiles, and write the result, which is as large.

    Neither the image nor the result is ever whole in memory as numbers of a network. Values are
    stored as `Generator.translate` returns them.

    Returns:
        Which part of the values is outside of what the network was trained for.

    Raises:
        UserError: the file cannot be read or written, or the network cannot be computed in tiles.
    """
    require_tiles(generator.module)
    opener = generator.opener()
    image = open_in_parts(source, opener.channels)
    with about(source):
        stored, cut_off = _keep(image, opener.ranges[0])
    _, height, width = image.shape
    whole = _Stored(stored, Sides.of(generator.module), opener.ranges[0])
    strips = translate_strips(generator.module, whole, tile, overlap)
    tops = range(0, height, tile)
    made = (
        opener.stored(image.depth, strip.cpu()[:, :, : height - top, :width])
        for top, strip in zip(tops, strips, strict=False)  # one more may lie in what was continued
    )
    depth = depth_of_results(image.depth, *opener.ranges)
    write_strips(target, made, (generator.output_nc, height, width), depth)
    return cut_off


def _keep(image: LargeImage, going_in: ValueRange | None) -> tuple[Scratch, float]:
    """Read a file into a scratch; return which part of its values is cut off, too."""
    stored, cut_off = Scratch((1, *image.shape), image.depth), 0.0
    for number, (top, left, part) in enumerate(image.parts):
        _, rows, columns = part.shape
        box = Box(Span(top, top + rows), Span(left, left + columns))
        stored.write(box, part[None])
        if going_in is not None or part.dtype != torch.uint8:
            cut_off += clipped_part(part, going_in) * part.numel()
        if number % PARTS == 0:
            stored.release()
    stored.release()
    return stored, cut_off / math.prod(image.shape)
