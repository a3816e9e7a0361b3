"""The parts that pages are made of, as HTML: headings, rows of images, numbers, a whole page.

Style and scripts stand in files beside this one. Without scripts a page is the plain list of its
images.
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import quote

from util.base.log import printable

FOLDER = Path(__file__).parent
Size = tuple[int, int]  # width and height of an image file


@cache
def asset(*names: str) -> str:
    """Return the text of files of this folder, one after the other."""
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


def heading(text: str) -> str:
    """Render one heading."""
    from dominate.tags import h3

    return str(h3(printable(text)).render())


def image_row(
    images: Sequence[str],
    texts: Sequence[str],
    links: Sequence[str],
    width: int = 400,
    *,
    sizes: Sequence[Size | None] = (),
    folder: str = "images",
) -> str:
    """Render a table of one row: each image links to its file, its label stands below.

    `images` and `links` are file names in `folder`, seen from the page. A browser that is told
    the `sizes` knows where everything will stand before it has loaded the images.
    """
    from dominate.tags import a, br, img, p, table, td, tr

    known = sizes or [None] * len(images)
    grid = table(border=1, style="table-layout: fixed;")
    with grid, tr():
        for image, text, link, size in zip(images, texts, links, known, strict=True):
            sides = {"width": size[0], "height": size[1]} if size else {}
            with td(style="word-wrap: break-word;", halign="center", valign="top"), p():
                with a(href=address(link, folder)):
                    img(style=f"width:{width}px", src=address(image, folder), alt=printable(text),
                        loading="lazy", **sides)  # fmt: skip
                br()
                p(printable(text))
    return str(grid.render(pretty=False))


def file_links(files: Sequence[str], folder: str = "images") -> str:
    """Render links to files of values in a line; nothing without any."""
    if not files:
        return ""
    links = [f'<a href="{address(file, folder)}">{shown(file)}</a>' for file in files]
    return f'<div class="quiet">values: {", ".join(links)}</div>'


def numbers(values: Mapping[str, float], *, for_scripts: bool = False) -> str:
    """Render numbers with their names in a line, for readers and perhaps for scripts."""
    if not values:
        return ""
    parts = []
    for name, value in values.items():
        text = shown(name)
        number = json.dumps(float(f"{value:.8g}"))  # as scripts write it: Infinity, NaN
        data = f' data-score="{text}" data-value="{number}"' if for_scripts else ""
        finite = f"{value:#.4g}".rstrip(".")
        digits = finite if math.isfinite(value) else str(value).replace("inf", "\u221e")
        parts.append(f"<span{data}>{text} <b>{digits}</b></span>")
    return f'<div class="numbers">{"".join(parts)}</div>'


def section(
    parts: Iterable[str], sizes: Sequence[Size | None], width: int, *, data: str = ""
) -> str:
    """Render what belongs together: a heading and what stands below it.

    Browsers leave out the work for sections that nobody sees; how high one is, is estimated.
    """
    drawn = [height * width / max(1, wide) for wide, height in filter(None, sizes)]
    high = f";--h:{max(drawn) + 80:.0f}px" if drawn else ""
    body = "\n".join(filter(None, parts))
    return f'<section style="--n:{max(1, len(sizes))}{high}"{data}>\n{body}\n</section>'


def page(title: str, body: str, refresh: int, *, kind: str, style: str = "") -> str:
    """Render a whole page around `body`, which is HTML; `style` is that of the body.

    It reloads itself every `refresh` seconds unless 0; scripts take that over, to disturb nobody.
    The `kind` is "training" or "results", a class for the style and the name of a script.
    """
    import dominate
    from dominate import tags
    from dominate.util import raw

    document = dominate.document(title=printable(title))
    document.set_attribute("lang", "en")
    with document.head:
        tags.meta(charset="utf-8")
        tags.meta(name="viewport", content="width=device-width")
        if refresh > 0:
            tags.noscript(tags.meta(http_equiv="refresh", content=str(refresh)))
        tags.style(raw(asset("style.css")))
    document.body.set_attribute("class", kind)
    document.body.set_attribute("style", style)
    document.body.set_attribute("data-refresh", str(refresh))
    document.body.add(raw(body), tags.script(raw(asset("page.js", "viewer.js", f"{kind}.js"))))
    return str(document.render())


def image_size(path: str | Path) -> Size | None:
    """Read the width and height of a PNG file; None if it is none, or not there."""
    try:
        with open(path, "rb") as file:
            head = file.read(24)
    except OSError:
        return None
    whole = head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 24
    return struct.unpack(">II", head[16:]) if whole else None


def address(file: str, folder: str = "images") -> str:
    """Return the address of a file in a folder, both seen from the page."""
    path = f"{folder}/{file}"
    return quote(path, errors="surrogateescape")  # bytes that are no UTF-8 stay so


def shown(text: str) -> str:
    """Return what shows a text within HTML."""
    return escape(printable(text))
