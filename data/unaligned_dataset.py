"""Two folders of images that do not belong together one by one."""

import os
import random
from argparse import Namespace
from itertools import accumulate
from typing import Any

from PIL import Image as Image

from data.base_dataset import BaseDataset, check_crop_fits, find_images, get_transform
from data.image_folder import make_dataset as make_dataset  # as Image, for other people's code
from data.pipeline.drawing import Drawing, weights_by_folder, weights_of_items
from data.pipeline.image_reader import ImageReader
from data.pipeline.jitter import Jitter
from data.pipeline.sides import Side, sides_of


class UnalignedDataset(BaseDataset):
    """Read `<dataroot>/<phase>A` and `<dataroot>/<phase>B`, for example trainA and trainB.

    The larger side decides the length. `--serial_batches` walks through both sides, otherwise
    each A meets a random B.
    """

    reader = ImageReader()
    jitter = Jitter()
    _is_balanced = False
    _drawn_B: list[float] = []  # sums of weights, for `random.choices`
    side_A: Side | None = None
    side_B: Side | None = None

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        check_crop_fits(opt)
        self.dir_A = os.path.join(opt.dataroot, f"{opt.phase}A")
        self.dir_B = os.path.join(opt.dataroot, f"{opt.phase}B")
        layout = f"{self.dir_A}/*.jpg   images of one domain\n{self.dir_B}/*.jpg   of the other"
        self.A_paths = find_images(opt, self.dir_A, layout)
        self.B_paths = find_images(opt, self.dir_B, layout)
        self.A_size = len(self.A_paths)
        self.B_size = len(self.B_paths)
        self.reader = ImageReader.of(opt)
        self.side_A, self.side_B = sides = sides_of(opt, self.A_paths, self.B_paths)
        self.transform_A, self.transform_B = (
            get_transform(opt, grayscale=side.channels == 1, value_range=side.value_range)
            for side in sides
        )
        self.jitter = Jitter.of(opt)
        self._is_balanced = Drawing.of(opt).balanced
        if self._is_balanced:
            self._drawn_B = list(accumulate(weights_by_folder(self.B_paths)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `A` and `B` and their paths."""
        A_path = self.A_paths[index % self.A_size]
        if self.opt.serial_batches:
            index_B = index % self.B_size
        elif self._drawn_B:
            (index_B,) = random.choices(range(self.B_size), cum_weights=self._drawn_B)
        else:
            index_B = random.randint(0, self.B_size - 1)
        B_path = self.B_paths[index_B]
        A = self.jitter(self.reader.read(A_path, self.transform_A, self.side_A))
        B = self.jitter(self.reader.read(B_path, self.transform_B, self.side_B))
        return {"A": A, "B": B, "A_paths": A_path, "B_paths": B_path}

    def sampling_weights(self) -> list[float]:
        """Return how likely each item is with `--balanced`, which brings each A alike."""
        return weights_of_items(self.A_paths, len(self)) if self._is_balanced else []

    def __len__(self) -> int:
        return max(self.A_size, self.B_size)
