"""Other colours in every epoch: `--jitter`."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from util.base.new_options import new_option


@dataclass(eq=False)
class Jitter:
    """Change colours at random, as torchvision's `ColorJitter` does; draws from torch's generator.

    Attributes:
        change: torchvision's transform of images in [0, 1]; None: colours stay.
        sides: the images of a pair that are changed: A, B or AB, which change alike.
    """

    change: Callable[[Tensor], Tensor] | None = None
    sides: str = "AB"

    @classmethod
    def of(cls, opt: Namespace) -> Self:
        """Return what the options say: of pairs the image that goes in, or both."""
        text = new_option(opt, "jitter")
        if not (text and getattr(opt, "isTrain", False)):
            return cls()
        # Here: it takes as long to import as torch, but must be there when workers are forked.
        from torchvision.transforms import ColorJitter

        source = "B" if opt.direction == "BtoA" else "A"
        sides = "AB" if new_option(opt, "jitter_both") else source
        return cls(ColorJitter(*strengths(text)), sides)

    def __call__(self, image: Tensor) -> Tensor:
        """Change one image (C, H, W) in [-1, 1]."""
        return image if self.change is None else self.change(image * 0.5 + 0.5) * 2 - 1

    def pair(self, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
        """Change the images of a pair: `sides` of them, with the same draws."""
        if self.change is None:
            return A, B
        before = torch.get_rng_state()
        A = self(A) if "A" in self.sides else A
        if self.sides == "AB":
            torch.set_rng_state(before)
        return A, self(B) if "B" in self.sides else B


def strengths(text: str) -> tuple[float, ...]:
    """Return the four numbers of `--jitter`.

    Raises:
        ValueError: the text has others.
    """
    numbers = tuple(map(float, text.split(",")))
    if len(numbers) != 4 or not all(0 <= number < 100 for number in numbers) or numbers[3] > 0.5:
        raise ValueError(text)
    return numbers
