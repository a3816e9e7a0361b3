"""Which epoch was the best, by a metric that the user chose."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from util.base.errors import UserError, suggest
from util.base.log import say
from util.scores.images import metric_and_direction

KEPT = ("name", "value", "epoch", "since")  # in a training state


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
        # What the save `best` has, if it is better: a run may go on from before that epoch.
        self.kept: tuple[float, int] | None = None

    def check(self, known: Collection[str]) -> None:
        """Raise a UserError with the names that are known, if this metric is not among them."""
        if self.name and self.name not in known:
            hint = suggest(self.name, known)
            raise UserError(f"--save_best {self.name}: this model has no such metric. {hint}")

    def update(self, epoch: int, values: Mapping[str, float]) -> bool:
        """Take the values of one validation; tell whether to save this epoch as the best one."""
        if not self.name:
            return False
        value = values[self.name]
        if not self._is_better(value, self.value):
            self.since += 1
            return False
        self.value, self.epoch, self.since = value, epoch, 0
        if self.kept is not None and self._is_better(self.kept[0], value):
            return False
        self.kept = None
        return True

    def keep_better(self, saved: Mapping[str, Any]) -> bool:
        """Let the save `best`, which says this of itself, be as long as it is better than ours.

        When to stop does not depend on it. Returns whether it is better.
        """
        if self._is_of(saved) and self._is_better(saved["value"], self.value):
            self.kept = saved["value"], saved["epoch"]
        return self.kept is not None

    def _is_of(self, saved: Mapping[str, Any]) -> bool:
        """Tell whether a saved best is of this metric and direction."""
        return saved["name"] == self.name and saved.get("maximise", self.maximise) == self.maximise

    def _is_better(self, value: float, than: float) -> bool:
        return value > than if self.maximise else value < than

    @property
    def saved(self) -> tuple[float, int]:
        """Return value and epoch of what is saved as `best`."""
        return (self.value, self.epoch) if self.kept is None else self.kept

    def summary(self) -> str:
        """Say which epoch was the best."""
        value, epoch = self.saved
        return f"best {self.name} so far: {value:.4f} in epoch {epoch}"

    @property
    def should_stop(self) -> bool:
        """Tell whether training should stop."""
        return 0 < self.patience <= self.since

    def state_dict(self) -> dict[str, Any]:
        """Return the best so far."""
        return {name: getattr(self, name) for name in KEPT} | {"maximise": self.maximise}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved best; of another metric, or direction, it says nothing about this."""
        if self._is_of(state):
            for name in KEPT:
                setattr(self, name, state[name])
        elif self.name:
            wish = f"the {'highest' if self.maximise else 'lowest'} {self.name}"
            say(
                f"--save_best: {wish} is not what the saved run went by. Its history begins now: "
                "the next epoch that is measured becomes the best one."
            )
