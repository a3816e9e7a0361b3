"""Options of test.py."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from options.base_options import BaseOptions
from options.parsing import rules, trained_run
from options.parsing.parser import OptionParser


class TestOptions(BaseOptions):
    """Options of test.py."""

    __test__ = False  # for pytest: not a test case
    isTrain = False

    def initialize(self, parser: ArgumentParser) -> ArgumentParser:
        """Add the options of testing, and change defaults."""
        super().initialize(parser)
        add = parser.add_argument_group("results").add_argument
        add("--results_dir", type=str, default="./results/", help="where results are saved")
        add("--aspect_ratio", type=float, default=1.0, help="stretch results: 2 doubles the width")
        add("--phase", type=str, default="test", help="train, val or test: part of folder names")
        add("--eval", action="store_true", help="evaluation mode: no dropout, batch norm with the "
            "statistics of training")  # fmt: skip
        add("--num_test", type=int, default=50, help="how many images to translate")
        parser.set_defaults(model="test", seed=0)  # two tests give the same images
        parser.set_defaults(load_size=parser.get_default("crop_size"))  # no random crop
        return parser

    def problems(self, opt: Namespace) -> Iterator[str]:
        """Yield one message for each value that cannot work."""
        yield from super().problems(opt)
        yield from rules.test_problems(opt)

    def adapt(self, opt: Namespace, given: frozenset[str]) -> None:
        """Let `load_size` follow a given `crop_size`: otherwise results are cropped at random."""
        if "crop_size" in given and "load_size" not in given:
            opt.load_size = opt.crop_size

    def recover(self, opt: Namespace, given: frozenset[str]) -> None:
        """Take over what decides the network from the run that trained it."""
        if isinstance(self.parser, OptionParser):
            trained_run.recover(opt, given, self.parser, self.plugin_options)
