"""What training and test scripts call to show losses and images."""

import atexit
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import nan
from pathlib import Path
from typing import Any

from util.base.faces import PathText, also_called_as
from util.display.create import create_sinks, move_files, start_visdom
from util.display.reporter import Reporter
from util.display.sinks import LogStep
from util.display.sinks.visdom.connection import client_for_others
from util.display.sinks.wandb import active_run, log_to_active_run
from util.html import HTML
from util.images.writing import writer_in_use
from util.inference.result_files import ResultFiles
from util.inference.result_names import ResultNames
from util.storage.run_folder import RunFolder
from util.util import tensor2im

VisdomExceptionBase = ConnectionError  # for other people's code


class Visualizer:
    """Hand losses and images to the sinks that the options ask for.

    The calls are the reference's: train.py makes them, and a fork's training script can. What else
    there is to report (epochs, how training ended) reaches the sinks without them. A script for
    the original of 2025 calls `display_current_results(visuals, epoch, total_iters, save_result)`
    and `plot_current_losses(total_iters, losses)`.

    Attributes:
        sinks: where losses and images go; append your own, see util/display/sinks/base.py.
        web_dir, img_dir, log_name: where page, images and losses are; who sets them moves the next.
    """

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        self.name: str = opt.name
        self.win_size: int = opt.display_winsize
        self.display_id: int = getattr(opt, "display_id", -1)
        self.use_html: bool = opt.isTrain and not opt.no_html
        folder = RunFolder(opt.checkpoints_dir, opt.name)
        self.web_dir: str = PathText(folder.web)
        self.img_dir: str = PathText(folder.web_images)
        self.log_name: str = PathText(folder.loss_log)
        self.sinks = create_sinks(opt)
        self._reporter = Reporter(self.sinks)
        atexit.register(self._reporter.close)  # scripts of forks close nothing

        # What follows is for other people's code.
        self.ncols: int = getattr(opt, "display_ncols", 0)
        self.port: int = getattr(opt, "display_port", 0)
        self.use_wandb: bool = getattr(opt, "use_wandb", False)
        self.wandb_project_name: str = getattr(opt, "wandb_project_name", "")
        self.wandb_run = active_run() if self.use_wandb else None
        self.current_epoch = 0
        self.dataset_size = 0  # images in an epoch, 0 if nobody has said

    @property
    def saved(self) -> bool:
        """Have images of this epoch been shown already?"""
        return self._reporter.shown

    @saved.setter
    def saved(self, value: bool) -> None:
        self._reporter.shown = value

    @cached_property
    def vis(self) -> Any:
        """Visdom's client for windows of your own; the options say where its server is."""
        opt = self.opt
        return client_for_others(opt.display_server, opt.display_port, opt.display_env)

    def create_visdom_connections(self) -> None:
        """Start a visdom server, as `--start_visdom` does."""
        start_visdom(self.opt)

    def set_dataset_size(self, dataset_size: int) -> None:
        """Say how many images an epoch has, so that curves know how much of one is done."""
        self.dataset_size = dataset_size

    def reset(self) -> None:
        """Begin an epoch: its images have not been on the page yet."""
        self._reporter.begin_epoch()

    def _display_as_in_2025(
        self, visuals: Mapping[str, Any], epoch: int, total_iters: int, save_result: bool = False
    ) -> None:
        self._show(LogStep(epoch, total_images=total_iters), visuals, save_result)

    @also_called_as(_display_as_in_2025)
    def display_current_results(
        self, visuals: Mapping[str, Any], epoch: int, save_result: bool
    ) -> None:
        """Show images; the page takes the first ones of an epoch and those with `save_result`."""
        self._show(LogStep(epoch), visuals, save_result)

    def _show(self, when: LogStep, visuals: Mapping[str, Any], save_result: bool) -> None:
        self.current_epoch = when.epoch
        move_files(self.sinks, self.web_dir, self.img_dir, self.log_name)
        self._reporter.images(when, visuals, for_page=save_result)

    def _plot_as_in_2025(self, total_iters: int, losses: Mapping[str, float]) -> None:
        last = self._reporter.last  # printed just before, by the original's train.py
        fraction = last.images / self.dataset_size if self.dataset_size else 0.0
        when = LogStep(last.epoch, last.images, fraction, total_images=total_iters)
        self._plot(when, losses)

    @also_called_as(_plot_as_in_2025)
    def plot_current_losses(
        self, epoch: int, counter_ratio: float, losses: Mapping[str, float]
    ) -> None:
        """Add a point to the loss curves; `counter_ratio` is how much of the epoch is done."""
        self._plot(LogStep(epoch, fraction=counter_ratio), losses)

    def _plot(self, when: LogStep, losses: Mapping[str, float]) -> None:
        if not hasattr(self, "plot_data"):
            self.plot_data: dict[str, list[Any]] = {"X": [], "Y": [], "legend": list(losses)}
        self.plot_data["X"].append(when.epoch + when.fraction)
        self.plot_data["Y"].append([losses.get(name, nan) for name in self.plot_data["legend"]])
        self._reporter.plot_losses(when, losses)

    def print_current_losses(
        self, epoch: int, iters: int, losses: Mapping[str, float], t_comp: float, t_data: float
    ) -> None:
        """Print losses and write them down, with the seconds of computing per image and of loading.

        `iters` counts images of this epoch.
        """
        self.current_epoch = epoch
        move_files(self.sinks, self.web_dir, self.img_dir, self.log_name)
        when = LogStep(
            epoch, iters, out_of=self.dataset_size, compute_seconds=t_comp, load_seconds=t_data
        )
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
    two inputs have the same name, `webpage.result_files` what is written of more than 8 bits.
    `use_wandb` also logs them to the active run of wandb. Inside a `with ImageWriter()` block they
    are written later, else they are on the disk at the end.
    """
    # Not every fork's page has names and files.
    names = getattr(webpage, "names", None) or ResultNames()
    files = getattr(webpage, "result_files", None) or ResultFiles()
    name, folder = names.name(image_path[0]), Path(webpage.get_image_dir())
    with writer_in_use() as writer:
        written = [
            files.write(writer, folder, name, label, image, image_path[0], aspect_ratio)
            for label, image in visuals.items()
        ]
    webpage.add_header(name)
    shown = [file.shown for file in written]
    beside = [file.data for file in written if file.data != file.shown]
    has_room = hasattr(webpage, "add_files")  # not on every fork's page: there images lead to them
    links = shown if has_room else [file.data for file in written]
    webpage.add_images(shown, list(visuals), links, width=width)
    if beside and has_room:
        webpage.add_files(beside)
    if use_wandb:
        log_to_active_run({label: tensor2im(image) for label, image in visuals.items()})
