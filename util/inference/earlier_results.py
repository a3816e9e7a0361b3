"""Images that an earlier test has left in the folder of results."""

import os
import re
from collections.abc import Iterable
from html import unescape
from pathlib import Path
from urllib.parse import unquote

from util.base.log import say
from util.scores.comparisons import shown
from util.storage.files import remove_leftovers

IMAGE = re.compile(r'\b(?:src|href)="images/([^"]+)"')  # shown, or linked as animations are


def images_on_page(folder: str) -> set[str]:
    """Return the images that the page of results lists, as paths below its folder `images`."""
    page = Path(folder, "index.html")
    text = page.read_text("utf-8", errors="surrogateescape") if page.is_file() else ""
    return {unquote(unescape(name), errors="surrogateescape") for name in IMAGE.findall(text)}


def clear_away(folder: str, earlier: set[str], read: Iterable[str]) -> None:
    """Remove images that only the `earlier` page listed; name what else is not of this test.

    What this test has `read` is left alone: the results of one may be the input of another.
    """
    images, now = Path(folder, "images"), images_on_page(folder)
    of_now = {name.casefold() for name in now}  # the same file, where case does not count
    there = (file.relative_to(images).as_posix() for file in _files_below(images))
    others = {name for name in there if name.casefold() not in of_now}
    if not now or not others:  # somebody else's page may be written in another way
        return
    inputs = set(map(os.path.realpath, read))
    others = {name for name in others if os.path.realpath(images / name) not in inputs}
    removed = sorted(others & earlier)
    for name in removed:
        (images / name).unlink(missing_ok=True)
    if removed:
        count = len(removed)
        say(f"{count} images of an earlier test were removed from {images}: {shown(removed)}")
    if left := sorted(others - earlier):
        say(f"{len(left)} files in {images} are not of this test: {shown(left)}")


def remove_unfinished(folder: str) -> None:
    """Remove what tests that were killed had begun to write; nobody may write there yet."""
    for parent, _, _ in os.walk(Path(folder, "images")):
        remove_leftovers(parent)


def _files_below(folder: Path) -> Iterable[Path]:
    for parent, _, names in os.walk(folder):  # linked folders stay out
        yield from (Path(parent, name) for name in names if not name.startswith("."))
