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

    Processes that train together have one pool: each keeps all of it, and what the others generate
    goes through it as in one process.
    """

    def __init__(self, pool_size: int) -> None:
        self.pool_size = pool_size
        self.num_imgs = 0
        self.images: list[Tensor] = []  # each (1, C, H, W)

    def query(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Return a batch of the same shape (N, C, H, W), without gradient, part of it from before.

        While the pool fills, images are stored and returned. Once it is full, each image is
        with probability one half exchanged for a random stored one, else passed through.
        """
        if not isinstance(images, Tensor):  # a list of (C, H, W)
            images = torch.stack(list(images))
        if self.pool_size == 0:
            return images
        every = group.whole_batch(images.detach())
        mixed = torch.cat([self._exchange(image) for image in every.split(1)])
        return group.own_rows(mixed) if group.share().counts else images.detach()

    def _exchange(self, image: Tensor) -> Tensor:
        if self.num_imgs < self.pool_size:
            self.num_imgs += 1
            self.images.append(image.clone())  # else its whole batch would stay in memory
            return image
        if random.uniform(0, 1) <= 0.5:
            return image
        index = random.randint(0, self.pool_size - 1)
        stored, self.images[index] = self.images[index], image.clone()
        return stored
