"""Image files as metrics take them: all values for those of pairs, what is seen for networks."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from util.base.errors import about
from util.images.arrays import ARRAYS
from util.images.pixels import is_pillow_kind, stored_values, to_pillow
from util.images.ranges import (
    ValueRange,
    clipped_part,
    from_unit,
    three_channels,
    to_unit,
    usual_range,
)
from util.images.reading import read_image
from util.scores.comparisons import digest_of

BESIDE = (".tif", *ARRAYS)  # endings of what test.py writes beside a PNG that cannot hold it


def without_data_beside(paths: Iterable[str]) -> list[str]:
    """Leave out files of values that lie beside the image that test.py has written of them."""
    paths = list(paths)
    shown = {stem for stem, ending in map(os.path.splitext, paths) if ending == ".png"}
    stems = [os.path.splitext(path) for path in paths]
    return [
        path
        for path, (stem, ending) in zip(paths, stems, strict=True)
        if not (ending in BESIDE and stem in shown)
    ]


@dataclass(frozen=True)
class Opener:
    """Open image files; a range says which values are black and white, if not the usual ones.

    With a range, values that lie beside an image count instead of it.
    """

    value_range: ValueRange | None = None

    def values(self, path: str) -> Tensor:
        """Return stored values of 8 bits, RGB, or all others as float32 in [0, 1]: (C, H, W)."""
        found = stored_values(read_image(self._with_values(path)))
        if self.value_range is None and is_pillow_kind(found.dtype, len(found)):
            return found
        with about(path):
            clipped_part(found, self.value_range)
        return to_unit(found, self.value_range or usual_range(found.dtype))

    def shown(self, path: str) -> Image.Image:
        """Return what is seen of a file: 8-bit RGB."""
        values = self.values(path)
        if values.is_floating_point():
            values = from_unit(three_channels(values))
        return to_pillow(values)

    def content_of(self, path: str) -> str:
        """Return what tells the values of a file from those of any other."""
        digest = digest_of(self._with_values(path))
        return digest if self.value_range is None else f"{digest} {self.value_range}"

    def _with_values(self, path: str) -> str:
        stem, ending = os.path.splitext(path)
        beside = [stem + other for other in BESIDE if os.path.isfile(stem + other)]
        is_meant = self.value_range is not None and ending == ".png"
        return beside[0] if is_meant and beside else path
