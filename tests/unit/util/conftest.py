"""What the tests of `util` share."""

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from util.base import rng
from util.display.pages.elements import asset


@pytest.fixture
def own_randomness() -> Iterator[None]:
    """Put python's, numpy's and torch's global generators back afterwards."""
    state = rng.state_dict()
    yield
    rng.load_state_dict(state)


def where(reference: str) -> str:
    """Return the file that a browser asks for: what follows `#` or `?` is no part of it."""
    return unquote(urlsplit(reference).path)


class Page(HTMLParser):
    """What a browser finds in a page.

    Attributes:
        tags: every tag with its attributes.
        texts: the text inside each kind of tag, in order.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        self.texts.setdefault(tag, []).append("")
        if tag not in ("img", "br", "meta", "link"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        for tag in set(self._open[-1:]):
            self.texts[tag][-1] += data

    def text(self, tag: str) -> list[str]:
        return [text.strip() for text in self.texts.get(tag, [])]

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attributes[attribute] for name, attributes in self.tags if name == tag]

    @property
    def labels(self) -> list[str]:
        """The texts below the images, in order."""
        return [text for text in self.text("p") if text]

    @property
    def images(self) -> list[str]:
        """The files shown, in order, below the folder of the page."""
        return [where(source) for source in self.values("img", "src")]

    @property
    def links(self) -> list[str]:
        return [where(target) for target in self.values("a", "href")]


@pytest.fixture
def read_page() -> Callable[[Path], Page]:
    """Return a function that reads a page and checks what holds for all of ours.

    It is complete in itself (nothing is fetched from elsewhere, nothing runs but the script of
    `util/display/pages`), and every image and every link leads to a file below the page's folder.
    """

    def read(path: Path) -> Page:
        page = Page(path.read_text(encoding="utf-8"))
        assert page._open == []
        assert "://" not in page.source
        assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
        (script,) = page.text("script")
        assert script.startswith(asset("page.js").strip())
        assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
        for tag, attributes in page.tags:
            assert not any(name.startswith("on") for name in attributes), tag
        for file in [*page.images, *page.links]:
            target = (path.parent / file).resolve()
            assert target.is_relative_to(path.parent.resolve())
            assert target.is_file(), file
        return page

    return read
