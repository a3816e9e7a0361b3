"""Notice when training goes wrong: numbers that are not finite, networks that have given up."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from util.base.errors import UserError
from util.base.log import warn
from util.images.ranges import ONE_LEVEL
from util.processes import group
from util.training.asked import TrainedModel
from util.training.meters import LossMeter
from util.training.progress import Progress
from util.training.saver import Saver

RECENT_STEPS = 1000  # whose images are remembered; more are never between two checks in practice
SHOWN_IMAGES = 4
MOST_ROLLBACKS = 3
ZERO = 1e-3
PRINTS_AT_ZERO = 10


class NonFiniteError(UserError):
    """Losses or weights that are infinite or nan: in all processes, and the first one says it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.is_said = group.rank() > 0


class NonFiniteDetector:
    """Remember the first step whose losses were not finite, on the device, and tell when asked."""

    def __init__(self, trained: TrainedModel) -> None:
        self.trained = trained
        self._first_bad: Tensor | None = None  # the step's number, -1: none
        self._recent: deque[tuple[int, list[str]]] = deque(maxlen=RECENT_STEPS)

    def after_step(self, progress: Progress, losses: Tensor) -> None:
        """Look at the losses (any shape) of the step just taken; does not wait for the device."""
        paths = [str(path) for path in self.trained.model.get_image_paths()]
        self._recent.append((progress.step, paths))
        if self._first_bad is None:
            self._first_bad = torch.full((), -1, device=losses.device)
        good = losses.isfinite().all() | (self._first_bad >= 0)
        self._first_bad = torch.where(good, self._first_bad, progress.step)

    def check(self, progress: Progress) -> None:
        """Raise a NonFiniteError if losses were not finite; waits for the device."""
        step = -1 if self._first_bad is None else int(self._first_bad)
        if step >= 0:
            losses = self.trained.current_losses().items()
            listed = ", ".join(f"{name} {value:.3g}" for name, value in losses)
            problem = f"The losses are no longer finite since step {step} ({listed} now)"
            images = self._images_up_to(step)
            self.reset()
            raise NonFiniteError(_message(problem, progress, _of_all(images)))
        self._recent.clear()

    def check_weights(self, progress: Progress) -> None:
        """Raise a NonFiniteError if losses or weights, which are to be saved, are not finite."""
        recent = self._images_up_to(progress.step)
        self.check(progress)
        if broken := self.trained.broken_networks():
            problem = f"The weights of {', '.join(broken)} are no longer finite"
            raise NonFiniteError(_message(problem, progress, _of_all(recent)))

    def reset(self) -> None:
        """Forget what was seen, after going back to good weights."""
        self._first_bad = None
        self._recent.clear()

    def _images_up_to(self, step: int) -> list[list[str]]:
        return [paths for number, paths in self._recent if number <= step][-SHOWN_IMAGES:]


def _of_all(images: list[list[str]]) -> list[str]:
    """Return the last images of all processes, each of which gives its own by steps."""
    steps = zip(*group.gathered(images), strict=True)
    seen = dict.fromkeys(path for processes in steps for paths in processes for path in paths)
    return [*seen][-SHOWN_IMAGES:]


def _message(problem: str, progress: Progress, images: Sequence[str]) -> str:
    recent = "".join(f"\n    {path}" for path in images)
    return (
        f"{problem}: epoch {progress.epoch}, image {progress.epoch_images} "
        f"({progress.total_images} in all). The bad state was not saved.\n"
        + (f"  Last images up to then:{recent}\n" if recent else "")
        + "  Usual causes: a learning rate or first weights that are too large (--lr, "
        "--init_gain), images of one colour. --on_nan rollback goes back to the last save and on "
        "with other images."
    )


@dataclass
class HealthMonitor:
    """Stop training, or go back to the last save, before a bad state is saved."""

    trained: TrainedModel
    saver: Saver
    progress: Progress
    losses: LossMeter  # begin anew after going back, since the bad numbers are in them
    on_nan: str  # `stop` or `rollback`
    steps: int = 0  # that this process has taken

    def __post_init__(self) -> None:
        self.hints = StuckTrainingHints()
        self._detector = NonFiniteDetector(self.trained)
        self._rollbacks: Counter[int] = Counter()  # by the save that was gone back to

    def after_step(self, losses: Tensor) -> None:
        """Look at the losses of the step just taken; does not wait for the device."""
        self.steps += 1
        self._detector.after_step(self.progress, losses)

    def losses_are_fine(self) -> bool:
        """Tell whether all losses since the last check were finite; if not, go back or raise."""
        return self._is_fine(self._detector.check)

    def weights_are_fine(self) -> bool:
        """Tell the same of losses and weights."""
        return self._is_fine(self._detector.check_weights)

    def _is_fine(self, check: Callable[[Progress], None]) -> bool:
        try:
            check(self.progress)
        except NonFiniteError as error:
            if self.on_nan != "rollback":
                raise
            self._roll_back(error)
            return False
        return True

    @property
    def has_gone_back(self) -> bool:
        """Tell whether training went back to a save: means of losses began anew then."""
        return bool(self._rollbacks)

    def _roll_back(self, error: NonFiniteError) -> None:
        self._rollbacks[self.saver.saves] += 1
        problem = None
        if self.saver.last_label is None:
            problem = "no save to go back to."
        elif self._rollbacks[self.saver.saves] > MOST_ROLLBACKS:
            problem = f"it went wrong {MOST_ROLLBACKS} times after the same save."
        if problem is not None:
            raise NonFiniteError(f"{error}\n  Going back does not help: {problem}") from error
        warn(str(error))
        self.saver.roll_back()
        self.losses.reset()
        self._detector.reset()


class StuckTrainingHints:
    """Say once what a loss or an image means that shows training has got stuck."""

    def __init__(self) -> None:
        self._at_zero: Counter[str] = Counter()  # by loss, prints in a row
        self._said: set[str] = set()

    def advise_on_losses(self, losses: Mapping[str, float]) -> None:
        """Look at losses that are printed."""
        for name, value in losses.items():
            self._at_zero[name] = self._at_zero[name] + 1 if abs(value) < ZERO else 0
            if name.startswith("D") and self._at_zero[name] == PRINTS_AT_ZERO:
                self._say_once(
                    name,
                    f"{name} has been 0.000 {PRINTS_AT_ZERO} times in a row: the discriminator "
                    "tells every image apart, and the generator learns little from it. Try "
                    "--gan_mode lsgan, a smaller --ndf or more images.",
                )

    def advise_on_images(self, visuals: Mapping[str, Any]) -> None:
        """Look at images that are shown: tensors (N, C, H, W) in [-1, 1]; others are left out."""
        for name, image in visuals.items():
            made = name.startswith(("fake", "output"))
            if not made or not isinstance(image, Tensor) or image[0, 0].numel() < 2:
                continue
            lowest, highest = image.detach().float().flatten(2).aminmax(dim=-1)
            if bool((highest - lowest < ONE_LEVEL).all()):
                self._say_once(
                    name,
                    f"{name} is of one colour: the generator has collapsed, or has hardly begun. "
                    "If it stays so, start anew with a lower --lr or another --norm.",
                )

    def advise_on_schedule(self, lr_policy: str) -> None:
        """Look at the schedule of a model that has no `loss_G`."""
        if lr_policy == "plateau":
            self._say_once(
                lr_policy,
                "--lr_policy plateau follows loss_G, which this model does not set: learning rates "
                "stay as they are. Let the model set it, or give --save_best METRIC to follow.",
            )

    def _say_once(self, key: str, text: str) -> None:
        if key not in self._said:
            self._said.add(key)
            warn(text)
