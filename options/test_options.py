"""Options of test.py."""

from argparse import ArgumentParser

from options.base_options import BaseOptions
from util.base.new_options import NewOption
from util.images.writing import RESULT_FORMATS

EXAMPLES = """examples:
  python test.py --dataroot ./datasets/facades --name facades --model pix2pix
  python test.py --dataroot ./photos --name maps
The network's options (--netG, --norm, ...) are taken from the training run."""


class TestOptions(BaseOptions):
    """Options of test.py."""

    __test__ = False  # for pytest: not a test case
    isTrain = False

    def initialize(self, parser: ArgumentParser) -> ArgumentParser:
        """Add the options of testing, and change defaults."""
        super().initialize(parser)
        parser.description = EXAMPLES
        add = parser.add_argument_group("results").add_argument
        add("--results_dir", type=str, default="./results/", help="where results are saved")
        add("--aspect_ratio", type=float, default=1.0, help="stretch results: 2 doubles the width")
        add("--phase", type=str, default="test", help="train, val or test: part of folder names")
        add("--eval", action="store_true", help="evaluation mode: no dropout, batch norm with the "
            "statistics of training")  # fmt: skip
        add("--test_norm", action=NewOption, type=str, choices=("batch", "running"), help="where "
            "batch norm takes statistics: the image, or training; else as --eval says")  # fmt: skip
        add("--test_dropout", action=NewOption, type=str, choices=("on", "off"), help="whether "
            "dropout draws; else as --eval says")  # fmt: skip
        add("--visuals", action=NewOption, help="which images to save, in this order, for "
            "example fake_B,real_A; without it all that the model shows")  # fmt: skip
        add("--result_format", action=NewOption, type=str, choices=tuple(RESULT_FORMATS),
            help="what images are saved as; beside tif and npy a png for the page")  # fmt: skip
        add("--natural_order", action=NewOption, help="sort numbers in file names as numbers: "
            "frame2 before frame10")  # fmt: skip
        add("--animation", action=NewOption, choices=("gif", "webp", "mp4"), help="format of "
            "animations, of models that make some: gif, webp or mp4, which needs av")  # fmt: skip
        add("--num_test", type=int, default=50, help="how many images to translate; -1: all")
        add("--keep_size", action=NewOption, help="with --preprocess none: results as large as the "
            "images; those that the generator cannot take are padded")  # fmt: skip
        add("--tile", action=NewOption, help="compute ResNet generators in tiles of this side: "
            "less memory, the same result; 0: whole images")  # fmt: skip
        add("--overlap", action=NewOption, help="pixels around each tile to compute at least; "
            "more than 0 costs time and changes nothing")  # fmt: skip
        add("--large_pictures", action=NewOption, help="open images of more than 179 megapixels")
        parser.set_defaults(model="test")
        parser.set_defaults(load_size=parser.get_default("crop_size"))  # no random crop
        return parser
