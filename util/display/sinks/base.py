"""The sink protocol, and the rule that a sink may fail but training may not."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, NotRequired, TypedDict
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from util.base.errors import UserError, in_words
from util.base.log import warn

ImageArray = NDArray[np.uint8]  # (H, W, C)
Overview = Mapping[str, Mapping[str, str]]  # names and texts, in sections
WHOLE_EPOCH = 2**31  # more images than any epoch has: the moment after its last step


@dataclass(frozen=True)
class LogStep:
    """When something was observed."""

    epoch: int  # from 1
    images: int = 0  # seen in that epoch,
    out_of: int = field(default=0, kw_only=True)  # so many; 0 if nobody said
    fraction: float = 0.0  # of the epoch that is done
    compute_seconds: float = 0.0  # per image, of the last step
    load_seconds: float = 0.0  # that the last step waited for its data
    total_images: int | None = None  # seen since training began, None if nobody said


class BestRecord(TypedDict):
    """The best epoch so far."""

    metric: str
    value: float | None
    epoch: int


class EpochRecord(TypedDict):
    """What one epoch brought; numbers that are not finite are null in the file."""

    epoch: int  # from 1
    total_iters: int  # images seen since the first epoch
    lr: dict[str, float]  # of each optimiser, by its attribute's name
    seconds: float  # of training, without validation
    images_per_second: float  # trained in this time, by this process
    memory_mib: float  # most memory so far, of the GPU if there is one, else of the process
    train: dict[str, float]  # means of the losses over the epoch
    val: NotRequired[dict[str, float]]  # metrics on the validation images, if validated
    val_images: NotRequired[int]
    val_statistics: NotRequired[str]  # `batch` or `running`
    val_seconds: NotRequired[float]
    best: NotRequired[BestRecord]  # with `--save_best`


class Sink:
    """A destination for what training reports: a subclass takes what it wants of it.

    When something is reported, train.py decides: losses every `--print_freq` images, images every
    `--display_freq`, each epoch at its end. The class says what of it is for the sink.
    """

    # Which call of `Visualizer` its losses come with.
    losses_as: Literal["print", "plot"] = "print"
    # The option that says how often it takes images; the page takes an epoch's first ones too.
    images_every: Literal["", "display_freq", "update_html_freq"] = ""

    def begin(self, overview: Overview) -> None:
        """Take what is known about the run before it begins."""

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Take the losses of one moment."""

    def images(self, when: LogStep, images: Mapping[str, ImageArray]) -> None:
        """Take labelled images."""

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Take an epoch's numbers, and what was made of the images that are shown every time."""

    def state_dict(self) -> dict[str, Any]:
        """Return what must be known to go on with the same history."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""

    def go_on_after(self, when: LogStep) -> None:
        """Forget what was reported after this moment: the run goes on from there."""

    def finish(self, text: str) -> None:
        """Take the last words: what became of training, and below that how to continue."""

    def wait(self) -> None:
        """Return when all that was reported is where it belongs."""

    def close(self) -> None:
        """Send what is left and let go of files and connections."""


_complained: "WeakValueDictionary[int, Any]" = WeakValueDictionary()  # by id: not all have hashes


def deliver(sinks: Iterable[Any], call: Callable[[Any], None]) -> None:
    """Call every sink; one that fails is reported once and tried again at the next event."""
    for sink in sinks:
        try:
            call(sink)
        except Exception as error:  # noqa: BLE001 - whatever a display does, training goes on
            if id(sink) not in _complained:
                _complained[id(sink)] = sink
                name = type(sink).__name__
                warn(f"{name} failed, and training goes on without it: {in_words(error)}")


def import_for(option: str, needed: Mapping[str, str]) -> list[Any]:
    """Import modules of a package that only an option needs, with something that is in each."""
    package = next(iter(needed)).partition(".")[0]
    found: list[Any] = []
    try:
        found = [import_module(module) for module in needed]
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
    # A mere folder of that name imports as well, but nothing is in it.
    if not found or not all(map(hasattr, found, needed.values())):
        raise UserError(
            f"{option} needs the package {package}, which is not installed. Install it "
            f"(pip install {package}, or uv sync --extra {package}), or leave {option} out."
        )
    return found
