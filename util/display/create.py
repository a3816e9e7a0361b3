"""The sinks that the options ask for: the one place where they are chosen."""

from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from util.base import system
from util.base.errors import UserError
from util.base.log import say, warn
from util.base.new_options import new_option
from util.display.pages.page_sink import PageSink
from util.display.sinks.background import BackgroundSink
from util.display.sinks.base import EpochRecord, Sink
from util.display.sinks.epochs import MetricsSink, read_metrics
from util.display.sinks.jsonl import JsonlSink, LossRecord, continued, parse_loss_log, read_losses
from util.display.sinks.tensorboard import TensorboardSink
from util.display.sinks.text import ConsoleSink, LastWordsSink, LossFileSink
from util.display.sinks.visdom.server import start_server
from util.display.sinks.visdom.sink import VisdomSink
from util.display.sinks.wandb import WandbSink
from util.storage.run_folder import RunFolder

T = TypeVar("T")


def create_sinks(opt: Namespace) -> list[Sink]:
    """Create the sinks that the options ask for; the options of test.py are enough.

    Those that take time work in threads of their own: what was reported is on the disk after
    `close`, or when Python ends.
    """
    if not system.is_main_process():
        return []
    folder = RunFolder(opt.checkpoints_dir, opt.name)
    sinks: list[Sink] = [ConsoleSink()]
    if opt.isTrain:
        folder.path.mkdir(parents=True, exist_ok=True)
        if not opt.no_html:
            say(f"create web directory {folder.web}...")
            sinks.append(BackgroundSink(_page(opt, folder), newest_only=True))
        sinks += [LossFileSink(folder.loss_log), JsonlSink(folder.losses)]
        sinks += [MetricsSink(folder.metrics), LastWordsSink(folder.last_words)]
        if opt.display_id > 0:
            sinks.append(_visdom(opt))
    if new_option(opt, "tensorboard"):
        sinks.append(BackgroundSink(TensorboardSink(folder.tensorboard)))
    if getattr(opt, "use_wandb", False):
        wandb = WandbSink(
            opt.wandb_project_name,
            opt.name,
            vars(opt),
            folder.path,
            resume=getattr(opt, "continue_train", False),
            keep_id=opt.isTrain,  # a test is a run of its own
        )
        sinks.append(BackgroundSink(wandb))
    return sinks


def move_files(sinks: Iterable[Sink], web_dir: str, image_dir: str, loss_log: str) -> None:
    """Let the page, its images and the log of losses go on in these places."""
    for sink in sinks:
        writer = sink.sink if isinstance(sink, BackgroundSink) else sink
        if isinstance(writer, LossFileSink):
            writer.path = Path(loss_log)
        elif isinstance(writer, PageSink) and not writer.is_in(Path(web_dir), Path(image_dir)):
            sink.wait()  # what was reported before is where it was
            writer.move(Path(web_dir), Path(image_dir))


def _page(opt: Namespace, folder: RunFolder) -> PageSink:
    history: list[LossRecord] = []
    epochs: list[EpochRecord] = []
    if getattr(opt, "continue_train", False):  # runs of the original framework left a text only
        logs = [(parse_loss_log, folder.loss_log), (read_losses, folder.losses)]
        history = continued(_earlier(logs))
        epochs = _earlier([(read_metrics, folder.metrics)])
    title = f"Experiment name = {opt.name}"
    return PageSink(folder.web, title, opt.display_winsize, history, epochs=epochs)


def _earlier(logs: Iterable[tuple[Callable[[Path], list[T]], Path]]) -> list[T]:
    """Return what the run to be continued has logged, for the curves."""
    try:
        return [record for read, log in logs if log.exists() for record in read(log)]
    except UserError as error:
        warn(f"{error} The curves begin anew.")
        return []


def start_visdom(opt: Namespace) -> None:
    """Start a visdom server on this machine, and say where it is."""
    server = start_server(opt.display_port, RunFolder(opt.checkpoints_dir, opt.name).visdom)
    say(f"visdom shows plots and images at {server.url}")


def _visdom(opt: Namespace) -> VisdomSink:
    if new_option(opt, "start_visdom"):
        start_visdom(opt)
    return VisdomSink(
        opt.display_server,
        opt.display_port,
        env=opt.display_env,
        display_id=opt.display_id,
        ncols=opt.display_ncols,
        name=opt.name,
        win_size=opt.display_winsize,
        log=new_option(opt, "visdom_log"),
    )
