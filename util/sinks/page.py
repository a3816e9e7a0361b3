"""The training page: `web/index.html`, one row of pictures for each epoch, the newest first."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from util.files import write_text
from util.html import heading, page, picture_row
from util.sinks.base import Moment, Picture
from util.util import save_image

PICTURE_NAME = re.compile(r"epoch(\d+)_(.+)\.png")


class PageSink:
    """Write pictures to `web_dir/images` and show them in `web_dir/index.html`.

    Each epoch's row is rendered once and kept as text, so an update costs the same in epoch 2
    and in epoch 200. Rows of earlier runs come from the pictures found in the folder.
    """

    def __init__(self, web_dir: str | Path, title: str, width: int) -> None:
        self.web_dir = Path(web_dir)
        self.image_dir = self.web_dir / "images"
        self.image_dir.mkdir(parents=True, exist_ok=True)
        self.title = title
        self.width = width
        self._epoch: int | None = None
        self._row = ""  # of the running epoch; replaced as often as it is shown
        self._older = ""  # all rows below it

    def scalars(self, when: Moment, values: Mapping[str, float]) -> None:
        """Losses are not on this page."""

    def images(self, when: Moment, images: Mapping[str, Picture]) -> None:
        """Save the pictures and put them at the top of the page."""
        for label, image in images.items():
            save_image(image, self.image_dir / picture_name(when.epoch, label))
        row = self._render(when.epoch, images)
        if self._epoch is None:
            self._older = self._rows_on_disk(when.epoch, list(images))
        elif when.epoch != self._epoch:
            self._older = f"{self._row}\n{self._older}"
        self._epoch, self._row = when.epoch, row
        text = page(self.title, f"{self._row}\n{self._older}", refresh=1)
        write_text(self.web_dir / "index.html", text)

    def close(self) -> None:
        """Nothing is held open."""

    def _render(self, epoch: int, labels: Iterable[str]) -> str:
        names = list(labels)
        files = [picture_name(epoch, label) for label in names]
        return heading(f"epoch [{epoch}]") + "\n" + picture_row(files, names, files, self.width)

    def _rows_on_disk(self, before_epoch: int, order: Sequence[str]) -> str:
        found: dict[int, list[str]] = {}
        for file in self.image_dir.iterdir():
            match = PICTURE_NAME.fullmatch(file.name)
            if match and int(match[1]) < before_epoch:
                found.setdefault(int(match[1]), []).append(match[2])
        rank = {label: position for position, label in enumerate(order)}
        rows = (
            self._render(epoch, sorted(labels, key=lambda name: (rank.get(name, len(rank)), name)))
            for epoch, labels in sorted(found.items(), reverse=True)
        )
        return "\n".join(rows)


def picture_name(epoch: int, label: str) -> str:
    """Return the file name of an epoch's picture."""
    return f"epoch{epoch:03d}_{label}.png"
