"""Where training stands: one small object that every periodic decision asks."""

from dataclasses import asdict, dataclass


@dataclass
class Progress:
    """Count epochs, images and steps; the training loop owns it."""

    epoch: int = 1  # the running one
    epoch_images: int = 0  # seen in this epoch (the reference's `epoch_iter`)
    total_images: int = 0  # seen since training began (the reference's `total_iters`)
    step: int = 0  # calls of `optimize_parameters` since training began
    images_here: int = 0  # of this epoch, seen by this process, for the speed
    _before: int = 0

    def advance(self, images: int) -> None:
        """Count one step over a batch of so many images."""
        self._before = self.total_images
        self.epoch_images += images
        self.total_images += images
        self.images_here += images
        self.step += 1

    def crossed(self, every: int) -> bool:
        """Tell whether the last step reached or passed a multiple of `every` images.

        With batches that do not divide `every`, comparing remainders would skip most events.
        """
        return self.total_images // every > self._before // every

    def next_epoch(self) -> None:
        """Go on to the following epoch."""
        self.epoch += 1
        self.epoch_images = self.images_here = 0

    def state_dict(self) -> dict[str, int]:
        """Return all counters."""
        return {name: value for name, value in asdict(self).items() if name != "images_here"}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from saved counters."""
        for name in self.state_dict():
            setattr(self, name, int(state.get(name, 0)))
        self.images_here = 0
