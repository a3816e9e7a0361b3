"""One folder of images, to be translated without a target."""

from argparse import Namespace

from data.base_dataset import BuiltInDataset, check_crop_fits, find_images, get_transform
from data.pipeline.image_reader import ImageReader, Levels


class SingleDataset(BuiltInDataset):
    """Read `<dataroot>` itself."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        check_crop_fits(opt)
        self.A_paths = find_images(opt, opt.dataroot, f"{opt.dataroot}/*.jpg")
        self.reader = ImageReader(opt, len(self.A_paths))
        channels = opt.output_nc if opt.direction == "BtoA" else opt.input_nc
        self.transform = get_transform(opt, grayscale=channels == 1)

    def levels(self, index: int) -> Levels:
        """Return `A` and `A_paths`."""
        path = self.A_paths[index]
        return Levels.of(A=self.reader.read(path, self.transform), A_paths=path)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.A_paths)
