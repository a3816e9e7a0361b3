"""Where training stands: one small object that every periodic decision asks."""

from dataclasses import dataclass, field

SAVED = ("epoch", "epoch_images", "epoch_steps", "total_images", "step", "_before")


@dataclass
class Progress:
    """Count epochs, images and steps; the training loop owns it.

    As in the reference every batch counts as a whole one. The last one of a pass over the data may
    be smaller: what is measured by images goes by `step_images` and `images_here`.
    """

    epoch: int = 1  # the running one
    epoch_images: int = 0  # seen in this epoch (the reference's `epoch_iter`)
    epoch_steps: int = 0  # taken in this epoch
    total_images: int = 0  # seen since training began (the reference's `total_iters`)
    step: int = 0  # calls of `optimize_parameters` since training began
    _before: int = 0
    step_images: int = field(default=0, compare=False)  # in the last batch
    images_here: int = field(default=0, compare=False)  # that this process has trained on

    def advance(self, images: int, there_are: int | None = None) -> None:
        """Count one step over a batch of so many images; a smaller one says how many there are."""
        self._before = self.total_images
        self.step_images = images if there_are is None else there_are
        self.images_here += self.step_images
        self.epoch_images += images
        self.total_images += images
        self.epoch_steps += 1
        self.step += 1

    def crossed(self, every: int) -> bool:
        """Tell whether the last step reached or passed a multiple of `every` images.

        With batches that do not divide `every`, comparing remainders would skip most events.
        """
        return self.total_images // every > self._before // every

    def next_epoch(self) -> None:
        """Go on to the following epoch."""
        self.begin(self.epoch + 1)

    def begin(self, epoch: int) -> None:
        """Go to the beginning of an epoch."""
        self.epoch, self.epoch_images, self.epoch_steps = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """Return all counters."""
        return {name: getattr(self, name) for name in SAVED}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from saved counters."""
        for name in SAVED:
            setattr(self, name, int(state.get(name, 0)))
