"""What an epoch draws from the images: `--epoch_size` and `--balanced`."""

import os
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from util.base.log import say, warn
from util.base.new_options import new_option


class Drawing(NamedTuple):
    """How many images an epoch has, and whether small folders count as much as large ones."""

    epoch_size: int = 0  # 0: all that there are
    balanced: bool = False

    @classmethod
    def of(cls, opt: Namespace) -> Self:
        """Return what the options say, which are for training alone."""
        if not getattr(opt, "isTrain", False):
            return cls()
        return cls(new_option(opt, "epoch_size"), new_option(opt, "balanced"))

    def tell(self, images: int, files: Mapping[str, Sequence[str]]) -> None:
        """Say what comes of it with these lists of files."""
        if self.epoch_size:
            say(f"An epoch has {self.epoch_size:,} images, drawn from {images:,} (--epoch_size).")
        if self.balanced and is_balanced(files):
            warn("--balanced changes little: there is one folder, or two of one size.")

    def as_saved(self) -> dict[str, Any]:
        """Return what is not as usual: a run goes on inside an epoch only if it is the same."""
        return {name: value for name, value in self._asdict().items() if value}


ALL_ONCE = Drawing()


def weights_by_folder(paths: Sequence[str]) -> list[float]:
    """Return how likely each image is: as likely as all others of its folder together."""
    folders = [os.path.dirname(path) for path in paths]
    counts = Counter(folders)
    return [1 / (len(counts) * counts[folder]) for folder in folders]


def weights_of_items(paths: Sequence[str], items: int) -> list[float]:
    """Return how likely items are that go through a shorter list of images again and again."""
    weights = weights_by_folder(paths)
    whole, more = divmod(items, len(paths))
    return [weights[i % len(paths)] / (whole + (i % len(paths) < more)) for i in range(items)]


def is_balanced(files: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether lists of images are equally long, and each of a single folder."""
    lengths = {len(paths) for paths in files.values()}
    return len(lengths) < 2 and all(len(set(map(os.path.dirname, p))) < 2 for p in files.values())
