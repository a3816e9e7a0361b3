"""The runs that can be shown: what the page must know of them, and their generators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from models import load_generator
from models.inference.generator import Generator
from models.inference.trained import DIRECTIONS, find_generator
from showing.drawings import Drawing, drawing_for
from showing.limits import Refused
from util.base.errors import UserError, in_words
from util.base.log import say
from util.base.system import is_out_of_memory
from util.images import png
from util.images.pixels import stored_of_array, stored_values
from util.images.writing import holds

SIDE = 256  # of images, where nothing tells how large they were in training


@dataclass(frozen=True)
class ShownRun:
    """A run on the page.

    Attributes:
        directions: in which it translates, the trained one first; "" if nobody knows.
        side: of the images in training.
        drawings: by direction, with what its input can be drawn; photographs cannot.
    """

    name: str
    directions: tuple[str, ...]
    side: int = SIDE
    drawings: Mapping[str, Drawing] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return what the page asks for."""
        drawings = {direction: found._asdict() for direction, found in self.drawings.items()}
        return {"name": self.name, "directions": list(self.directions), "side": self.side,
                "drawings": drawings}  # fmt: skip


class Runs:
    """Translate with any of the runs; one generator is in memory, that of the last image."""

    def __init__(
        self,
        shown: Sequence[ShownRun],
        checkpoints_dir: str,
        epoch: str,
        device: str | None,
        precision: str,
    ) -> None:
        self.shown = {run.name: run for run in shown}
        self._how: dict[str, Any] = {"checkpoints_dir": checkpoints_dir, "epoch": epoch}
        self._how |= {"device": device, "precision": precision}
        self._loaded: tuple[tuple[str, str], Generator] | None = None
        self._lock = Lock()  # whatever threads the server has

    def choose(self, name: str, direction: str) -> tuple[str, str]:
        """Return a run and a direction, by default the first ones.

        Raises:
            Refused: there is no such run, or it does not translate in that direction.
        """
        run = self.shown.get(name) if name else next(iter(self.shown.values()))
        if run is None:
            raise Refused(404, f"There is no run {name!r}. GET /runs lists them.")
        if direction and direction not in run.directions:
            known = " or ".join(filter(None, run.directions)) or "in an unknown direction"
            raise Refused(404, f"{run.name} does not translate {direction!r}, only {known}.")
        return run.name, direction or run.directions[0]

    def translate(self, image: Image.Image, name: str, direction: str) -> bytes:
        """Return the bytes of a PNG file of what a run makes of an image.

        Raises:
            Refused: the network cannot take the image, or there is no memory for it.
        """
        try:
            with self._lock:
                return _as_png(self._generator(name, direction).translate(image))
        except UserError as error:
            raise Refused(422, str(error)) from error
        except Exception as error:
            if is_out_of_memory(error):
                raise Refused(503, "Out of memory: give a smaller image.") from error
            raise

    def _generator(self, name: str, direction: str) -> Generator:
        wanted = name, direction
        if self._loaded is None or self._loaded[0] != wanted:
            self._loaded = None  # the memory is needed for the next one
            self._loaded = wanted, load_generator(name, direction=direction or None, **self._how)
        return self._loaded[1]


def find_runs(names: Sequence[str], checkpoints_dir: str, epoch: str) -> list[ShownRun]:
    """Return the named runs, or all below a folder that can be shown.

    Raises:
        UserError: a named one cannot, or there is none.
    """
    if names:
        return [_look_at(name, checkpoints_dir, epoch) for name in dict.fromkeys(names)]
    found = []
    folders = sorted(Path(checkpoints_dir).glob("*/"))
    for folder in folders:
        try:
            found.append(_look_at(folder.name, checkpoints_dir, epoch))
        except Exception as error:  # noqa: BLE001 - all others are shown
            say(f"{folder.name} is not shown: {in_words(error).splitlines()[0]}")
    if not found:
        raise UserError(f"{checkpoints_dir} has no run that can be shown. Give --checkpoints_dir.")
    return found


def _look_at(name: str, checkpoints_dir: str, epoch: str) -> ShownRun:
    trained = find_generator(name, checkpoints_dir, epoch, None)
    if not trained.file.is_file():
        raise UserError(f"{trained.file} does not exist. Train first, or give another --epoch.")
    trained.options()  # is it a generator at all?
    directions = [trained.direction]
    for other in DIRECTIONS:
        try:
            back = find_generator(name, checkpoints_dir, epoch, other)
        except UserError:  # it has one generator
            continue
        if other not in directions and trained.direction and back.file.is_file():
            directions.append(other)
    drawings = {way: drawing for way in directions if (drawing := drawing_for(trained.saved, way))}
    side = str(trained.saved.get("crop_size", ""))  # of other software as text
    return ShownRun(name, tuple(directions), int(side) if side.isdecimal() else SIDE, drawings)


def _as_png(made: Any) -> bytes:
    is_pillows = isinstance(made, Image.Image)
    stored = stored_values(made) if is_pillows else stored_of_array(made.transpose(2, 0, 1))
    if not holds("png", stored):
        kind = f"{len(stored)} x {str(stored.dtype).removeprefix('torch.')}"
        raise Refused(422, f"Pixels of the result are {kind}, which no PNG holds.")
    return png.encode_pixels(stored.permute(1, 2, 0).numpy())
