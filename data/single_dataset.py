"""One folder of pictures, to be translated without a target."""

from argparse import Namespace
from typing import Any

from data.base_dataset import (
    BaseDataset,
    check_crop_fits,
    find_pictures,
    get_transform,
    load_picture,
)


class SingleDataset(BaseDataset):
    """Read `<dataroot>` itself."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        check_crop_fits(opt)
        self.A_paths = find_pictures(opt, opt.dataroot, f"{opt.dataroot}/*.jpg")
        channels = opt.output_nc if opt.direction == "BtoA" else opt.input_nc
        self.transform = get_transform(opt, grayscale=channels == 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `A` (C, H, W) in [-1, 1] and `A_paths`."""
        path = self.A_paths[index]
        return {"A": load_picture(path, self.transform), "A_paths": path}

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.A_paths)
