"""Which epoch was the best, by a metric that the user chose."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from util.base.errors import UserError, suggest
from util.base.log import say
from util.scores.images import metric_and_direction

KEPT = ("name", "value", "epoch", "since", "latest")  # in a training state


class BestEpoch:
    """Remember the best epoch, and tell when there has been no better one for too long.

    `wanted` is a metric's name, perhaps with `:min` or `:max`, or empty; after `patience`
    validations without a better one it is time to stop, with 0 never.
    """

    def __init__(self, wanted: str = "", patience: int = 0) -> None:
        self.name, direction = metric_and_direction(wanted)
        self.maximise = direction == "max"
        self.patience = patience
        self.value = -math.inf if self.maximise else math.inf
        self.epoch = 0  # that had this value, 0 if none
        self.since = 0  # validations after it
        self.latest: float | None = None  # what was measured last

    def check(self, known: Collection[str]) -> None:
        """Raise a UserError with the names that are known, if this metric is not among them."""
        if self.name and self.name not in known:
            hint = suggest(self.name, known)
            raise UserError(f"--save_best {self.name}: this model has no such metric. {hint}")

    def update(self, epoch: int, values: Mapping[str, float]) -> bool:
        """Take the values of one validation; tell whether this epoch is the best so far."""
        if not self.name:
            return False
        value = self.latest = values[self.name]
        better = value > self.value if self.maximise else value < self.value
        if better:
            self.value, self.epoch, self.since = value, epoch, 0
        else:
            self.since += 1
        return better

    def summary(self) -> str:
        """Say which epoch was the best."""
        return f"best {self.name} so far: {self.value:.4f} in epoch {self.epoch}"

    @property
    def should_stop(self) -> bool:
        """Tell whether training should stop."""
        return 0 < self.patience <= self.since

    def state_dict(self) -> dict[str, Any]:
        """Return the best so far."""
        return {name: getattr(self, name) for name in KEPT} | {"maximise": self.maximise}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved best; of another metric, or direction, it says nothing about this."""
        if state["name"] == self.name and state.get("maximise", self.maximise) == self.maximise:
            for name in KEPT:
                setattr(self, name, state[name])
        elif self.name:
            wish = f"the {'highest' if self.maximise else 'lowest'} {self.name}"
            say(
                f"--save_best: {wish} is not what the saved run went by. Its history begins now: "
                "the next epoch that is measured becomes the best one."
            )
