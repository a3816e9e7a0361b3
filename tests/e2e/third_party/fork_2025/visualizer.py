# ruff: noqa
# fmt: off
"""A fork's own visualizer, written for the original of 2025: no visdom, Paths, counts of images."""
import time
from pathlib import Path
from util import html, util


class Visualizer:
    def __init__(self, opt):
        self.opt = opt
        self.name = opt.name
        self.saved = False
        self.current_epoch = 0
        self.dataset_size = None
        self.web_dir = Path(opt.checkpoints_dir) / opt.name / "web"
        self.img_dir = self.web_dir / "images"
        util.mkdirs([self.web_dir, self.img_dir])
        self.log_name = Path(opt.checkpoints_dir) / opt.name / "loss_log.txt"
        with open(self.log_name, "a") as log_file:
            log_file.write("================ Training Loss (%s) ================\n" % time.strftime("%c"))
        self.calls = Path(opt.checkpoints_dir) / opt.name / "calls.txt"

    def set_dataset_size(self, dataset_size):
        self.dataset_size = dataset_size

    def reset(self):
        self.saved = False

    def display_current_results(self, visuals, epoch, total_iters, save_result=False):
        self.note("display", epoch, total_iters, save_result)
        if save_result or not self.saved:
            self.saved = True
            for label, image in visuals.items():
                util.save_image(util.tensor2im(image), self.img_dir / f"epoch{epoch:03d}_{label}.png")
            webpage = html.HTML(self.web_dir, f"Experiment name = {self.name}", refresh=1)
            webpage.add_header(f"epoch [{epoch}]")
            files = [f"epoch{epoch:03d}_{label}.png" for label in visuals]
            webpage.add_images(files, list(visuals), files, width=self.opt.display_winsize)
            webpage.save()

    def plot_current_losses(self, total_iters, losses):
        self.note("plot", total_iters, len(losses), self.dataset_size)

    def print_current_losses(self, epoch, iters, losses, t_comp, t_data):
        message = f"[Rank 0] (epoch: {epoch}, iters: {iters}, time: {t_comp:.3f}, data: {t_data:.3f}) "
        for k, v in losses.items():
            message += f", {k}: {v:.3f}"
        print(message)
        with open(self.log_name, "a") as log_file:
            log_file.write(f"{message}\n\n")

    def note(self, *call):
        with open(self.calls, "a") as file:
            file.write(" ".join(map(str, call)) + "\n")
