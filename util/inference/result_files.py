"""Which files hold what test.py makes of an image: as deep as the file that it was made from."""

import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from util.base.new_options import new_option
from util.images.pixels import stored_values
from util.images.ranges import (
    ValueRange,
    depth_of_results,
    ranges_in_and_out,
    tensor2im,
    to_stored,
    usual_range,
)
from util.images.reading import depth_of
from util.images.transforms import Resize, size_of
from util.images.writing import ImageWriter, as_pillow, stretched
from util.scores.comparisons import RANGES_FILE
from util.scores.sides import domain_of
from util.storage.files import write_text

OF_THE_ORIGINAL = (1, 3, 4)  # channels whose 8 bits a PNG of the original holds
SEEN_ALIKE = (1, 3)  # channels that a page shows as they are
SHOWN_BY_BROWSERS = ("png", "jpg", "webp")


class Written(NamedTuple):
    """Names of files, below the folder of images."""

    shown: str  # on the page, 8 bits or 16
    data: str  # all values; often the same file


@dataclass(frozen=True)
class ResultFiles:
    """Write images in their own depth, with the ranges of values that the options give.

    `NAME_label.png` is what the page shows. A PNG that would not look right or cannot hold the
    values has them beside it: in `NAME_label.tif` if there is one channel, else `NAME_label.npy`.
    8 bits without a range are truncated, as in the original; all else is rounded.

    With a `file_format` all values are in `NAME_label.FORMAT`, one channel if there is one; beside
    formats that browsers do not show lies a PNG for the page.
    """

    going_in: ValueRange | None = None
    coming_out: ValueRange | None = None
    file_format: str = ""

    @classmethod
    def of(cls, opt: Namespace) -> "ResultFiles":
        """Take the ranges of `--value_range`, and `--result_format`."""
        ranges = ranges_in_and_out(new_option(opt, "value_range"))
        return cls(*ranges, new_option(opt, "result_format") or "")

    @property
    def ending(self) -> str:
        """The ending of the files that the page shows."""
        return self.file_format if self.file_format in SHOWN_BY_BROWSERS else "png"

    def range_of(self, label: str) -> ValueRange | None:
        """Return the range of an image by its name in the models: real_A, fake_B, ..."""
        return self.going_in if domain_of(label) == "A" else self.coming_out

    def stored(
        self, label: str, image: Any, source: str, aspect_ratio: float = 1.0
    ) -> Tensor | None:
        """Return the values (C, H, W) that are written of the first image of a batch.

        None for what is written as the original does it. `source` is the file that went in.
        """
        if not isinstance(image, Tensor) or image.dim() != 4:
            return None
        value_range, depth = self.range_of(label), depth_of(source)
        is_usual = self.going_in is None and self.coming_out is None and depth == torch.uint8
        if is_usual and image.shape[1] in OF_THE_ORIGINAL:
            return None
        if domain_of(label) != "A":
            depth = depth_of_results(depth, self.going_in, self.coming_out)
        stored = to_stored(image[0], depth, value_range)
        resized = Resize(*stretched(size_of(stored), aspect_ratio))(stored)
        assert isinstance(resized, Tensor)
        return resized

    def write(
        self, writer: ImageWriter, folder: Path, name: str, label: str, image: Any, source: str,
        aspect_ratio: float = 1.0,
    ) -> Written:  # fmt: skip
        """Write an image as `name_label` into a folder, and return which files that makes."""
        shown = f"{name}_{label}.{self.ending}"
        stored = self.stored(label, image, source, aspect_ratio)
        if self.file_format:
            data = f"{name}_{label}.{self.file_format}"
            values = _as_by_the_original(image, aspect_ratio) if stored is None else stored
            writer.write_stored(folder / data, values)
            if shown != data:
                writer.write(tensor2im(image), folder / shown, aspect_ratio)
            return Written(shown, data)
        if stored is not None and self._looks_right(stored, self.range_of(label)):
            writer.write_stored(folder / shown, stored)
            return Written(shown, shown)
        writer.write(tensor2im(image), folder / shown, aspect_ratio)
        if stored is None:
            return Written(shown, shown)
        data = f"{name}_{label}.{'tif' if len(stored) == 1 else 'npy'}"
        writer.write_stored(folder / data, stored)
        return Written(shown, data)

    def save_ranges(self, folder: str, visuals: Mapping[str, Any]) -> None:
        """Note the ranges of values beside the page, where scripts/evaluate.py looks for them."""
        of_each = {
            label: str(value_range)
            for label, image in visuals.items()
            if isinstance(image, Tensor) and (value_range := self.range_of(label)) is not None
        }
        file = Path(folder, RANGES_FILE)
        if of_each:
            write_text(file, json.dumps(of_each) + "\n")
        else:
            file.unlink(missing_ok=True)  # of an earlier test

    @staticmethod
    def _looks_right(stored: Tensor, value_range: ValueRange | None) -> bool:
        """Tell whether a PNG of the values is no darker than what the network has made."""
        if stored.dtype not in (torch.uint8, torch.uint16) or len(stored) not in SEEN_ALIKE:
            return False
        return value_range in (None, usual_range(stored.dtype))


def _as_by_the_original(image: Any, aspect_ratio: float) -> Tensor:
    """Return the 8-bit values (C, H, W) that the original would write, of one channel only that."""
    pixels = tensor2im(image)
    is_gray = isinstance(image, Tensor) and image.dim() == 4 and image.shape[1] == 1
    written = as_pillow(pixels[:, :, 0] if is_gray else pixels, aspect_ratio)
    return stored_values(written)
