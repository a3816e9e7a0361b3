"""The sink protocol, and the rule that a sink may fail but training may not."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from util.base.log import warn

ImageArray = NDArray[np.uint8]  # (H, W, C)
Overview = Mapping[str, Mapping[str, str]]  # names and texts, in sections


@dataclass(frozen=True)
class LogStep:
    """When something was observed.

    Attributes:
        epoch: number of the epoch, from 1.
        images: images seen in that epoch.
        fraction: share of the epoch that is done.
        compute_seconds: time per image of the last step.
        load_seconds: time the last step waited for its data.
        total_images: images seen since training began, None if nobody said.
    """

    epoch: int
    images: int = 0
    fraction: float = 0.0
    compute_seconds: float = 0.0
    load_seconds: float = 0.0
    total_images: int | None = None


class BestRecord(TypedDict):
    """The best epoch so far."""

    metric: str
    value: float | None
    epoch: int


class EpochRecord(TypedDict):
    """What one epoch brought; numbers that are not finite are null in the file.

    Attributes:
        epoch: its number, from 1.
        total_iters: images seen since the first epoch.
        lr: learning rate of each optimiser, by its attribute's name.
        seconds: how long training took, without validation.
        images_per_second: images trained in this time, by this process.
        memory_mib: most memory so far, of the GPU if there is one, else of the process.
        train: means of the losses over the epoch.
        val: metrics on the validation images, in epochs that were validated.
        val_images: how many there were.
        val_statistics: `batch` or `running`.
        val_seconds: how long it took.
        best: the best epoch so far, with `--save_best`.
    """

    epoch: int
    total_iters: int
    lr: dict[str, float]
    seconds: float
    images_per_second: float
    memory_mib: float
    train: dict[str, float]
    val: NotRequired[dict[str, float]]
    val_images: NotRequired[int]
    val_statistics: NotRequired[str]
    val_seconds: NotRequired[float]
    best: NotRequired[BestRecord]


class Sink:
    """A destination for what training reports: a subclass takes what it wants of it.

    When something is reported, train.py decides: losses every `--print_freq` images, images every
    `--display_freq`, each epoch at its end. The class says what of it is for the sink:

    Attributes:
        losses_as: which call of `Visualizer` its losses come with, `print` or `plot`.
        images_every: the option that says how often it takes images: `display_freq`,
            `update_html_freq` (and the first ones of each epoch), or none.
    """

    losses_as: Literal["print", "plot"] = "print"
    images_every: Literal["", "display_freq", "update_html_freq"] = ""

    def begin(self, overview: Overview) -> None:
        """Take what is known about the run before it begins: names and texts, in sections."""

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Take the losses of one moment."""

    def images(self, when: LogStep, images: Mapping[str, ImageArray]) -> None:
        """Take labelled images."""

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Take an epoch's numbers, and what was made of some validation images."""

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


_complained: "WeakSet[Any]" = WeakSet()


def deliver(sinks: Iterable[Any], call: Callable[[Any], None]) -> None:
    """Call every sink; one that fails is reported once and tried again at the next event."""
    for sink in sinks:
        try:
            call(sink)
        except Exception as error:  # noqa: BLE001 - whatever a display does, training goes on
            if sink not in _complained:
                _complained.add(sink)
                warn(f"{type(sink).__name__} failed ({error}); training goes on without it.")
