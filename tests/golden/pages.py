"""What is on a page of images."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Facts:
    """The parts of a page that the records describe."""

    doctype: str = ""
    title: str = ""
    headings: list[str] = field(default_factory=list)
    tables: list[dict[str, str]] = field(default_factory=list)
    cells: list[dict[str, str]] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    refresh: list[str] = field(default_factory=list)
    first_cell_tags: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.facts = Facts()
        self.open: list[str] = []

    def handle_decl(self, decl: str) -> None:
        self.facts.doctype = f"<!{decl}>"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        facts = self.facts
        if "td" in self.open and len(facts.cells) == 1:
            facts.first_cell_tags.append(tag)
        if tag == "table":
            facts.tables.append(values)
        elif tag == "td":
            facts.cells.append(values)
        elif tag == "img":
            facts.images.append(values)
        elif tag == "a":
            facts.links.append(values["href"])
        elif tag == "meta" and values.get("http-equiv") == "refresh":
            facts.refresh.append(values["content"])
        if tag not in {"img", "br", "meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        text = data.strip()
        if not text or not self.open:
            return
        if self.open[-1] == "title":
            self.facts.title += text
        elif self.open[-1] == "h3":
            self.facts.headings.append(text)
        elif self.open[-1] == "p" and "td" in self.open:
            self.facts.labels.add(text)


def read_page(text: str) -> Facts:
    """Return the facts of a page."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.facts
