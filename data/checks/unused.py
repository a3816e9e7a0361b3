"""Options that a data set does not heed, because it sees to its images by itself."""

from argparse import Namespace
from collections.abc import Iterator

from data.base_dataset import BaseDataset
from data.pipeline.jitter import Jitter
from data.pipeline.loader import BUILT_IN, files_of
from data.pipeline.sides import Side
from util.base.new_options import new_option
from util.images.file_lists import natural


def options_without_effect(opt: Namespace, dataset: BaseDataset) -> Iterator[str]:
    """Yield what was given and changes nothing with this data set."""
    cache, jitter = new_option(opt, "cache"), new_option(opt, "jitter")
    if cache != "none" and not hasattr(dataset, "reader"):
        yield f"--cache {cache}"
    if jitter and not isinstance(getattr(dataset, "jitter", None), Jitter):
        yield f"--jitter {jitter}"
    sides = (getattr(dataset, name, None) for name in ("side", "side_A"))
    is_built_in, ranges = type(dataset).__module__ in BUILT_IN, new_option(opt, "value_range")
    if ranges and is_built_in and not any(isinstance(side, Side) for side in sides):
        yield f"--value_range {' '.join(ranges)}"
    if new_option(opt, "natural_order") and not is_built_in:
        lists = files_of(dataset).values()
        if any(paths != sorted(paths, key=natural) for paths in lists):
            yield "--natural_order"
