"""Images of one epoch on one sheet: a row for each sample, a column for each label."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from util.display.pages.elements import printable
from util.display.sinks.base import ImageArray
from util.images.writing import as_pillow

LONGEST_SIDE = 512  # larger images are scaled down
GAP = 8
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
GREY = (136, 136, 136, 255)  # of the labels: readable on white and on black


def sheet(samples: Sequence[Mapping[str, ImageArray]]) -> Image.Image:
    """Put labelled images on one sheet; what is not covered is transparent."""
    rows = [{label: _small(image) for label, image in row.items()} for row in samples]
    labels = list(dict.fromkeys(label for row in rows for label in row))
    widths = [max(row[label].width for row in rows if label in row) for label in labels]
    heights = [max((image.height for image in row.values()), default=0) for row in rows]
    letters = max(10, min(widths) // 18)
    font = ImageFont.load_default(letters)
    top = int(1.5 * letters)
    size = (sum(widths) + GAP * (len(widths) - 1), top + sum(heights) + GAP * (len(rows) - 1))
    whole = Image.new("RGBA", size)
    pen = ImageDraw.Draw(whole)
    left = 0
    for label, width in zip(labels, widths, strict=True):
        pen.text((left, 0), _fitting(label, font, width), fill=GREY, font=font)
        y = top
        for row, height in zip(rows, heights, strict=True):
            if label in row:
                whole.paste(row[label], (left, y))
            y += height + GAP
        left += width + GAP
    return whole


def _small(image: ImageArray) -> Image.Image:
    small = as_pillow(image).convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return small


def _fitting(label: str, font: Font, width: int) -> str:
    """Return as much of a label as there is room for."""
    text = shown = printable(label).replace("\n", " ")
    while text and font.getlength(shown) > width:
        text = text[:-1]
        shown = f"{text}\u2026"
    return shown
