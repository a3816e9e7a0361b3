"""Pairs of images: side by side in one file, or in two folders."""

import os
from argparse import Namespace
from typing import Any

from PIL import Image as Image

from data.base_dataset import (
    LAYOUTS,
    ONE_FOLDER,
    BaseDataset,
    check_crop_fits,
    find_images,
    folders_of,
    get_params,
    get_transform,
    layout_of,
    list_for,
)
from data.image_folder import make_dataset as make_dataset  # as Image, for other people's code
from data.pipeline.image_reader import ImageReader
from data.pipeline.jitter import Jitter
from data.pipeline.pairs import find_pairs, listed_pairs
from data.pipeline.sides import sides_of


class AlignedDataset(BaseDataset):
    """Read pairs: A in the left half and B in the right half of every file in `<dataroot>/<phase>`.

    Or of two folders, `A/<phase>` and `B/<phase>` or `<phase>A` and `<phase>B`, in which the images
    of a pair have the same name. Or of a list, `<dataroot>` itself or `<dataroot>/<phase>.txt`,
    with such a file on each line, or A and B with a tab in between.
    """

    reader = ImageReader()
    jitter = Jitter()

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.dir_AB = os.path.join(opt.dataroot, opt.phase)
        self._partners: dict[str, str] = {}  # the files of B, unless those of A hold both
        layout = layout_of(opt.dataroot, opt.phase, LAYOUTS["aligned"])
        if file := list_for(opt, self.dir_AB):
            self._partners = listed_pairs(opt, file)
        elif layout not in (None, ONE_FOLDER):
            self._partners = find_pairs(opt, *folders_of(opt.dataroot, opt.phase, layout))
        if self._partners:
            self.AB_paths, self.B_paths = map(list, zip(*self._partners.items(), strict=True))
        else:
            self.AB_paths = find_images(opt, self.dir_AB, layout_text(opt))
        check_crop_fits(opt)
        self.reader = ImageReader.of(opt)
        B_paths = [self._partners.get(path, path) for path in self.AB_paths]
        self.side_A, self.side_B = sides_of(opt, self.AB_paths, B_paths)
        self.input_nc, self.output_nc = self.side_A.channels, self.side_B.channels
        self.jitter = Jitter.of(opt)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `A` and `B`, cropped and flipped alike, and their paths."""
        path_A = self.AB_paths[index]
        path_B = self._partners.get(path_A)
        left, right = self.reader.open_pair(path_A, path_B, self.side_A, self.side_B)
        params = get_params(self.opt, left.size)
        A, B = (
            image.transformed(
                get_transform(self.opt, params, side.channels == 1, value_range=side.value_range)
            )
            for image, side in ((left, self.side_A), (right, self.side_B))
        )
        A, B = self.jitter.pair(A, B)
        return {"A": A, "B": B, "A_paths": path_A, "B_paths": path_B or path_A}

    def __len__(self) -> int:
        return len(self.AB_paths)


def layout_text(opt: Namespace) -> str:
    """Say where this data set looks for images."""
    root, phase = opt.dataroot, opt.phase
    return (
        f"{root}/{phase}/*.jpg   each with A in its left half and B in its right half\n"
        f"or pairs of the same name in {root}/A/{phase} and {root}/B/{phase}\n"
        f"or {root}/{phase}.txt   a list of either"
    )
