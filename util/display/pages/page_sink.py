"""The training page: a slider over the epochs, curves, and a row of images for each epoch."""

import math
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from util.display.pages import elements
from util.display.pages.curves import Curves
from util.display.pages.elements import Size
from util.display.pages.samples import Samples, rank_in
from util.display.sinks.base import EpochRecord, ImageArray, LogStep, Overview, Sink
from util.display.sinks.jsonl import LossRecord
from util.images.ranges import for_display
from util.images.writing import save_image
from util.storage.files import write_text

IMAGE_NAME = re.compile(r"epoch(\d+)_(.+)\.png")
PAUSE = 10.0  # seconds from one drawing of the curves to the next, while no images come
FOLLOWS = "Training goes on, and this page follows."


@dataclass(frozen=True)
class Row:
    """What the page has of one epoch: the sizes of its images by label."""

    epoch: int
    sizes: Mapping[str, Size | None] = field(default_factory=dict)


class PageSink(Sink):
    """Write images to `web_dir/images` and show them, `width` pixels wide, in its `index.html`.

    Each epoch's row is rendered once and kept as text, and the curves are thinned, so an update
    costs the same in epoch 2 and in epoch 200. Rows of earlier runs come from the images found
    in the folder, earlier losses from `history`, earlier epochs' numbers from `epochs`.
    """

    images_every = "update_html_freq"

    def __init__(
        self,
        web_dir: str | Path,
        title: str,
        width: int,
        history: Iterable[LossRecord] = (),
        *,
        epochs: Iterable[EpochRecord] = (),
    ) -> None:
        self.move(Path(web_dir), Path(web_dir, "images"))
        Image.preinit()  # not later in a thread: a worker process forked meanwhile would hang
        self.title = title
        self.width = width
        self._overview = ""
        self._state = FOLLOWS
        self._written = -math.inf  # when, in seconds of the monotonic clock
        self._curves = Curves()
        for losses in history:
            self._curves.add_losses(losses["epoch"], losses["iters"], losses["losses"])
        for record in epochs:
            self._curves.add_epoch(record)

    def is_in(self, web_dir: Path, image_dir: Path) -> bool:
        """Tell whether the page and its images are in these folders."""
        return (self.web_dir, self.image_dir) == (web_dir, image_dir)

    def move(self, web_dir: Path, image_dir: Path) -> None:
        """Go on in these folders: the page shows what it finds there, and what comes."""
        self.web_dir, self.image_dir = web_dir, image_dir
        self.web_dir.mkdir(parents=True, exist_ok=True)
        self.image_dir.mkdir(parents=True, exist_ok=True)
        self._samples = Samples(self.image_dir)
        self._row: Row | None = None  # of the running epoch; replaced as often as it is shown
        self._rows: dict[int, str] = {}  # by epoch, rendered

    def begin(self, overview: Overview) -> None:
        """Write the page as it is when training begins, with what to know about the run."""
        shown = elements.shown
        cards = ""
        for title, entries in overview.items():
            pairs = [(shown(name), shown(text)) for name, text in entries.items()]
            rows = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in pairs)
            cards += f"<div><h2>{shown(title)}</h2><dl>{rows}</dl></div>"
        head = '<details id="overview"><summary>Overview</summary>'
        self._overview = cards and f'{head}\n<div class="cards">{cards}</div></details>'
        self._write()

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Keep losses for the curves, which are drawn at once if that was some time ago."""
        self._curves.add_losses(when.epoch, when.images, losses, whole=when.out_of)
        if time.monotonic() > self._written + PAUSE:
            self._write()

    def images(self, when: LogStep, images: Mapping[str, ImageArray]) -> None:
        """Save the images and put them at the top of the page."""
        for label, image in images.items():
            save_image(for_display(image), self.image_dir / image_name(when.epoch, label))
        sizes = {label: (image.shape[1], image.shape[0]) for label, image in images.items()}
        self._show(Row(when.epoch, sizes))

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Add an epoch's numbers, and what was made of the images that are shown every time."""
        epoch = record["epoch"]
        self._curves.add_epoch(record)
        if any(samples):
            self._samples.write(epoch, samples)
        self._show(self._row if self._row and self._row.epoch == epoch else Row(epoch))

    def go_on_after(self, when: LogStep) -> None:
        """Show the run up to an earlier save, from which it goes on; later losses are dropped."""
        self._curves.forget_after(when.epoch, when.images)
        self._samples.forget_after(when.epoch)
        self._row, self._rows = None, self._rows_on_disk(when.epoch + 1)
        self._write()

    def finish(self, text: str = "Training has ended.") -> None:
        """Write the page a last time, with the last words: it reloads itself no more."""
        self._state = text
        if self._row is None:
            self._rows = self._rows_on_disk()
        self._write()

    def close(self) -> None:
        """Draw the last losses; after a script that did not say how training ended, too."""
        if self._written > 0 and self._state == FOLLOWS:
            self.finish("Training does not run any more.")

    def _show(self, row: Row) -> None:
        text = self._render(row)
        if self._row is None or row.epoch < self._row.epoch:  # training may go back to a save
            self._rows = self._rows_on_disk(row.epoch, list(row.sizes))
        self._row, self._rows[row.epoch] = row, text
        self._write()

    def _write(self) -> None:
        rows = "\n".join(self._rows[epoch] for epoch in sorted(self._rows, reverse=True))
        first, _, others = elements.shown(self._state).partition("\n")
        more = f"<pre>{others}</pre>" if others else ""
        body = (
            f"<header><h1>{elements.shown(self.title)}</h1>"
            f'<div class="quiet">{first} Written {time.strftime("%Y-%m-%d %H:%M:%S")}.</div>'
            f"{more}</header>\n{self._curves.render()}\n"
            f'<details id="epochs"><summary>All epochs</summary>\n{rows}\n</details>\n'
            f"{self._overview}"
        )
        refresh = 1 if self._state == FOLLOWS else 0
        style = f"--w:{self.width}px"
        text = elements.page(self.title, body, refresh, kind="training", style=style)
        write_text(self.web_dir / "index.html", text)
        self._written = time.monotonic()

    def _render(self, row: Row) -> str:
        names, sizes = list(row.sizes), list(row.sizes.values())
        folder = Path(os.path.relpath(self.image_dir, self.web_dir)).as_posix()
        files = [image_name(row.epoch, label) for label in names]
        scores = elements.numbers(self._curves.metrics(row.epoch))
        parts = [elements.heading(f"epoch [{row.epoch}]"), scores]
        if files:
            parts.append(
                elements.image_row(files, names, files, self.width, sizes=sizes, folder=folder)
            )
        data = f' data-epoch="{row.epoch}" data-folder="{elements.address("", folder)}"'
        if samples := self._samples.of(row.epoch):
            quoted = elements.shown(samples).replace("&quot;", '"')
            data += f" data-samples='{quoted}'"
        return elements.section(parts, sizes, self.width, data=data)

    def _rows_on_disk(
        self, before: float = float("inf"), order: Sequence[str] = ()
    ) -> dict[int, str]:
        """Render the epochs `before` one whose images earlier runs have left."""
        self._samples.find(before, order)
        found: dict[int, list[str]] = {}
        for file in self.image_dir.iterdir():
            match = IMAGE_NAME.fullmatch(file.name)
            if match and int(match[1]) < before:
                found.setdefault(int(match[1]), []).append(match[2])
        rows = {}
        for epoch, labels in found.items():
            labels.sort(key=rank_in(order))
            files = {label: self.image_dir / image_name(epoch, label) for label in labels}
            sizes = {label: elements.image_size(file) for label, file in files.items()}
            rows[epoch] = self._render(Row(epoch, sizes))
        return rows


def image_name(epoch: int, label: str) -> str:
    """Return the file name of an epoch's image."""
    return f"epoch{epoch:03d}_{label}.png"
