"""Colour images, split into lightness and colour."""

import os
from argparse import ArgumentParser, Namespace
from typing import Any

import numpy as np
import torch
from PIL import Image as Image
from torch import Tensor

from data.base_dataset import BaseDataset, check_crop_fits, find_images, get_transform
from data.image_folder import make_dataset as make_dataset  # as Image, for other people's code
from data.pipeline.image_reader import ImageReader
from data.pipeline.jitter import Jitter
from util.base.errors import UserError
from util.base.new_options import new_option
from util.images.color import rgb2lab


class ColorizationDataset(BaseDataset):
    """Read `<dataroot>/<phase>` and convert to CIE L*a*b*: A is the lightness, B the colour."""

    reader = ImageReader()

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """One channel goes in (L), two come out (ab)."""
        del is_train
        parser.set_defaults(input_nc=1, output_nc=2, direction="AtoB")
        return parser

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        check_crop_fits(opt)
        check_options(opt)
        self.dir = os.path.join(opt.dataroot, opt.phase)
        self.AB_paths = find_images(opt, self.dir, f"{self.dir}/*.jpg   in colour")
        self.reader = ImageReader.of(opt)
        self.transform = get_transform(opt, convert=False)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `A` = L/50 - 1 (1, H, W), `B` = ab/110 (2, H, W), and the path of both."""
        path = self.AB_paths[index]
        A, B = lightness_and_colour(self.reader.read(path, self.transform))
        return {"A": A, "B": B, "A_paths": path, "B_paths": path}

    def __len__(self) -> int:
        return len(self.AB_paths)


def check_options(opt: Namespace) -> None:
    """Raise a UserError for options that L and ab cannot be learnt with."""
    if (opt.input_nc, opt.output_nc, opt.direction) != (1, 2, "AtoB"):
        raise UserError(
            f"Colorization turns L into ab, so it needs --input_nc 1 --output_nc 2 --direction "
            f"AtoB, but got {opt.input_nc}, {opt.output_nc}, {opt.direction}. Leave these "
            "options out."
        )
    if Jitter.of(opt).change:
        raise UserError(
            f"--jitter {new_option(opt, 'jitter')} cannot be used for colorization, which "
            "learns colours as they are. Leave it out."
        )


def lightness_and_colour(image: Image.Image) -> tuple[Tensor, Tensor]:
    """Return L/50 - 1 (1, H, W) and ab/110 (2, H, W) of an RGB image."""
    lab = rgb2lab(np.asarray(image)).astype(np.float32)  # (H, W, 3)
    L, ab = torch.from_numpy(lab).permute(2, 0, 1).contiguous().split([1, 2])
    return L / 50.0 - 1.0, ab / 110.0
