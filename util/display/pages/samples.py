"""Files of the images that are shown after every epoch; what stays the same is written once."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

from util.base.log import printable
from util.display.pages.elements import Size
from util.display.sinks.base import ImageArray
from util.images.ranges import shown
from util.images.writing import write_image

LONGEST_SIDE = 512  # larger images are scaled down
SAMPLE_NAME = re.compile(r"epoch(\d+)_sample(\d+)_(.+)\.jpg")
Place = tuple[int, str]  # the number of a sample, from 1, and a label


def rank_in(order: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    """Return a key to sort labels by: first those in `order`, then others by name."""
    rank = {label: position for position, label in enumerate(order)}
    return lambda label: (rank.get(label, len(rank)), label)


class Samples:
    """Keep what became of a few images in `folder`, epoch by epoch.

    Inputs and targets are the same every time, so the newest file up to an epoch is the epoch's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._epochs: dict[Place, set[int]] = {}  # that have a file
        self._newest: dict[Place, ImageArray] = {}  # what this process has written last
        self._sizes: dict[Place, Size] = {}  # read once: opening thousands of files takes seconds

    def write(self, epoch: int, samples: Sequence[Mapping[str, ImageArray]]) -> None:
        """Write what an epoch has brought."""
        self.forget_after(epoch - 1)
        rows = enumerate(samples, 1)
        images = {(number, label): image for number, row in rows for label, image in row.items()}
        self._epochs = {place: self._epochs.get(place, set()) for place in images} | self._epochs
        for place, image in images.items():
            newest = self._newest.get(place)
            if newest is None or newest.shape != image.shape or (newest != image).any():
                small = Image.fromarray(shown(image))
                small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
                write_image(self._file(epoch, place), small, quality=95, subsampling=0)
                self._newest[place], self._sizes[place] = image, small.size
                self._epochs[place].add(epoch)

    def find(self, before: float, order: Sequence[str] = ()) -> None:
        """Look for what earlier runs have left of the epochs `before` one; labels in an `order`."""
        for file in self.folder.iterdir():
            match = SAMPLE_NAME.fullmatch(file.name)
            if match and int(match[1]) < before:
                self._epochs.setdefault((int(match[2]), match[3]), set()).add(int(match[1]))
        rank = rank_in(order)
        places = sorted(self._epochs, key=lambda place: (place[0], rank(place[1])))
        self._epochs = {place: self._epochs[place] for place in places}

    def forget_after(self, epoch: int) -> None:
        """Leave out what later epochs have brought."""
        for place, epochs in self._epochs.items():
            self._epochs[place] = {old for old in epochs if old <= epoch}
            if self._epochs[place] != epochs:
                self._newest.pop(place, None)

    def of(self, epoch: int) -> str:
        """Return JSON for the page's script, a list of samples, empty if the epoch brought none.

        A sample is an object that gives for each label the epoch in whose file the image is, its
        width and its height.
        """
        if not any(epoch in epochs for epochs in self._epochs.values()):
            return ""
        rows: dict[int, dict[str, tuple[int, int, int]]] = {}
        for place, epochs in self._epochs.items():
            newest = max((old for old in epochs if old <= epoch), default=0)
            if size := newest and self._size(newest, place):
                rows.setdefault(place[0], {})[printable(place[1])] = (newest, *size)
        return json.dumps([rows[number] for number in sorted(rows)], separators=(",", ":"))

    def _size(self, epoch: int, place: Place) -> Size | None:
        if place not in self._sizes:
            with suppress(OSError), Image.open(self._file(epoch, place)) as image:
                self._sizes[place] = image.size
        return self._sizes.get(place)

    def _file(self, epoch: int, place: Place) -> Path:
        return self.folder / f"epoch{epoch:03d}_sample{place[0]}_{place[1]}.jpg"
