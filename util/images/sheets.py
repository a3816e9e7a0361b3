"""Many images in one, in labelled rows and columns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from util.images.ranges import shown, tensor2im

MARGIN = 4  # pixels around labels
GAP = 2  # between images
LEAST_TEXT = 10  # pixels; on larger images labels are larger


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def sheet(
    cells: Sequence[Sequence[Tensor | None]],
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """Return one image (H, W, 3) of many, with labels at the left and above.

    Args:
        cells: rows of images (C, h, w), all of one size, in [-1, 1]; None leaves a place empty.
        rows: a label for each row, or none at all.
        columns: a label for each column, or none at all; what is too long for it is shortened.
    """
    first = next(cell for row in cells for cell in row if cell is not None)
    height, width = first.shape[-2:]
    letters = max(LEAST_TEXT, height / 10)
    font = ImageFont.load_default(letters)
    line = round(letters) + 2 * MARGIN
    left = round(max(map(font.getlength, rows), default=-2 * MARGIN)) + 2 * MARGIN
    top = line if any(columns) else 0
    across, down = max(map(len, cells)), len(cells)
    size = left + across * (width + GAP) - GAP, top + down * (height + GAP) - GAP
    whole = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(whole)
    for number, label in enumerate(columns):
        middle = left + number * (width + GAP) + width / 2, top / 2
        pen.text(middle, _shortened(label, width, font), "black", font, anchor="mm")
    for number, label in enumerate(rows):
        pen.text((MARGIN, top + number * (height + GAP) + height / 2), label, "black", font, "lm")
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            if cell is not None:
                corner = left + x * (width + GAP), top + y * (height + GAP)
                whole.paste(Image.fromarray(shown(tensor2im(cell[None].clamp(-1, 1)))), corner)
    return np.array(whole)


def _shortened(label: str, width: int, font: Font) -> str:
    kept = label
    while kept and font.getlength(label) > width:
        kept = kept[:-1]
        label = f"{kept}…"
    return label
