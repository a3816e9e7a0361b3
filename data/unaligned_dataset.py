"""Two folders of pictures that do not belong together one by one."""

import os
import random
from argparse import Namespace
from typing import Any

from data.base_dataset import BaseDataset, check_not_empty, get_transform
from data.image_folder import default_loader, make_dataset


class UnalignedDataset(BaseDataset):
    """Read `<dataroot>/<phase>A` and `<dataroot>/<phase>B`, for example trainA and trainB.

    The larger side decides the length. `--serial_batches` walks through both sides, otherwise
    each A meets a random B.
    """

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.dir_A = os.path.join(opt.dataroot, f"{opt.phase}A")
        self.dir_B = os.path.join(opt.dataroot, f"{opt.phase}B")
        self.A_paths = make_dataset(self.dir_A, opt.max_dataset_size)
        self.B_paths = make_dataset(self.dir_B, opt.max_dataset_size)
        check_not_empty(self.A_paths, self.dir_A)
        check_not_empty(self.B_paths, self.dir_B)
        self.A_size = len(self.A_paths)
        self.B_size = len(self.B_paths)
        swap = opt.direction == "BtoA"
        channels_A = opt.output_nc if swap else opt.input_nc
        channels_B = opt.input_nc if swap else opt.output_nc
        self.transform_A = get_transform(opt, grayscale=channels_A == 1)
        self.transform_B = get_transform(opt, grayscale=channels_B == 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `A` and `B` (C, H, W) in [-1, 1], and their paths."""
        A_path = self.A_paths[index % self.A_size]
        if self.opt.serial_batches:
            index_B = index % self.B_size
        else:
            index_B = random.randint(0, self.B_size - 1)
        B_path = self.B_paths[index_B]
        A = self.transform_A(default_loader(A_path))
        B = self.transform_B(default_loader(B_path))
        return {"A": A, "B": B, "A_paths": A_path, "B_paths": B_path}

    def __len__(self) -> int:
        """Return the size of the larger side."""
        return max(self.A_size, self.B_size)
