"""A data set to copy: how to bring your own images into the framework.

1. Copy this file to `data/NAME_dataset.py` and rename the class to `NameDataset`
   (for `my_photos_dataset.py`: `MyPhotosDataset`). There is nothing to register.
2. Change the functions below.
3. Use it: `python train.py --dataset_mode NAME --dataroot ... --model ...`

As it stands it makes pairs for learning to sharpen: B is an image, A the same image blurred.
Try it: `python train.py --dataset_mode template --model template --dataroot DIR` with images in
`DIR/train`.
"""

import os
from argparse import ArgumentParser, Namespace
from typing import Any

from PIL import ImageFilter

from data.base_dataset import BaseDataset, find_images, get_params, get_transform
from data.image_folder import default_loader


class TemplateDataset(BaseDataset):
    """Pairs of a blurred image (A) and the image itself (B)."""

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Add options of your own, and change defaults of existing ones.

        Called before the command line is parsed for good. `is_train` tells train.py from test.py,
        for options that only one of them needs. New options appear in `--help` and as
        `self.opt.NAME`.
        """
        del is_train  # this data set needs the same options for training and testing
        parser.add_argument(
            "--new_dataset_option", type=float, default=2.0, help="radius of the blur, in pixels"
        )
        if __name__ == "data.template_dataset":  # enough to try things out; a copy takes all
            parser.set_defaults(max_dataset_size=10)
        return parser

    def __init__(self, opt: Namespace) -> None:
        """Find the images; do not load them yet.

        `opt` holds all options. `opt.phase` is "train" or "test".
        """
        super().__init__(opt)  # sets self.opt and self.root (= opt.dataroot)
        folder = os.path.join(self.root, opt.phase)
        # All images below the folder, sorted, at most opt.max_dataset_size of them. The last
        # argument is shown to users who give another folder by mistake.
        self.image_paths = find_images(opt, folder, f"{folder}/*.jpg")

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Load one item: a number from 0 to len(self) - 1 in, a dictionary out.

        The training loop stacks the items into a batch and hands it to the model's `set_input`.
        What the keys are is between your data set and your model; the built-in models expect

            A, B              tensors (C, H, W) with values in [-1, 1]
            A_paths, B_paths  where they came from; used to name results

        Draw random numbers from python's `random`, numpy or torch as you like: they are seeded
        for you, in worker processes too.
        """
        path = self.image_paths[index]
        sharp = default_loader(path)  # a Pillow image, RGB
        blurred = sharp.filter(ImageFilter.GaussianBlur(self.opt.new_dataset_option))

        # --preprocess, --load_size, --crop_size and --no_flip in one object. Both images must
        # be cropped and flipped alike, so the random choice is made once and shared.
        params = get_params(self.opt, sharp.size)
        transform = get_transform(self.opt, params)
        return {"A": transform(blurred), "B": transform(sharp), "A_paths": path, "B_paths": path}

    def __len__(self) -> int:
        """Return the number of items in one epoch."""
        return len(self.image_paths)
