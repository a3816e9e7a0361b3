"""Pairs of pictures, each pair side by side in one file."""

import os
from argparse import Namespace
from typing import Any

from data.base_dataset import (
    BaseDataset,
    check_crop_fits,
    find_pictures,
    get_params,
    get_transform,
)
from data.image_folder import default_loader
from util.errors import UserError


class AlignedDataset(BaseDataset):
    """Read `<dataroot>/<phase>`: every file holds A in its left half and B in its right half."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.dir_AB = os.path.join(opt.dataroot, opt.phase)
        layout = f"{self.dir_AB}/*.jpg   each with A in its left half and B in its right half"
        self.AB_paths = find_pictures(opt, self.dir_AB, layout)
        check_crop_fits(opt)
        swap = opt.direction == "BtoA"
        self.input_nc = opt.output_nc if swap else opt.input_nc
        self.output_nc = opt.input_nc if swap else opt.output_nc

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `A`, `B` (C, H, W) in [-1, 1], cropped and flipped alike, and their paths."""
        path = self.AB_paths[index]
        both = default_loader(path)
        width, height = both.size
        if width < 2:
            raise UserError(f"{path} is 1 pixel wide: it cannot hold A and B side by side.")
        middle = width // 2
        A = both.crop((0, 0, middle, height))
        B = both.crop((middle, 0, width, height))

        params = get_params(self.opt, A.size)
        transform_A = get_transform(self.opt, params, grayscale=self.input_nc == 1)
        transform_B = get_transform(self.opt, params, grayscale=self.output_nc == 1)
        return {"A": transform_A(A), "B": transform_B(B), "A_paths": path, "B_paths": path}

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.AB_paths)
