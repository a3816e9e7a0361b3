"""A fork's own pool of images: without a state, and without a list as long as it keeps nothing."""

import random

import torch


class ImagePool:
    """Keep some images, and return them at random."""

    def __init__(self, pool_size: int) -> None:
        self.pool_size = pool_size
        if self.pool_size > 0:
            self.num_imgs = 0
            self.images: list[torch.Tensor] = []

    def query(self, images: torch.Tensor) -> torch.Tensor:
        if self.pool_size == 0:
            return images
        chosen = []
        for image in images.detach():
            one = image[None]
            if self.num_imgs < self.pool_size:
                self.num_imgs += 1
                self.images.append(one)
                chosen.append(one)
            else:
                place = random.randrange(self.pool_size)
                chosen.append(self.images[place].clone())
                self.images[place] = one
        return torch.cat(chosen)
