"""Web pages of images: a heading, then a table with one row of labelled images, and so on."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from util.base.faces import PathText
from util.base.log import printable
from util.display.pages import elements
from util.display.pages.elements import Size
from util.inference.result_files import ResultFiles
from util.inference.result_names import ResultNames
from util.scores.images import mean_over_images
from util.storage.files import write_text


class _Row(NamedTuple):
    """What `add_images` was given."""

    images: list[str]  # names of files
    texts: list[str]
    links: list[str]
    width: int


@dataclass
class _Section:
    """A heading with the rows below it."""

    text: str | None = None  # of the heading
    rows: list[_Row] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)  # that hold the values of images
    place: Any = None  # in `HTML.doc`
    of_all: bool = False  # about all inputs, not one of them

    @property
    def width(self) -> int:
        return self.rows[-1].width if self.rows else 0

    def render(self, folder: str) -> str:
        """Render all of it; sizes are read now, since images may be written after `add_images`."""
        heading = "" if self.text is None else elements.heading(self.text)
        parts = [heading, elements.numbers(self.scores, for_scripts=True)]
        longest: list[Size | None] = []
        for row in self.rows:
            sizes = [elements.image_size(Path(folder, file)) for file in row.images]
            parts.append(elements.image_row(*row, sizes=sizes))
            longest = max(longest, sizes, key=len)
        parts.append(elements.file_links(self.files))
        return elements.section(parts, longest, self.width)


class HTML:
    """A page of images under `web_dir`, built row by row and written by `save`."""

    def __init__(self, web_dir: str | Path, title: str, refresh: int = 0) -> None:
        from dominate import document
        from dominate.tags import h1

        self.title = title
        # Rendered here, before test.py may be stopped at any time: with its first tag dominate
        # makes an event loop, and a half-made one would complain when Python deletes it.
        self._title = str(h1(printable(title)).render())
        self.doc = document(title=printable(title))  # what others add is on the page too
        self.web_dir: str = PathText(web_dir)
        self.img_dir: str = PathText(os.path.join(web_dir, "images"))
        self.refresh = refresh
        self.names = ResultNames()
        self.result_files = ResultFiles()
        self._sections: list[_Section] = []
        os.makedirs(self.img_dir, exist_ok=True)

    def get_image_dir(self) -> str:
        """Return the folder for the page's images."""
        return self.img_dir

    def add_header(self, text: str) -> None:
        """Add a heading."""
        self._begin_section(text)

    def add_images(
        self, ims: Sequence[str], txts: Sequence[str], links: Sequence[str], width: int = 400
    ) -> None:
        """Add a row of images (file names below the image folder) with their labels and links."""
        last = self._sections[-1].place if self._sections else None
        if self.doc.main.children[-1:] != [last]:  # none yet, or others have added something
            self._begin_section()
        self._sections[-1].rows.append(_Row(list(ims), list(txts), list(links), width))

    def add_scores(self, scores: Mapping[str, float]) -> None:
        """Add numbers to the last heading: readers see them and can sort by them."""
        self._sections[-1].scores.update(scores)

    def add_files(self, names: Sequence[str]) -> None:
        """Add links to files below the image folder, which hold what images cannot."""
        self._sections[-1].files.extend(names)

    def show_last_first(self) -> None:
        """Put what stands below the last heading, about all inputs, above everything else."""
        last = self._sections.pop()
        last.of_all = True
        self._sections.insert(0, last)
        shown = self.doc.main.children
        shown.remove(last.place)
        shown.insert(0, last.place)

    def sections(self) -> list[Any]:
        """Return what has been added, for `add_sections` of the same page in another process."""
        return [replace(section, place=None) for section in self._sections]

    def add_sections(self, sections: Sequence[Any]) -> None:
        """Add what `sections` of the same page has returned in another process."""
        for section in sections:
            self._add(section)

    def files(self) -> list[str]:
        """Return the files below the image folder that have been added: images, and others."""
        rows = [name for section in self._sections for row in section.rows for name in row.images]
        return rows + [name for section in self._sections for name in section.files]

    def _begin_section(self, heading: str | None = None) -> None:
        self._add(_Section(heading))

    def _add(self, section: _Section) -> None:
        from dominate.util import lazy

        section.place = lazy(lambda: f"{section.render(self.img_dir)}\n")
        self.doc.add(section.place)
        self._sections.append(section)

    def save(self) -> None:
        """Write `index.html`."""
        added = [tag for tag in self.doc.head.children if tag is not self.doc.title_node]
        tags = [*added, *self.doc.body.children]
        shown = "".join(tag if isinstance(tag, str) else tag.render(pretty=False) for tag in tags)
        most = max((len(row.images) for part in self._sections for row in part.rows), default=1)
        width = max((part.width for part in self._sections), default=0)
        body = f"{self._summary()}\n<main>\n{shown}</main>"
        style = f"--n:{most};--w:{width}px"
        text = elements.page(self.title, body, self.refresh, kind="results", style=style)
        write_text(os.path.join(self.web_dir, "index.html"), text)

    def _summary(self) -> str:
        """Render the title, how many rows there are, and the means of their scores."""
        found: dict[str, list[float]] = {}
        for part in self._sections:
            for name, value in part.scores.items():
                found.setdefault(name, []).append(value)
        columns = {
            name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()
        }
        means = {f"mean {name}": mean_over_images(values) for name, values in columns.items()}
        count = sum(not part.of_all for part in self._sections)
        inputs = f"{count} input{'s' * (count != 1)}"
        quiet = f'<div class="quiet">{inputs}</div>'
        return f"<header>{self._title}{quiet}{elements.numbers(means)}</header>"
