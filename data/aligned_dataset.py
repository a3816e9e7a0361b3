"""Pairs of images, each pair side by side in one file."""

import os
from argparse import Namespace
from typing import Any

from PIL import Image as Image

from data.base_dataset import (
    BaseDataset,
    channels_of_sides,
    check_crop_fits,
    find_images,
    get_params,
    get_transform,
)
from data.image_folder import make_dataset as make_dataset  # as Image, for other people's code
from data.pipeline.image_reader import ImageReader


class AlignedDataset(BaseDataset):
    """Read `<dataroot>/<phase>`: every file holds A in its left half and B in its right half."""

    reader = ImageReader()

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.dir_AB = os.path.join(opt.dataroot, opt.phase)
        layout = f"{self.dir_AB}/*.jpg   each with A in its left half and B in its right half"
        self.AB_paths = find_images(opt, self.dir_AB, layout)
        check_crop_fits(opt)
        self.reader = ImageReader.of(opt)
        self.input_nc, self.output_nc = channels_of_sides(opt)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `A` and `B`, cropped and flipped alike, and their paths."""
        path = self.AB_paths[index]
        left, right = self.reader.open(path).halves()
        params = get_params(self.opt, left.size)
        transform_A = get_transform(self.opt, params, grayscale=self.input_nc == 1)
        transform_B = get_transform(self.opt, params, grayscale=self.output_nc == 1)
        A, B = left.transformed(transform_A), right.transformed(transform_B)
        return {"A": A, "B": B, "A_paths": path, "B_paths": path}

    def __len__(self) -> int:
        return len(self.AB_paths)
