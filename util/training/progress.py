"""Where training stands: one small object that every periodic decision asks."""

from dataclasses import asdict, dataclass


@dataclass
class Progress:
    """Count epochs, images and steps; the training loop owns it.

    Attributes:
        epoch: number of the running epoch, the first one is 1.
        epoch_images: images seen in this epoch (the reference's `epoch_iter`).
        total_images: images seen since training began (the reference's `total_iters`).
        step: calls of `optimize_parameters` since training began.
        images_here: images of this epoch that this process has trained on, for the speed.
    """

    epoch: int = 1
    epoch_images: int = 0
    total_images: int = 0
    step: int = 0
    images_here: int = 0
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
        state = asdict(self)
        del state["images_here"]
        return state

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from saved counters."""
        for name in self.state_dict():
            setattr(self, name, int(state.get(name, 0)))
        self.images_here = 0
