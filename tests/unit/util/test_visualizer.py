"""What training scripts call, in the forms that forks use, and `save_images` of test scripts."""

import socket
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from util.base.errors import UserError
from util.base.faces import is_of_2025
from util.display.sinks import LogStep, Sink
from util.display.sinks.text import loss_line
from util.html import HTML
from util.inference.result_names import ResultNames
from util.visualizer import Visualizer, save_images

ReadPage = Callable[[Path], Any]
LOSSES = OrderedDict(G_GAN=0.5, D_real=0.25)


def options(folder: Path, **changed: Any) -> Namespace:
    """Return the fields that the reference's options have for this."""
    values = {
        "checkpoints_dir": str(folder),
        "name": "run",
        "isTrain": True,
        "no_html": False,
        "display_winsize": 128,
        "display_id": 0,
        "display_port": 8097,
        "display_server": "http://localhost",
        "display_env": "main",
        "display_ncols": 4,
        "use_wandb": False,
    }
    return Namespace(**(values | changed))


def visuals(value: float = 0.0) -> "OrderedDict[str, Any]":
    return OrderedDict(
        real_A=torch.full((1, 3, 4, 6), value),
        fake_B=torch.full((2, 1, 4, 6), value, requires_grad=True),
        real_B_rgb=np.zeros((4, 6, 3), np.uint8),
    )


class Recorder(Sink):
    """A sink that remembers, and fails if `broken`."""

    def __init__(self, broken: bool = False, **declared: Any) -> None:
        vars(self).update(declared)
        self.broken = broken
        self.events: list[Any] = []

    def _take(self, *event: Any) -> None:
        self.events.append(event)
        if self.broken:
            raise ConnectionError("gone")

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        self._take("scalars", when, dict(losses))

    def images(self, when: LogStep, images: Mapping[str, Any]) -> None:
        self._take("images", when, list(images))

    def close(self) -> None:
        self._take("close")


def wait(visualizer: Visualizer) -> None:
    for sink in visualizer.sinks:
        sink.wait()


def close(visualizer: Visualizer) -> None:
    for sink in visualizer.sinks:
        sink.close()


# ---- losses ------------------------------------------------------------------------------------


def test_losses_are_printed_and_logged_in_the_same_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    visualizer = Visualizer(options(tmp_path))
    capsys.readouterr()
    visualizer.print_current_losses(2, 300, LOSSES, 0.25, 0.125)
    expected = loss_line(LogStep(2, 300, compute_seconds=0.25, load_seconds=0.125), LOSSES)
    assert expected.startswith("(epoch: 2, iters: 300, time: 0.250, data: 0.125)")
    assert capsys.readouterr().out == f"{expected}\n"
    assert (tmp_path / "run" / "loss_log.txt").read_text().splitlines()[1:] == [expected]


def test_losses_to_plot_reach_the_plotters_with_their_share_of_the_epoch(tmp_path: Path) -> None:
    visualizer = Visualizer(options(tmp_path))
    plotter = Recorder(losses_as="plot")
    visualizer.sinks.append(plotter)
    visualizer.plot_current_losses(3, 0.75, LOSSES)
    assert plotter.events == [("scalars", LogStep(3, fraction=0.75), dict(LOSSES))]


def test_the_calls_take_their_arguments_by_the_references_names(tmp_path: Path) -> None:
    visualizer = Visualizer(opt=options(tmp_path))
    visualizer.reset()
    visualizer.display_current_results(visuals=visuals(), epoch=1, save_result=True)
    visualizer.plot_current_losses(epoch=1, counter_ratio=0.5, losses=LOSSES)
    visualizer.print_current_losses(epoch=1, iters=1, losses=LOSSES, t_comp=0.1, t_data=0.1)
    wait(visualizer)
    assert (tmp_path / "run" / "web" / "index.html").is_file()


# ---- the page ----------------------------------------------------------------------------------


def test_images_reach_the_page(tmp_path: Path, read_page: ReadPage) -> None:
    visualizer = Visualizer(options(tmp_path))
    visualizer.display_current_results(visuals(1.0), 7, False)
    wait(visualizer)
    shown = read_page(tmp_path / "run" / "web" / "index.html")
    assert shown.text("title") == ["Experiment name = run"]
    assert shown.images == [
        f"images/epoch007_{label}.png" for label in ("real_A", "fake_B", "real_B_rgb")
    ]
    assert set(shown.values("img", "style")) == {"width:128px"}
    with Image.open(tmp_path / "run" / "web" / "images" / "epoch007_fake_B.png") as image:
        assert image.size == (6, 4)
        assert image.getpixel((0, 0)) == (255, 255, 255)


