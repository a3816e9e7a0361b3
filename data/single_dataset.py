"""One folder of images, to be translated without a target."""

from argparse import Namespace
from typing import Any

from PIL import Image as Image

from data.base_dataset import BaseDataset, check_crop_fits, find_images, get_transform
from data.image_folder import make_dataset as make_dataset  # as Image, for other people's code
from data.pipeline.image_reader import ImageReader
from data.pipeline.jitter import Jitter
from data.pipeline.sides import Side, sides_of


class SingleDataset(BaseDataset):
    """Read `<dataroot>` itself."""

    reader = ImageReader()
    jitter = Jitter()
    side: Side | None = None

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        check_crop_fits(opt)
        self.A_paths = find_images(opt, opt.dataroot, f"{opt.dataroot}/*.jpg")
        self.reader = ImageReader.of(opt)
        self.side, _ = sides_of(opt, self.A_paths, self.A_paths)
        channels, value_range = self.side
        self.transform = get_transform(opt, grayscale=channels == 1, value_range=value_range)
        self.jitter = Jitter.of(opt)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `A` and `A_paths`."""
        path = self.A_paths[index]
        image = self.reader.read(path, self.transform, self.side)
        return {"A": self.jitter(image), "A_paths": path}

    def __len__(self) -> int:
        return len(self.A_paths)
