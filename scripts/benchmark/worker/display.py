"""Saving and showing images and losses: pages, plots, results, and the test command."""

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.worker.interface import (
    refusals,
    seed_all,
    timed_with_background,
    train_options,
    wait_for_background,
)

LABELS = ("real_A", "fake_B", "rec_A", "idt_B", "real_B", "fake_A", "rec_B", "idt_A")
LOSSES = ("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")

_visualizers: dict[str, Any] = {}


def open_visualizer(name: str, argv: list[str]) -> None:
    """Create what shows losses and images."""
    from util.visualizer import Visualizer

    _tame_visdom()
    opt = train_options(argv)
    _visualizers[name] = Visualizer(opt)


def _tame_visdom() -> None:
    """Keep visdom's client from listening to the server, and anybody from starting one.

    The server that the parent runs swallows what is sent and knows no web sockets; who looks for
    it must believe that it is there.
    """
    try:
        import visdom
    except ImportError:
        return
    client: Any = visdom.Visdom
    if getattr(client, "is_tame", False):
        return
    original = client.__init__

    def init(self: Any, *args: Any, **keywords: Any) -> None:
        original(self, *args, **(keywords | {"use_incoming_socket": False}))

    client.__init__ = init
    client.check_connection = lambda *_args, **_keywords: True
    client.is_tame = True


# ---- the training page --------------------------------------------------------------------


def fill_page(name: str, epochs: int) -> dict[str, Any]:
    """Bring the page to the state after so many epochs."""
    visualizer = _visualizers[name]
    folder = Path(visualizer.web_dir, "images")
    tiny = Image.new("RGB", (4, 4))
    for epoch in range(1, epochs):
        for label in LABELS:
            tiny.save(folder / f"epoch{epoch:03d}_{label}.png")
    update_page(name, epochs)
    page = Path(visualizer.web_dir, "index.html")
    if "epoch001_" not in page.read_text(encoding="utf-8"):  # it does not look at the folder
        for epoch in range(1, epochs + 1):
            update_page(name, epoch)
    return {"bytes": page.stat().st_size}


def update_page(name: str, epoch: int) -> dict[str, float]:
    """Show eight images of a few pixels on the page: what it takes without encoding them."""
    visuals = {label: torch.zeros(1, 3, 4, 4) for label in LABELS}
    visualizer = _visualizers[name]
    visualizer.reset()
    with timed_with_background() as times:
        visualizer.display_current_results(visuals, epoch, True)
    return times


# ---- the loss plot ------------------------------------------------------------------------


def fill_plot(name: str, points: int) -> None:
    """Bring the plot to the state after so many points."""
    visualizer = _visualizers[name]
    add_point(name, 0)
    history = getattr(visualizer, "plot_data", None)  # where the original keeps it
    if isinstance(history, dict) and {"X", "Y"} <= history.keys():
        history["X"] += [number / points for number in range(1, points)]
        history["Y"] += [list(history["Y"][0]) for _ in range(1, points)]
    else:
        for number in range(1, points):
            visualizer.plot_current_losses(1, number / points, _losses(number))
        wait_for_background()


def add_point(name: str, number: int) -> dict[str, float]:
    """Add one point of eight losses to the plot."""
    with timed_with_background() as times:
        _visualizers[name].plot_current_losses(1, number * 1e-6, _losses(number))
    return times


def _losses(number: int) -> dict[str, float]:
    return {name: 0.1 + ((number * 7919 + 13 * place) % 9973) / 9973
            for place, name in enumerate(LOSSES)}  # fmt: skip


# ---- results of test.py ----------------------------------------------------------------------


def save_results(folder: str, images: list[str], labels: int) -> dict[str, float]:
    """Save `labels` images for each input, with a page, as test.py does; the times of one."""
    from util.html import HTML
    from util.visualizer import save_images

    tensors = [_as_tensor(path) for path in images]
    seed_all(0)
    with timed_with_background() as times:
        webpage = HTML(folder, "benchmark")
        for number in range(len(images)):
            shown = {
                label: tensors[(number + place) % len(tensors)]
                for place, label in enumerate(LABELS[:labels])
            }
            save_images(webpage, shown, [images[number]], aspect_ratio=1.0, width=256)
        webpage.save()
    return {clock: seconds / (len(images) * labels) for clock, seconds in times.items()}


def _as_tensor(path: str) -> Tensor:
    """Return an image as networks give it: (1, 3, H, W) in [-1, 1]."""
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    return pixels[None] / 127.5 - 1


def run_test(argv: list[str]) -> dict[str, float]:
    """Run test.py in this process: what importing takes is not measured."""
    sys.argv = ["test.py", *argv]
    with timed_with_background() as times, refusals():
        runpy.run_path("test.py", run_name="__main__")
    return times
