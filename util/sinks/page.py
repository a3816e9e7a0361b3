"""The training page: loss curves, and a row of pictures for each epoch, the newest first."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from util.curve import loss_curve
from util.files import write_text
from util.html import heading, page, picture_row
from util.sinks.base import Moment, Picture
from util.sinks.jsonl import LossRecord
from util.util import save_image

MOST_POINTS = 4000  # of the curves
PICTURE_NAME = re.compile(r"epoch(\d+)_(.+)\.png")


class PageSink:
    """Write pictures to `web_dir/images` and show them in `web_dir/index.html`.

    Each epoch's row is rendered once and kept as text, and the curves are thinned, so an update
    costs the same in epoch 2 and in epoch 200. Rows of earlier runs come from the pictures found
    in the folder, earlier losses from `history`.
    """

    def __init__(
        self, web_dir: str | Path, title: str, width: int, history: Iterable[LossRecord] = ()
    ) -> None:
        self.web_dir = Path(web_dir)
        self.image_dir = self.web_dir / "images"
        self.image_dir.mkdir(parents=True, exist_ok=True)
        self.title = title
        self.width = width
        self._epoch: int | None = None
        self._row = ""  # of the running epoch; replaced as often as it is shown
        self._older = ""  # all rows below it
        self._losses: list[tuple[int, int, dict[str, float]]] = []  # epoch, images, values
        for record in history:
            self._remember(record["epoch"], record["iters"], record["losses"])

    def scalars(self, when: Moment, values: Mapping[str, float]) -> None:
        """Keep losses for the curves, which are drawn with the next pictures."""
        self._remember(when.epoch, when.images, dict(values))

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
        self._write()

    def forget_after(self, epoch: int, images: int) -> None:
        """Drop losses of later moments, for a run that goes on from an earlier save."""
        self._losses = [entry for entry in self._losses if entry[:2] <= (epoch, images)]

    def close(self) -> None:
        """Draw the last losses."""
        if self._epoch is not None:
            self._write()

    def _write(self) -> None:
        body = f"{self._curves()}\n{self._row}\n{self._older}"
        write_text(self.web_dir / "index.html", page(self.title, body, refresh=1))

    def _remember(self, epoch: int, images: int, losses: dict[str, float]) -> None:
        self._losses.append((epoch, images, losses))
        if len(self._losses) > MOST_POINTS:  # half of the older half may go
            half = MOST_POINTS // 2
            self._losses[:half] = self._losses[:half:2]

    def _curves(self) -> str:
        """Draw losses over epochs; the most images seen in one stand for an epoch's length."""
        longest = max((images for _, images, _ in self._losses), default=1) or 1
        points = [(epoch - 1 + images / longest, values) for epoch, images, values in self._losses]
        return loss_curve(points)

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
