"""Web pages of pictures: a heading, then a table with one row of labelled pictures, and so on."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from util.files import write_text
from util.results import ResultNames

# Readable on any screen; the tables' own attributes are the reference's.
STYLE = (
    "body{font-family:system-ui,sans-serif;margin:1.5em;color:#222;background:#fafafa}"
    "h3{margin:1.2em 0 .3em;font-weight:600;font-size:1.05em}"
    "table{border-collapse:collapse;border-color:#ddd;background:#fff}"
    "td{padding:6px;text-align:center}td p{margin:.25em 0;font-size:.85em;color:#555}"
    "img{max-width:100%;height:auto;display:block;margin:auto}"
)


def heading(text: str) -> str:
    """Render one heading."""
    from dominate.tags import h3

    return str(h3(_printable(text)).render())


def picture_row(
    images: Sequence[str], texts: Sequence[str], links: Sequence[str], width: int = 400
) -> str:
    """Render a table of one row: each picture links to its file, its label stands below.

    `images` and `links` are file names below the page's `images` folder.
    """
    from dominate.tags import a, br, img, p, table, td, tr

    grid = table(border=1, style="table-layout: fixed;")
    with grid, tr():
        for image, text, link in zip(images, texts, links, strict=True):
            with td(style="word-wrap: break-word;", halign="center", valign="top"), p():
                with a(href=_address(link)):
                    img(style=f"width:{width}px", src=_address(image))
                br()
                p(_printable(text))
    return str(grid.render())


def page(title: str, body: str, refresh: int = 0) -> str:
    """Render a whole page around `body`; it reloads itself every `refresh` seconds unless 0."""
    import dominate
    from dominate.tags import meta, style
    from dominate.util import raw

    document = dominate.document(title=_printable(title))
    with document.head:
        meta(charset="utf-8")
        if refresh > 0:
            meta(http_equiv="refresh", content=str(refresh))
        style(raw(STYLE))
    document.body.add(raw(body))
    return str(document.render())


def _address(file: str) -> str:
    """Return the address of a file below the page's `images` folder."""
    return f"images/{quote(file, errors='surrogateescape')}"  # bytes that are no UTF-8 stay so


def _printable(text: str) -> str:
    """Replace what UTF-8 cannot hold: Python's stand-ins for odd bytes in names of files."""
    return text.encode("utf-8", "replace").decode("utf-8")


class HTML:
    """A page of pictures under `web_dir`, built row by row and written by `save`."""

    def __init__(self, web_dir: str | Path, title: str, refresh: int = 0) -> None:
        self.title = title
        self.web_dir = str(web_dir)
        self.img_dir = os.path.join(self.web_dir, "images")
        self.refresh = refresh
        self.names = ResultNames()
        self._parts: list[str] = []
        os.makedirs(self.img_dir, exist_ok=True)

    def get_image_dir(self) -> str:
        """Return the folder for the page's pictures."""
        return self.img_dir

    def add_header(self, text: str) -> None:
        """Add a heading."""
        self._parts.append(heading(text))

    def add_images(
        self, ims: Sequence[str], txts: Sequence[str], links: Sequence[str], width: int = 400
    ) -> None:
        """Add a row of pictures (file names below the image folder) with their labels and links."""
        self._parts.append(picture_row(ims, txts, links, width))

    def save(self) -> None:
        """Write `index.html`."""
        text = page(self.title, "\n".join(self._parts), self.refresh)
        write_text(os.path.join(self.web_dir, "index.html"), text)
