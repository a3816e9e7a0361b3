"""Image files as metrics take them: all values for those of pairs, what is seen for networks."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from util.base.errors import UserError, about
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
from util.scores.comparisons import RANGES_FILE, digest_of, images_of

BESIDE = (".tif", *ARRAYS)  # endings of what test.py writes beside a PNG that cannot hold it


def without_data_beside(paths: Iterable[str]) -> list[str]:
    """Leave out the files of values that test.py has written beside images of them."""
    paths = list(paths)
    shown = {stem for stem, ending in map(os.path.splitext, paths) if ending == ".png"}

    def is_beside(path: str) -> bool:
        stem, ending = os.path.splitext(path)
        return ending in BESIDE and stem in shown and test_of(path) is not None

    return [path for path in paths if not is_beside(path)]


def test_of(path: str) -> Path | None:
    """Return the folder of the test that has written an image; None if it is not of one."""
    for folder in Path(path).parents:
        if folder.name == "images" and Path(images_of(str(folder.parent))) == folder:
            return folder.parent
    return None


def range_of(test: Path, path: str) -> ValueRange | None:
    """Return the range of the values that a test has written of an image; None if it is usual.

    Raises:
        UserError: the file that says so is broken.
    """
    file = test / RANGES_FILE
    if not file.is_file():
        return None
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        texts = [text for label, text in known.items() if Path(path).stem.endswith(f"_{label}")]
        return ValueRange.parse(texts[0]) if texts else None
    except (ValueError, AttributeError):
        raise UserError(
            f"{file} does not hold ranges of values. Remove it; test.py makes it."
        ) from None


@dataclass(frozen=True)
class Opener:
    """Open image files; a range says which values are black and white, if not the usual ones.

    Of what test.py has written, the values count that lie beside an image, in the range that the
    test has noted.
    """

    value_range: ValueRange | None = None

    def values(self, path: str) -> Tensor:
        """Return stored values of 8 bits, RGB, or all others as float32 in [0, 1]: (C, H, W)."""
        file, value_range = self._meant_by(path)
        found = stored_values(read_image(file))
        if value_range is None and is_pillow_kind(found.dtype, len(found)):
            return found
        with about(file):
            clipped_part(found, value_range)
        return to_unit(found, value_range or usual_range(found.dtype))

    def shown(self, path: str) -> Image.Image:
        """Return what is seen of a file: 8-bit RGB."""
        values = self.values(path)
        if values.is_floating_point():
            values = from_unit(three_channels(values))
        return to_pillow(values)

    def content_of(self, path: str) -> str:
        """Return what tells the values of a file from those of any other."""
        file, value_range = self._meant_by(path)
        return digest_of(file) if value_range is None else f"{digest_of(file)} {value_range}"

    def _meant_by(self, path: str) -> tuple[str, ValueRange | None]:
        """Return the file that has the values of an image, and their range."""
        test = test_of(path)
        if test is None:
            return path, self.value_range
        stem, ending = os.path.splitext(path)
        beside = [stem + other for other in BESIDE if os.path.isfile(stem + other)]
        file = beside[0] if beside and ending == ".png" else path
        return file, self.value_range or range_of(test, path)
