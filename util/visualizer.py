"""What training and test scripts call to show losses and images."""

import atexit
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from util.display.create import create_sinks
from util.display.reporter import Reporter
from util.display.sinks import LogStep
from util.display.sinks.wandb import log_to_active_run
from util.html import HTML
from util.images.writing import writer_in_use
from util.inference.result_names import ResultNames
from util.storage.run_folder import RunFolder
from util.util import tensor2im


class Visualizer:
    """Hand losses and images to the sinks that the options ask for.

    The calls are the reference's: train.py makes them, and a fork's training script can. What else
    there is to report (epochs, how training ended) reaches the sinks without them.
    """

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        self.name: str = opt.name
        self.win_size: int = opt.display_winsize
        self.display_id: int = getattr(opt, "display_id", -1)
        self.use_html: bool = opt.isTrain and not opt.no_html
        folder = RunFolder(opt.checkpoints_dir, opt.name)
        self.web_dir, self.img_dir = str(folder.web), str(folder.web_images)
        self.log_name = str(folder.loss_log)
        self.sinks = create_sinks(opt)  # append your own, see util/display/sinks/base.py
        self._reporter = Reporter(self.sinks)
        atexit.register(self._reporter.close)  # scripts of forks close nothing

    @property
    def saved(self) -> bool:
        """Have images of this epoch been shown already?"""
        return self._reporter.shown

    def reset(self) -> None:
        """Begin an epoch: its images have not been on the page yet."""
        self._reporter.begin_epoch()

    def display_current_results(
        self, visuals: Mapping[str, Any], epoch: int, save_result: bool
    ) -> None:
        """Show images; the page takes the first ones of an epoch and those with `save_result`."""
        self._reporter.images(LogStep(epoch), visuals, for_page=save_result)

    def plot_current_losses(
        self, epoch: int, counter_ratio: float, losses: Mapping[str, float]
    ) -> None:
        """Add a point to the loss curves; `counter_ratio` is how much of the epoch is done."""
        self._reporter.plot_losses(LogStep(epoch, fraction=counter_ratio), losses)

    def print_current_losses(
        self, epoch: int, iters: int, losses: Mapping[str, float], t_comp: float, t_data: float
    ) -> None:
        """Print losses and write them down, with the seconds of computing per image and of loading.

        `iters` counts images of this epoch.
        """
        when = LogStep(epoch, iters, compute_seconds=t_comp, load_seconds=t_data)
        self._reporter.print_losses(when, losses)


def save_images(
    webpage: HTML,
    visuals: Mapping[str, Any],
    image_path: Sequence[str],
    aspect_ratio: float = 1.0,
    width: int = 256,
    use_wandb: bool = False,
) -> None:
    """Write the images made from one input beside the page, and add them to it as a row.

    Files are called `<name of the input>_<label>.png`; `webpage.names` decides what happens when
    two inputs have the same name. `use_wandb` also logs them to the active run of wandb. Inside
    a `with ImageWriter()` block they are written later, else they are on the disk at the end.
    """
    names = getattr(webpage, "names", None) or ResultNames()  # not every fork's page has names
    name = names.name(image_path[0])
    images = {label: tensor2im(image) for label, image in visuals.items()}
    files = [f"{name}_{label}.png" for label in images]
    with writer_in_use() as writer:
        for file, image in zip(files, images.values(), strict=True):
            writer.write(image, Path(webpage.get_image_dir(), file), aspect_ratio)
    webpage.add_header(name)
    webpage.add_images(files, list(images), files, width=width)
    if use_wandb:
        log_to_active_run(images)
