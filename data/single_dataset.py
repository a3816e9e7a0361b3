"""One folder of pictures, to be translated without a target."""

from argparse import Namespace

from data.base_dataset import BuiltInDataset, check_crop_fits, find_pictures, get_transform
from data.pipeline.image_reader import ImageReader, Levels


class SingleDataset(BuiltInDataset):
    """Read `<dataroot>` itself."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        check_crop_fits(opt)
        self.A_paths = find_pictures(opt, opt.dataroot, f"{opt.dataroot}/*.jpg")
        self.reader = ImageReader(opt, len(self.A_paths))
        channels = opt.output_nc if opt.direction == "BtoA" else opt.input_nc
        self.transform = get_transform(opt, grayscale=channels == 1)

    def levels(self, index: int) -> Levels:
        """Return `A` and `A_paths`."""
        path = self.A_paths[index]
        return Levels.of(A=self.reader.read(path, self.transform), A_paths=path)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.A_paths)