def test_the_page_takes_the_first_images_of_an_epoch_and_those_to_be_saved(
    tmp_path: Path,
) -> None:
    visualizer = Visualizer(options(tmp_path))
    page = Recorder(images_every="update_html_freq")
    visualizer.sinks[:] = [page]
    for epoch in (1, 2):
        visualizer.reset()
        assert not visualizer.saved
        for save_result in (False, False, True, False):
            visualizer.display_current_results(visuals(), epoch, save_result)
            assert visualizer.saved
    assert [when.epoch for _, when, _ in page.events] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("changed", "logged"), [({"no_html": True}, True), ({"isTrain": False}, False)]
)
def test_without_a_page_nothing_of_it_is_made(
    tmp_path: Path, changed: dict[str, Any], logged: bool
) -> None:
    visualizer = Visualizer(options(tmp_path, **changed))
    visualizer.reset()
    visualizer.display_current_results(visuals(), 1, True)
    close(visualizer)
    assert not (tmp_path / "run" / "web").exists()
    assert (tmp_path / "run" / "loss_log.txt").exists() == logged


def test_test_options_without_any_training_option_are_enough(tmp_path: Path) -> None:
    opt = Namespace(isTrain=False, name="r", display_winsize=1, checkpoints_dir=str(tmp_path))
    Visualizer(opt).print_current_losses(1, 1, LOSSES, 0.0, 0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_continued_run_keeps_log_and_page(tmp_path: Path, read_page: ReadPage) -> None:
    for epoch in (1, 2):
        visualizer = Visualizer(options(tmp_path))
        visualizer.display_current_results(visuals(), epoch, True)
        visualizer.print_current_losses(epoch, 1, LOSSES, 0.0, 0.0)
        close(visualizer)
    assert read_page(tmp_path / "run/web/index.html").text("h3") == ["epoch [2]", "epoch [1]"]
    assert (tmp_path / "run/loss_log.txt").read_text().count("(epoch: ") == 2


def test_a_page_that_cannot_be_written_stops_nothing_and_recovers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], read_page: ReadPage
) -> None:
    visualizer = Visualizer(options(tmp_path))
    page = tmp_path / "run" / "web" / "index.html"
    page.mkdir()  # so that writing it fails
    for _ in range(2):
        visualizer.display_current_results(visuals(), 1, True)
        wait(visualizer)
    assert capsys.readouterr().err.count("PageSink failed") == 1
    page.rmdir()
    visualizer.reset()
    visualizer.display_current_results(visuals(), 2, True)
    wait(visualizer)
    assert read_page(page).text("h3") == ["epoch [2]", "epoch [1]"]


# ---- save_images -------------------------------------------------------------------------------


@pytest.fixture
def web(tmp_path: Path) -> HTML:
    return HTML(tmp_path, "Experiment = run, Phase = test, Epoch = latest")


def batch(value: float = 0.0) -> "OrderedDict[str, Tensor]":
    return OrderedDict(real=torch.full((1, 3, 4, 6), value), fake=torch.full((1, 3, 4, 6), value))


def test_results_are_called_after_their_input_and_shown_in_a_row(
    tmp_path: Path, web: HTML, read_page: ReadPage
) -> None:
    save_images(web, batch(), ["datasets/maps/testA/12.jpg"], aspect_ratio=1.0, width=64)
    save_images(web, batch(), ["datasets/maps/testA/2.tar.png"], 2.0, 64, use_wandb=False)
    web.save()
    shown = read_page(tmp_path / "index.html")
    assert shown.text("h3") == ["12", "2.tar"]
    assert shown.images == [
        f"images/{name}.png" for name in ("12_real", "12_fake", "2.tar_real", "2.tar_fake")
    ]
    assert shown.links == shown.images
    assert shown.labels == ["real", "fake"] * 2
    assert set(shown.values("img", "style")) == {"width:64px"}
    for name, size in (("12_fake", (6, 4)), ("2.tar_fake", (12, 4))):
        with Image.open(tmp_path / "images" / f"{name}.png") as image:
            assert image.size == size


def test_inputs_of_one_name_do_not_overwrite_each_others_results(
    tmp_path: Path, web: HTML, read_page: ReadPage
) -> None:
    paths = ["in/x/1.jpg", "in/y/1.jpg", "in/y/1.png", "in/2.jpg"]
    web.names = ResultNames(paths, "in")
    for grey, path in enumerate(paths):
        save_images(web, batch(grey / 4), [path])
    web.save()
    shown = read_page(tmp_path / "index.html")
    fakes = [image for image in shown.images if image.endswith("_fake.png")]
    assert fakes == [f"images/{name}_fake.png" for name in ("x/1", "y/1.jpg", "y/1.png", "2")]
    for grey, image in enumerate(fakes):
        with Image.open(tmp_path / image) as opened:
            assert opened.getpixel((0, 0)) == (int((grey / 4 + 1) / 2 * 255),) * 3


@pytest.mark.parametrize("name", ["a#b", "50%25 off", "two words", "<script>", "q'\"q"])
def test_unusual_names_of_inputs_lead_to_their_results(
    tmp_path: Path, web: HTML, read_page: ReadPage, name: str
) -> None:
    save_images(web, batch(), [f"in/{name}.jpg"])
    web.save()
    shown = read_page(tmp_path / "index.html")
    assert shown.images == [f"images/{name}_{label}.png" for label in ("real", "fake")]
    assert shown.text("h3") == [name]


# ---- in the form of 2025 -----------------------------------------------------------------------


