"""Colorization: pix2pix from lightness to colour."""

from argparse import ArgumentParser, Namespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.gan.options import builtin_option_problems
from models.pix2pix_model import Pix2PixModel
from util.images.color import lab2rgb
from util.images.ranges import WHITE, to_network

AB_RANGE = 110.0  # a and b are divided by this for the networks


class ColorizationModel(Pix2PixModel):
    """pix2pix whose input is L and whose output is ab; shows RGB images."""

    image_independent = True
    option_problems = staticmethod(builtin_option_problems)

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool = True) -> ArgumentParser:
        """Use the options of pix2pix, and colour images split into L and ab."""
        Pix2PixModel.modify_commandline_options(parser, is_train)
        parser.set_defaults(dataset_mode="colorization")
        return parser

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.visual_names = ["real_A", "real_B_rgb", "fake_B_rgb"]

    def lab2rgb(self, L: Tensor, AB: Tensor) -> NDArray[Any]:
        """Convert the first image of a batch to RGB, (H, W, 3) in [0, 255], floating point.

        `L` is (N, 1, H, W) in [-1, 1], `AB` (N, 2, H, W) in about [-1, 1].
        """
        lightness = ((L[0] + 1.0) * 50.0).float().cpu().numpy()
        colour = (AB[0] * AB_RANGE).float().cpu().numpy()
        lab = np.concatenate([lightness, colour]).transpose(1, 2, 0)
        return lab2rgb(lab) * WHITE

    def validation_pairs(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the images in RGB."""
        made, real = (
            to_network(
                torch.from_numpy(self.lab2rgb(self.real_A, colour) / WHITE).permute(2, 0, 1)[None]
            )
            for colour in (self.fake_B, self.real_B)
        )
        return {"": (made, real)}

    def validation_losses(self) -> dict[str, Tensor]:
        """Return the generator's loss, and the mean error of a and b in units of Lab."""
        ab = (self.fake_B - self.real_B).abs().mean() * AB_RANGE
        return super().validation_losses() | {"Lab_ab": ab}

    def compute_visuals(self) -> None:
        """Convert what went in and what came out to RGB."""
        self.real_B_rgb = self.lab2rgb(self.real_A, self.real_B.detach())
        self.fake_B_rgb = self.lab2rgb(self.real_A, self.fake_B.detach())
