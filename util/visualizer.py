"""What training and test scripts call to show losses and pictures."""

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from util.html import HTML
from util.log import say
from util.sinks import Moment, Sink, deliver
from util.sinks.page import PageSink
from util.sinks.text import ConsoleSink, LossFileSink
from util.util import save_image, tensor2im


class Visualizer:
    """Hand losses and pictures to the sinks that the options ask for.

    The calls are the reference's, so a fork's training script works with it; what happens with
    the data is the sinks' business (see `util/sinks`).
    """

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        self.name: str = opt.name
        self.win_size: int = opt.display_winsize
        self.display_id: int = getattr(opt, "display_id", -1)
        self.use_html: bool = opt.isTrain and not opt.no_html
        self.saved = False  # has the page shown this epoch already?
        folder = os.path.join(opt.checkpoints_dir, opt.name)
        self.web_dir = os.path.join(folder, "web")
        self.img_dir = os.path.join(self.web_dir, "images")
        self.log_name = os.path.join(folder, "loss_log.txt")

        self.printers: list[Sink] = [ConsoleSink()]  # take part in print_current_losses
        self.plotters: list[Sink] = []  # take part in plot_current_losses
        self.page: PageSink | None = None
        if self.use_html:
            say(f"create web directory {self.web_dir}...")
            self.page = PageSink(self.web_dir, f"Experiment name = {self.name}", self.win_size)
        if opt.isTrain:
            os.makedirs(folder, exist_ok=True)
            self.printers.append(LossFileSink(self.log_name))

    def reset(self) -> None:
        """Begin an epoch: its pictures have not been on the page yet."""
        self.saved = False

    def display_current_results(
        self, visuals: Mapping[str, Any], epoch: int, save_result: bool
    ) -> None:
        """Show pictures; the page takes the first ones of an epoch and those with `save_result`."""
        if self.page is None or (self.saved and not save_result):
            return
        self.saved = True
        images = {label: tensor2im(image) for label, image in visuals.items()}
        deliver([self.page], lambda sink: sink.images(Moment(epoch), images))

    def plot_current_losses(
        self, epoch: int, counter_ratio: float, losses: Mapping[str, float]
    ) -> None:
        """Add a point to the loss curves; `counter_ratio` is how much of the epoch is done."""
        when = Moment(epoch, fraction=counter_ratio)
        deliver(self.plotters, lambda sink: sink.scalars(when, losses))

    def print_current_losses(
        self, epoch: int, iters: int, losses: Mapping[str, float], t_comp: float, t_data: float
    ) -> None:
        """Print losses and append them to `loss_log.txt`.

        `iters` counts images of this epoch; `t_comp` is the computing time per image, `t_data`
        the time spent waiting for the data, both in seconds.
        """
        when = Moment(epoch, iters, compute_seconds=t_comp, load_seconds=t_data)
        deliver(self.printers, lambda sink: sink.scalars(when, losses))

    def close(self) -> None:
        """Let every sink finish."""
        pages = [self.page] if self.page else []
        deliver([*self.printers, *self.plotters, *pages], lambda sink: sink.close())


def save_images(
    webpage: HTML,
    visuals: Mapping[str, Any],
    image_path: Sequence[str],
    aspect_ratio: float = 1.0,
    width: int = 256,
    use_wandb: bool = False,
) -> None:
    """Write the pictures made from one input beside the page, and add them to it as a row.

    Files are called `<name of the input>_<label>.png`; `webpage.names` decides what happens when
    two inputs have the same name.
    """
    del use_wandb  # accepted as in the reference; nothing is sent anywhere yet
    name = webpage.names.name(image_path[0])
    webpage.add_header(name)
    files = []
    for label, image in visuals.items():
        files.append(f"{name}_{label}.png")
        target = Path(webpage.get_image_dir(), files[-1])
        target.parent.mkdir(parents=True, exist_ok=True)
        save_image(tensor2im(image), target, aspect_ratio)
    webpage.add_images(files, list(visuals), files, width=width)