def recorded(folder: Path) -> tuple[Any, Recorder, Recorder]:
    """Return a visualizer with a sink that shows images, and one that plots."""
    visualizer = Visualizer(options(folder))
    shown = Recorder(images_every="update_html_freq", losses_as="print")
    plotted = Recorder(losses_as="plot")
    visualizer.sinks[:] = [shown, plotted]
    return visualizer, shown, plotted


@pytest.mark.parametrize("by_name", [False, True])
def test_images_may_come_with_the_count_of_all_images(tmp_path: Path, by_name: bool) -> None:
    visualizer, shown, _ = recorded(tmp_path)
    visualizer.reset()
    for total, save_result in ((10, False), (20, False), (30, True)):
        if by_name:
            visualizer.display_current_results(
                visuals=visuals(), epoch=2, total_iters=total, save_result=save_result
            )
        else:
            visualizer.display_current_results(visuals(), 2, total, save_result)
    visualizer.reset()
    visualizer.display_current_results(visuals(), 3, 40)
    visualizer.display_current_results(visuals(), 3, 50)
    moments = [(when.epoch, when.total_images) for _, when, _ in shown.events]
    assert moments == [(2, 10), (2, 30), (3, 40)]  # the first of an epoch, and those to be saved
    assert visualizer.current_epoch == 3


def test_losses_may_be_plotted_over_the_count_of_all_images(tmp_path: Path) -> None:
    visualizer, shown, plotted = recorded(tmp_path)
    visualizer.print_current_losses(3, 2, LOSSES, 0.1, 0.1)
    visualizer.plot_current_losses(18, LOSSES)
    visualizer.set_dataset_size(8)
    visualizer.plot_current_losses(total_iters=18, losses=LOSSES)
    moments = [(when.epoch, when.fraction, when.total_images) for _, when, _ in plotted.events]
    assert moments == [(3, 0.0, 18), (3, 0.25, 18)]
    assert [when.total_images for _, when, _ in shown.events] == [None]  # nobody said it then


def test_a_subclass_may_have_either_form(tmp_path: Path) -> None:
    class Of2024(Visualizer):
        def plot_current_losses(self, epoch: Any, counter_ratio: Any, losses: Any) -> None:
            super().plot_current_losses(epoch, counter_ratio, losses)

    class Of2025(Visualizer):
        def plot_current_losses(self, total_iters, losses):  # type: ignore[no-untyped-def, override]
            call: Any = super().plot_current_losses
            call(total_iters, losses)

    older, newer = Of2024(options(tmp_path)), Of2025(options(tmp_path))
    assert not is_of_2025(older.plot_current_losses)
    assert not is_of_2025(Visualizer(options(tmp_path)).display_current_results)
    assert is_of_2025(newer.plot_current_losses)
    for visualizer in (older, newer):
        visualizer.sinks[:] = [Recorder(losses_as="plot")]
    older.plot_current_losses(1, 0.5, LOSSES)
    newer.plot_current_losses(5, LOSSES)
    assert older.plot_data["X"] == [1.5]
    assert newer.plot_data["Y"] == [[0.5, 0.25]]


# ---- what forks set and call -------------------------------------------------------------------


def test_who_sets_the_folders_moves_the_files(tmp_path: Path, read_page: ReadPage) -> None:
    visualizer = Visualizer(options(tmp_path))
    visualizer.web_dir = str(tmp_path / "elsewhere")
    visualizer.img_dir = str(tmp_path / "elsewhere" / "shots of it")
    visualizer.log_name = str(tmp_path / "losses.txt")
    visualizer.display_current_results(visuals(), 1, True)
    visualizer.print_current_losses(1, 1, LOSSES, 0.0, 0.0)
    wait(visualizer)
    shown = read_page(tmp_path / "elsewhere" / "index.html")
    assert shown.images == [
        f"shots of it/epoch001_{label}.png" for label in ("real_A", "fake_B", "real_B_rgb")
    ]
    assert list((tmp_path / "run" / "web" / "images").iterdir()) == []
    assert (tmp_path / "losses.txt").read_text().startswith("(epoch: 1, iters: 1,")

    visualizer.web_dir = tmp_path / "third"  # type: ignore[assignment]
    visualizer.img_dir = tmp_path / "third" / "images"  # type: ignore[assignment]
    visualizer.display_current_results(visuals(), 2, True)
    close(visualizer)
    assert read_page(tmp_path / "third" / "index.html").text("h3") == ["epoch [2]"]


def test_windows_of_others_without_a_server_are_one_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:  # a port on which nobody answers
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    visualizer = Visualizer(options(tmp_path, display_port=port))
    capsys.readouterr()
    assert visualizer.vis is visualizer.vis
    assert visualizer.vis.text("hello") is False
    assert visualizer.vis.text("again") is False
    said, complaints = capsys.readouterr()
    assert said == ""
    assert complaints.count("cannot be used now") == 1
    assert str(port) in complaints


def test_a_visdom_server_is_started_for_who_asks_as_by_the_option(tmp_path: Path) -> None:
    visualizer = Visualizer(options(tmp_path, display_port=0))
    with pytest.raises(UserError, match="--display_port 0 is no port"):
        visualizer.create_visdom_connections()
