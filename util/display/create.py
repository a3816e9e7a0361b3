"""The sinks that the options ask for: the one place where they are chosen."""

from argparse import Namespace

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
from util.display.sinks.text import ConsoleSink, LossFileSink
from util.display.sinks.visdom.server import start_server
from util.display.sinks.visdom.sink import VisdomSink
from util.display.sinks.wandb import WandbSink
from util.storage.run_folder import RunFolder


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
        sinks.append(MetricsSink(folder.metrics))
        if opt.display_id > 0:
            sinks.append(_visdom(opt, folder))
    if new_option(opt, "tensorboard"):
        sinks.append(BackgroundSink(TensorboardSink(folder.tensorboard)))
    if getattr(opt, "use_wandb", False):
        sinks.append(BackgroundSink(_wandb(opt, folder)))
    return sinks


def _page(opt: Namespace, folder: RunFolder) -> PageSink:
    continues = getattr(opt, "continue_train", False)
    return PageSink(
        folder.web,
        f"Experiment name = {opt.name}",
        opt.display_winsize,
        history=_earlier_losses(folder) if continues else (),
        epochs=_earlier_epochs(folder) if continues else (),
    )


def _visdom(opt: Namespace, folder: RunFolder) -> VisdomSink:
    if new_option(opt, "start_visdom"):
        server = start_server(opt.display_port, folder.visdom)
        say(f"visdom shows plots and images at {server.url}")
    return VisdomSink(
        opt.display_server,
        opt.display_port,
        env=opt.display_env,
        display_id=opt.display_id,
        ncols=opt.display_ncols,
        name=opt.name,
        win_size=opt.display_winsize,
    )


def _wandb(opt: Namespace, folder: RunFolder) -> WandbSink:
    return WandbSink(
        opt.wandb_project_name,
        opt.name,
        vars(opt),
        folder.path,
        resume=getattr(opt, "continue_train", False),
        keep_id=opt.isTrain,  # a test is a run of its own
    )


def _earlier_losses(folder: RunFolder) -> list[LossRecord]:
    """Return what the run to be continued has logged, for the curves.

    Runs of the original framework left a text file only.
    """
    log, losses = folder.loss_log, folder.losses
    try:
        of_log = parse_loss_log(log) if log.exists() else []
        return continued([*of_log, *(read_losses(losses) if losses.exists() else [])])
    except UserError as error:
        warn(f"{error} The curves begin anew.")
        return []


def _earlier_epochs(folder: RunFolder) -> list[EpochRecord]:
    try:
        return read_metrics(folder.metrics) if folder.metrics.exists() else []
    except UserError as error:
        warn(f"{error} The curves begin anew.")
        return []
