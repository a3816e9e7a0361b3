"""A fork's own visualizer: the original's calls, and nothing else."""

import os
import sys
from typing import Any

from . import html, util


def save_images(
    webpage: Any,
    visuals: Any,
    image_path: Any,
    aspect_ratio: float = 1.0,
    width: int = 256,
    use_wandb: bool = False,
) -> None:
    """Write the images of one input, and add them to the page."""
    del use_wandb
    name = os.path.splitext(os.path.basename(image_path[0]))[0]
    files, labels = [], []
    webpage.add_header(f"fork {name}")
    for label, image in visuals.items():
        file = f"{name}_{label}.png"
        path = os.path.join(webpage.get_image_dir(), file)
        util.save_image(util.tensor2im(image), path, aspect_ratio=aspect_ratio)
        files.append(file)
        labels.append(label)
    webpage.add_images(files, labels, files, width=width)


class Visualizer:
    """Prints, logs, and writes a page."""

    def __init__(self, opt: Any) -> None:
        self.opt = opt
        self.display_id = opt.display_id
        self.name = opt.name
        self.saved = False
        self.folder = os.path.join(opt.checkpoints_dir, opt.name)
        self.log_name = os.path.join(self.folder, "loss_log.txt")
        util.mkdirs([os.path.join(self.folder, "web"), os.path.join(self.folder, "web", "images")])

    def reset(self) -> None:
        self.saved = False

    def display_current_results(self, visuals: Any, epoch: int, save_result: bool) -> None:
        if not save_result and self.saved:
            return
        self.saved = True
        webpage = html.HTML(os.path.join(self.folder, "web"), f"fork {self.name}", refresh=1)
        webpage.add_header(f"fork epoch {epoch}")
        files = []
        for label, image in visuals.items():
            file = f"epoch{epoch:03d}_{label}.png"
            util.save_image(util.tensor2im(image), os.path.join(webpage.get_image_dir(), file))
            files.append(file)
        webpage.add_images(files, list(visuals), files, width=self.opt.display_winsize)
        webpage.save()

    def plot_current_losses(self, epoch: int, counter_ratio: float, losses: Any) -> None:
        self._write(f"fork plots {epoch} {counter_ratio:.2f} {len(losses)}")

    def print_current_losses(
        self, epoch: int, iters: int, losses: Any, t_comp: float, t_data: float
    ) -> None:
        numbers = " ".join(f"{name}: {value:.3f}" for name, value in losses.items())
        self._write(f"fork prints {epoch} {iters} {t_comp >= 0} {t_data >= 0} {numbers}")

    def _write(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        with open(self.log_name, "a") as log:
            log.write(f"{text}\n")
