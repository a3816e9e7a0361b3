"""Pairs of images, each pair side by side in one file."""

import os
from argparse import Namespace

from data.base_dataset import (
    BuiltInDataset,
    check_crop_fits,
    find_images,
    fixed_steps,
    get_params,
    varying_steps,
)
from data.pipeline.image_reader import ImageReader, Levels, Unnormalized


class AlignedDataset(BuiltInDataset):
    """Read `<dataroot>/<phase>`: every file holds A in its left half and B in its right half."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.dir_AB = os.path.join(opt.dataroot, opt.phase)
        layout = f"{self.dir_AB}/*.jpg   each with A in its left half and B in its right half"
        self.AB_paths = find_images(opt, self.dir_AB, layout)
        check_crop_fits(opt)
        self.reader = ImageReader(opt, len(self.AB_paths))
        swap = opt.direction == "BtoA"
        self.input_nc = opt.output_nc if swap else opt.input_nc
        self.output_nc = opt.input_nc if swap else opt.output_nc

    def levels(self, index: int) -> Levels:
        """Return `A`, `B`, cropped and flipped alike, and their paths."""
        path = self.AB_paths[index]
        both = self.reader.open(path)
        A, size = both.fixed(fixed_steps(self.opt, grayscale=self.input_nc == 1), half=0)
        B, _ = both.fixed(fixed_steps(self.opt, grayscale=self.output_nc == 1), half=1)
        steps = varying_steps(self.opt, get_params(self.opt, size))
        return Levels.of(
            A=Unnormalized(both.varied(A, steps)),
            B=Unnormalized(both.varied(B, steps)),
            A_paths=path,
            B_paths=path,
        )

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.AB_paths)
