"""A store of generated images, from which a discriminator sees older ones too."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from util.processes import group


class ImagePool:
    """Keep up to `pool_size` generated images and mix them into what the discriminator sees.

    Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images through Adversarial
    Training", section 2.3; CycleGAN uses 50 images. Draws come from python's `random`.

    Processes that train together have one pool, into which the whole batch goes as in one process.
    An image stays in the process that made it, and travels when it is drawn for another one.

    Attributes:
        images: what is stored, each (1, C, H, W); (0, C, H, W) for what another process holds.
        holders: by their places in `images` which process holds them; the others are in all.
    """

    def __init__(self, pool_size: int) -> None:
        self.pool_size = pool_size
        self.num_imgs = 0
        self.images: list[Tensor] = []
        self.holders: dict[int, int] = {}

    def query(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Return a batch of the same shape (N, C, H, W), without gradient, part of it from before.

        While the pool fills, images are stored and returned. Once it is full, each image is
        with probability one half exchanged for a random stored one, else passed through.
        """
        if not isinstance(images, Tensor):  # a list of (C, H, W)
            images = torch.stack(list(images))
        if self.pool_size == 0:
            return images
        images = images.detach()
        makers = group.makers_of(len(images))
        own, none = iter(images.split(1)), images[:0]
        drawn = [
            self._exchange(next(own) if maker == group.rank() else none, maker) for maker in makers
        ]
        rows, holders = zip(*drawn, strict=True)
        mixed = group.handed_over(rows, holders, to=makers)
        return mixed if group.share().counts else images

    def _exchange(self, image: Tensor, maker: int) -> tuple[Tensor, int]:
        """Return an image and who holds it: the one that was made, or one from before."""
        if self.num_imgs < self.pool_size:
            self.holders[self.num_imgs] = maker
            self.num_imgs += 1
            self.images.append(image.clone())  # else its whole batch would stay in memory
            return image, maker
        if random.uniform(0, 1) <= 0.5:
            return image, maker
        index = random.randint(0, self.pool_size - 1)
        stored, self.images[index] = self.images[index], image.clone()
        holder, self.holders[index] = self.holders.get(index, maker), maker
        return stored, holder
