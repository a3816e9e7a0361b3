"""Data sets, found by name: `--dataset_mode NAME` uses `NameDataset` of `data/NAME_dataset.py`."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

import torch

from data.base_dataset import BaseDataset
from data.checks.files import warn_of_bad_images
from data.checks.unused import options_without_effect
from data.pipeline.drawing import Drawing
from data.pipeline.image_reader import ImageReader
from data.pipeline.loader import BatchLoader, files_of
from util.base.errors import UserError
from util.base.log import say, warn
from util.base.new_options import new_option
from util.base.plugins import find_plugin, own_method
from util.images.file_lists import folder_of


def find_dataset_using_name(dataset_name: str) -> type[BaseDataset]:
    """Return the class that the convention assigns to a name; a UserError if there is none."""
    return find_plugin(dataset_name, package="data", kind="dataset", base=BaseDataset)


def get_option_setter(dataset_name: str) -> Callable[[ArgumentParser, bool], ArgumentParser]:
    """Return the function by which a data set adds its options."""
    return find_dataset_using_name(dataset_name).modify_commandline_options


def create_dataset(opt: Namespace) -> "CustomDatasetDataLoader":
    """Create the data set that the options name, wrapped into a loader of batches."""
    return CustomDatasetDataLoader(opt).load_data()


def has_split(opt: Namespace, phase: str) -> bool:
    """Ask the class of the data set whether it has images of a phase."""
    ask = own_method(find_dataset_using_name(opt.dataset_mode), "has_split", arguments=2)
    answer = ask(opt, phase) if ask is not None else None
    return answer if isinstance(answer, bool) else BaseDataset.has_split(opt, phase)


def first_images(dataset: BaseDataset, opt: Namespace) -> BatchLoader:
    """Return the items of a data set one by one, to look at them again and again.

    Built-in data sets open them as `opt` says, as for a test. One of a plugin may take long to make
    or much memory: its own items are taken, random as they are unless they are seeded.
    """
    if isinstance(getattr(dataset, "reader", None), ImageReader):
        dataset = type(dataset)(opt)
    return BatchLoader(
        dataset, batch_size=1, shuffle=False, workers=0, most=len(dataset), skip_bad=False,
        root=folder_of(opt.dataroot), pin=False,
    )  # fmt: skip


class CustomDatasetDataLoader(BatchLoader):
    """Batches of the data set that the options name, see `BatchLoader`."""

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        dataset = find_dataset_using_name(opt.dataset_mode)(opt)
        name = type(dataset).__name__
        if len(dataset) == 0:
            raise UserError(
                f"{name} finds nothing in {opt.dataroot} for the phase {opt.phase}: its length is "
                "0. Check --dataroot, --phase and --dataset_mode."
            )
        say(f"dataset [{name}] was created")
        for option in options_without_effect(opt, dataset):
            warn(f"{name} reads its images by itself: {option} does nothing.")
        drawing = Drawing.of(opt)
        drawing.tell(len(dataset), files_of(dataset))
        super().__init__(
            dataset, batch_size=opt.batch_size, shuffle=not opt.serial_batches,
            workers=int(opt.num_threads), most=opt.max_dataset_size,
            skip_bad=new_option(opt, "skip_bad_images"), root=folder_of(opt.dataroot),
            pin=bool(getattr(opt, "gpu_ids", ())) and torch.cuda.is_available(),
            drawing=drawing,
        )  # fmt: skip

    def load_data(self) -> "CustomDatasetDataLoader":
        """Return itself, as the reference's loader does."""
        return self

    def warn_of_bad_images(self, *, if_pairs: str = "") -> None:
        """Say what a quick look at the images finds; takes a second at most.

        `if_pairs` says what to do if they hold A and B side by side, where nothing expects that.
        """
        warn_of_bad_images(files_of(self.dataset), self.opt, if_pairs=if_pairs)
