"""What training and test scripts call to show losses and images."""

import atexit
import os
import signal
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from util.base.errors import UserError
from util.base.log import say, warn
from util.display.pages.page_sink import PageSink
from util.display.sinks import LogStep, Sink, deliver
from util.display.sinks.background import BackgroundSink
from util.display.sinks.base import ImageArray
from util.display.sinks.epochs import EpochRecord, EpochSink, MetricsSink, read_metrics
from util.display.sinks.jsonl import JsonlSink, LossRecord, continued, parse_loss_log, read_losses
from util.display.sinks.tensorboard import TensorboardSink
from util.display.sinks.text import ConsoleSink, LossFileSink
from util.display.sinks.visdom.server import start_server
from util.display.sinks.visdom.sink import VisdomSink
from util.display.sinks.wandb import WandbSink
from util.html import HTML
from util.images.ranges import tensor2im
from util.images.writing import ImageWriter, stretched

WHOLE_EPOCH = 2**31  # more images than any epoch has


class Visualizer:
    """Hand losses and images to the sinks that the options ask for.

    The calls are the reference's, so a fork's training script works with it; what happens with
    the data is the sinks' business (see `util/display/sinks`). Those that take time work in
    threads of their own: what was reported is on the disk after `close`, or when Python ends.
    """

    def __init__(
        self, opt: Namespace, *, overview: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        """Make the sinks; `overview` is what the page tells about the run, in sections."""
        self.opt = opt
        self.overview = overview or {}
        self.name: str = opt.name
        self.win_size: int = opt.display_winsize
        self.display_id: int = getattr(opt, "display_id", -1)
        self.use_html: bool = opt.isTrain and not opt.no_html
        self.saved = False  # has the page shown this epoch already?
        self._last_moment = (0, 0)  # epoch and its images when numbers were shown last
        self._total_images = 0  # when something was shown last
        folder = os.path.join(opt.checkpoints_dir, opt.name)
        self.web_dir = os.path.join(folder, "web")
        self.img_dir = os.path.join(self.web_dir, "images")
        self.log_name = os.path.join(folder, "loss_log.txt")

        self.printers: list[Sink] = [ConsoleSink()]  # take part in print_current_losses
        self.plotters: list[Sink] = []  # take part in plot_current_losses
        self.galleries: list[Sink] = []  # take part in display_current_results, besides the page
        self.recorders: list[EpochSink] = []  # take part in report_epoch
        self.page: BackgroundSink[PageSink] | None = None
        self.visdom: VisdomSink | None = None
        self.tensorboard: BackgroundSink[TensorboardSink] | None = None
        if opt.isTrain:
            os.makedirs(folder, exist_ok=True)
            self._add_files(folder)
            self._add_visdom(folder)
        if getattr(opt, "tensorboard", False):
            self.tensorboard = BackgroundSink(TensorboardSink(os.path.join(folder, "tensorboard")))
            self.printers.append(self.tensorboard)
            self.galleries.append(self.tensorboard)
            self.recorders.append(self.tensorboard)
        if getattr(opt, "use_wandb", False):
            sink = BackgroundSink(
                WandbSink(
                    opt.wandb_project_name,
                    opt.name,
                    vars(opt),
                    folder,
                    resume=getattr(opt, "continue_train", False),
                    keep_id=opt.isTrain,  # a test is a run of its own
                )
            )
            self.printers.append(sink)
            self.galleries.append(sink)
            self.recorders.append(sink)
        atexit.register(self.close)  # scripts of forks do not call it

    def _add_files(self, folder: str) -> None:
        """Add what is always written: the log, the same as JSON, and the page."""
        losses, metrics = (os.path.join(folder, f"{name}.jsonl") for name in ("losses", "metrics"))
        if self.use_html:
            say(f"create web directory {self.web_dir}...")
            page = PageSink(
                self.web_dir,
                f"Experiment name = {self.name}",
                self.win_size,
                history=_earlier_losses(losses, self.log_name) if self._continues() else (),
                epochs=_earlier_epochs(metrics) if self._continues() else (),
                overview=self.overview,
            )
            self.page = BackgroundSink(page, newest_only=True)
            self.printers.append(self.page)
            self.recorders.append(self.page)
        self.printers += [LossFileSink(self.log_name), JsonlSink(losses)]
        self.recorders.append(MetricsSink(metrics))

    def _add_visdom(self, folder: str) -> None:
        opt = self.opt
        if self.display_id <= 0:
            return
        if getattr(opt, "start_visdom", False):
            server = start_server(opt.display_port, os.path.join(folder, "visdom"))
            say(f"visdom shows plots and images at {server.url}")
        sink = VisdomSink(
            opt.display_server,
            opt.display_port,
            env=opt.display_env,
            display_id=opt.display_id,
            ncols=opt.display_ncols,
            name=self.name,
            win_size=self.win_size,
        )
        self.visdom = sink
        self.plotters.append(sink)
        self.galleries.append(sink)

    def _continues(self) -> bool:
        return bool(getattr(self.opt, "continue_train", False))

    def state_dict(self) -> dict[str, Any]:
        """Return what a run that is continued must know to show one history."""
        return {
            "saved": self.saved,
            "last_moment": list(self._last_moment),
            "total_images": self._total_images,
            "curves": self.visdom.state_dict() if self.visdom else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the history of the run that is continued."""
        self.saved = state["saved"]
        self._total_images = state["total_images"]
        epoch, images = map(int, state["last_moment"])
        self._last_moment = (epoch, images)
        if self.page is not None:
            self.page.later(lambda page: page.go_on_after(epoch, images))
        if self.tensorboard is not None:
            self.tensorboard.later(lambda sink: sink.forget_after(state["total_images"]))
        if self.visdom is not None and state["curves"] is not None:
            self.visdom.load_state_dict(state["curves"])

    def reset(self) -> None:
        """Begin an epoch: its images have not been on the page yet."""
        self.saved = False

    def display_current_results(
        self,
        visuals: Mapping[str, Any],
        epoch: int,
        save_result: bool,
        *,
        total_iters: int | None = None,
    ) -> None:
        """Show images; the page takes the first ones of an epoch and those with `save_result`.

        `total_iters` counts images since training began.
        """
        sinks = list(self.galleries)
        if self.page is not None and (save_result or not self.saved):
            self.saved = True
            sinks.append(self.page)
        if not sinks:
            return
        self._total_images = max(self._total_images, total_iters or 0)
        images = {label: tensor2im(image) for label, image in visuals.items()}
        when = LogStep(epoch, total_images=total_iters)
        deliver(sinks, lambda sink: sink.images(when, images))

    def plot_current_losses(
        self, epoch: int, counter_ratio: float, losses: Mapping[str, float]
    ) -> None:
        """Add a point to the loss curves; `counter_ratio` is how much of the epoch is done."""
        when = LogStep(epoch, fraction=counter_ratio)
        deliver(self.plotters, lambda sink: sink.scalars(when, losses))

    def print_current_losses(
        self,
        epoch: int,
        iters: int,
        losses: Mapping[str, float],
        t_comp: float,
        t_data: float,
        *,
        total_iters: int | None = None,
    ) -> None:
        """Print losses and append them to `loss_log.txt` and `losses.jsonl`.

        `iters` counts images of this epoch, `total_iters` those since training began; `t_comp` is
        the computing time per image, `t_data` the time spent waiting for the data, in seconds.
        """
        self._last_moment = (epoch, iters)
        self._total_images = total_iters or 0
        when = LogStep(
            epoch,
            iters,
            compute_seconds=t_comp,
            load_seconds=t_data,
            total_images=total_iters,
        )
        deliver(self.printers, lambda sink: sink.scalars(when, losses))

    def report_epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Record what an epoch brought, and show what was made of some validation images."""
        self._last_moment = (record["epoch"], WHOLE_EPOCH)
        self._total_images = record["total_iters"]
        deliver(self.recorders, lambda sink: sink.epoch(record, samples))

    @contextmanager
    def session(self, how_to_continue: Callable[[], str]) -> Iterator[None]:
        """Let the displays follow the training inside; then tell how it ended, and close them.

        `how_to_continue` is asked for if it did not end by itself.
        """
        try:
            yield
        except BaseException as error:
            self._finish(f"{_reason(error)}\n{how_to_continue()}")
            raise
        else:
            self._finish("Training has ended.")
        finally:
            self.close()

    def _finish(self, state: str) -> None:
        if self.page is not None:
            self.page.later(lambda page: page.finish(state))

    def wait(self) -> None:
        """Return when all that was reported is where it belongs, except on visdom."""
        for sink in self._sinks():
            if isinstance(sink, BackgroundSink):
                sink.wait()

    def close(self) -> None:
        """Let every sink finish; more calls do no harm."""
        atexit.unregister(self.close)
        deliver(self._sinks(), lambda sink: sink.close())

    def _sinks(self) -> list[Sink]:
        page = [self.page] if self.page else []
        return list(dict.fromkeys([*self.printers, *self.plotters, *self.galleries, *page]))


def _reason(error: BaseException) -> str:
    """Say in a line why training did not end by itself."""
    if isinstance(error, SystemExit):
        stops = {128 + number: number.name for number in signal.Signals}
        name = stops.get(error.code) if isinstance(error.code, int) else None
        return f"Training was stopped by {name}." if name else "Training was stopped."
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"Training was stopped by an error. {kind}{error}".split("\n")[0]


def _earlier_losses(path: str, log: str) -> list[LossRecord]:
    """Return what the run to be continued has logged, for the curves.

    Runs of the original framework left a text file only.
    """
    try:
        of_log = parse_loss_log(log) if os.path.exists(log) else []
        return continued([*of_log, *(read_losses(path) if os.path.exists(path) else [])])
    except UserError as error:
        warn(f"{error} The curves begin anew.")
    return []


def _earlier_epochs(path: str) -> list[EpochRecord]:
    try:
        return read_metrics(path) if os.path.exists(path) else []
    except UserError as error:
        warn(f"{error} The curves begin anew.")
        return []


def save_images(
    webpage: HTML,
    visuals: Mapping[str, Any],
    image_path: Sequence[str],
    aspect_ratio: float = 1.0,
    width: int = 256,
    use_wandb: bool = False,
    *,
    writer: ImageWriter | None = None,
) -> None:
    """Write the images made from one input beside the page, and add them to it as a row.

    Files are called `<name of the input>_<label>.png`; `webpage.names` decides what happens when
    two inputs have the same name. `use_wandb` also logs them to the active run of wandb. With a
    `writer` they are written later, without one they are on the disk when this returns.

    Raises:
        OSError: an image could not be written.
    """
    if writer is None:
        with ImageWriter() as own:
            save_images(webpage, visuals, image_path, aspect_ratio, width, use_wandb, writer=own)
        return
    name = webpage.names.name(image_path[0])
    images = {label: tensor2im(image) for label, image in visuals.items()}
    files = [f"{name}_{label}.png" for label in images]
    for file, image in zip(files, images.values(), strict=True):
        writer.write(image, Path(webpage.get_image_dir(), file), aspect_ratio)
    sizes = [stretched((image.shape[1], image.shape[0]), aspect_ratio) for image in images.values()]
    webpage.add_header(name)
    webpage.add_images(files, list(images), files, width=width, sizes=sizes)
    if use_wandb:
        _log_to_active_run(images)


def _log_to_active_run(images: Mapping[str, ImageArray]) -> None:
    import wandb

    if wandb.run is not None:  # else nobody has asked for a run: a sink would start one
        WandbSink("", "", {}, ".").images(LogStep(0), images)
