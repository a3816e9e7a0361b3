"""Images in rows and columns, pixel by pixel, with captions that stay text: for papers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from util.base.errors import UserError
from util.storage.files import replacing

ENDINGS = (".png", ".pdf", ".svg")
DPI = 100  # of captions: a point is 1.39 pixels
CAPTION = 24  # pixels
FONT_SIZE = 10  # points
FRAME = "#d62728"
LARGEST_INSET = 0.5  # of an image's sides
STYLE = {
    "svg.fonttype": "none",  # text, not the outlines of its letters
    "pdf.fonttype": 42,
    "image.composite_image": False,  # each image stays one of its own
    "font.family": ["DejaVu Sans"],
}
Box = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True)
class Grid:
    """What a figure shows.

    Attributes:
        rows: images, all of one size; None leaves a place empty.
        columns: a caption above each column.
        names: a caption left of each row, or none.
        gap: pixels between images.
        crop: a part that is shown enlarged in the lower right corner of each image.
    """

    rows: Sequence[Sequence[Image.Image | None]]
    columns: Sequence[str] = ()
    names: Sequence[str] = ()
    gap: int = 4
    crop: Box | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Return the width and height of the images."""
        return next(image.size for row in self.rows for image in row if image is not None)


def draw(grid: Grid, path: Path) -> None:
    """Write a grid as PNG, PDF or SVG, by the ending of `path`; pixels are not resampled.

    Raises:
        UserError: matplotlib is missing.
    """
    matplotlib = import_matplotlib()
    width, height = grid.size
    left = CAPTION if grid.names else 0
    top = CAPTION if grid.columns else 0
    columns = max(map(len, grid.rows))
    full = (
        left + columns * (width + grid.gap) - grid.gap,
        top + len(grid.rows) * (height + grid.gap) - grid.gap,
    )
    with matplotlib.rc_context(STYLE):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(full[0] / DPI, full[1] / DPI), dpi=DPI)
        panel = figure.add_axes((0, 0, 1, 1))
        panel.set_axis_off()
        for y, row in enumerate(grid.rows):
            for x, image in enumerate(row):
                if image is not None:
                    place = left + x * (width + grid.gap), top + y * (height + grid.gap)
                    _draw_image(panel, image, place, grid.crop)
        _draw_captions(panel, grid, left, top)
        panel.set(xlim=(0, full[0]), ylim=(full[1], 0), aspect="auto")
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=DPI)


def _draw_image(panel: Any, image: Image.Image, place: tuple[int, int], crop: Box | None) -> None:
    _place(panel, image, place, image.size)
    if crop is None:
        return
    x, y, width, height = crop
    factor = inset_factor(image.size, crop)
    size = width * factor, height * factor
    corner = place[0] + image.width - size[0], place[1] + image.height - size[1]
    _place(panel, image.crop((x, y, x + width, y + height)), corner, size)
    for origin, extent in (((place[0] + x, place[1] + y), (width, height)), (corner, size)):
        _frame(panel, origin, extent)


def inset_factor(size: tuple[int, int], crop: Box) -> int:
    """Return how many times a crop is enlarged.

    Raises:
        UserError: it does not lie inside the image, or is too large to be enlarged.
    """
    x, y, width, height = crop
    if min(x, y) < 0 or min(width, height) < 1 or x + width > size[0] or y + height > size[1]:
        shown = ",".join(map(str, crop))
        raise UserError(f"--crop {shown} does not lie inside images of {size[0]}x{size[1]}.")
    factor = int(LARGEST_INSET * min(size[0] / width, size[1] / height))
    if factor < 2:
        raise UserError(
            f"--crop {','.join(map(str, crop))} is too large to be shown enlarged inside images "
            f"of {size[0]}x{size[1]}: take at most a quarter of each side."
        )
    return factor


def _place(panel: Any, image: Image.Image, place: tuple[int, int], size: tuple[int, int]) -> None:
    (x, y), (width, height) = place, size
    pixels = np.asarray(image.convert("RGB"))
    panel.imshow(pixels, extent=(x, x + width, y + height, y), interpolation="none")


def _frame(panel: Any, origin: tuple[int, int], size: tuple[int, int]) -> None:
    from matplotlib.patches import Rectangle

    panel.add_patch(Rectangle(origin, *size, fill=False, edgecolor=FRAME, linewidth=1))


def _draw_captions(panel: Any, grid: Grid, left: int, top: int) -> None:
    width, height = grid.size
    style = {"fontsize": FONT_SIZE, "ha": "center", "va": "center", "parse_math": False}
    for number, text in enumerate(grid.columns):
        x = left + number * (width + grid.gap) + width / 2
        panel.text(x, top / 2, text, **style)
    for number, text in enumerate(grid.names):
        y = top + number * (height + grid.gap) + height / 2
        panel.text(left / 2, y, text, rotation=90, **style)


def import_matplotlib(instead: str = "") -> Any:
    """Import what only figures and plots need; `instead` says what can be had without.

    Raises:
        UserError: it is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise UserError(
            "Images need the package matplotlib, which is not installed. Install it (pip install "
            f"matplotlib, or uv sync --extra plot){instead or '.'}"
        ) from error
    return matplotlib
