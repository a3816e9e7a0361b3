"""Train a model: python train.py --dataroot DIR --name RUN --model cycle_gan (or pix2pix, ...).

    python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan
    python train.py --dataroot ./datasets/facades --name facades --model pix2pix --direction BtoA
    python train.py --name facades --continue_train

`python train.py --help` lists all options. Networks, losses and images go to
`checkpoints/RUN`; open `checkpoints/RUN/web/index.html` in a browser.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from data import CustomDatasetDataLoader, create_dataset
from data.pipeline.sampling import LoadError
from models import create_model
from models.base_model import BaseModel
from options.parsing.result import Result
from options.train_options import TrainOptions
from util.base import rng
from util.base.errors import UserError, run_command
from util.base.log import mute, say
from util.base.plugins import declares
from util.base.stop_signals import StopSignals
from util.display.pages.overview import overview
from util.display.progress_bar import TimeLeft, epoch_bar
from util.storage.run_folder import iteration_label
from util.training.best import BestEpoch
from util.training.epoch_record import epoch_record
from util.training.health import HealthMonitor
from util.training.meters import LossMeans, RunningMean
from util.training.progress import Progress
from util.training.resume import ResumePoint
from util.training.run_lock import RunLock
from util.training.saver import Saver, Stateful
from util.training.validation import Validator, create_validator
from util.visualizer import Visualizer


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line (or `argv`) says."""
    with RunLock() as lock:
        options = TrainOptions()
        opt = options.parse(argv, quiet=True)
        lock.take(opt)
        options.result.tell()
        train(opt, options.result)


@dataclass(frozen=True)
class Run:
    """What takes part in training."""

    opt: Namespace
    dataset: CustomDatasetDataLoader  # iterates over batches; its length counts images
    model: BaseModel
    visualizer: Visualizer
    progress: Progress  # counts epochs, images and steps
    epoch_loss: RunningMean  # for --lr_policy plateau
    loss_means: LossMeans  # over the epoch, for the curves
    validator: Validator | None  # None without validation data
    best: BestEpoch  # the best epoch so far, with --save_best
    saver: Saver
    guard: HealthMonitor  # looks out for losses that are no longer finite
    clock: TimeLeft  # how long training will go on


def train(opt: Namespace, options: Result) -> None:
    """Train; `options` knows which of them were given."""
    rng.seed_all(opt.seed)
    if opt.deterministic:
        rng.use_deterministic_algorithms()
    start = ResumePoint(
        opt, "epoch_count" in options.given
    )  # epoch 1, or where --continue_train goes on
    dataset = create_dataset(opt)
    say(f"The number of training images = {len(dataset)}")
    dataset.warn_of_bad_images()
    model = create_model(opt)
    model.setup(opt)  # schedules, and the networks to continue with
    if declares(type(model), "takes_batches_on_device"):
        dataset.send_to(model.device)
    progress, epoch_loss, loss_means = Progress(epoch=start.epoch), RunningMean(), LossMeans()
    best = BestEpoch(opt.save_best, opt.early_stop)
    validator = create_validator(opt, model, best, create_dataset)
    to_validate = len(validator.dataset) if validator else 0
    facts = overview(options.not_default, len(dataset), to_validate)
    visualizer = Visualizer(opt, overview=facts)
    others: dict[str, Stateful] = {"loss_means": loss_means, "best": best}
    saver = Saver(opt, model, dataset, progress, epoch_loss, visualizer, others)
    start.restore(model, saver)
    options.save()  # now that it is clear that the run can go on with them
    guard = HealthMonitor(model, saver, progress, epoch_loss, opt.on_nan, loss_means)
    last_epoch = opt.n_epochs + opt.n_epochs_decay
    clock = TimeLeft(progress, last_epoch, len(dataset))
    run = Run(opt, dataset, model, visualizer, progress, epoch_loss, loss_means, validator, best,
              saver, guard, clock)  # fmt: skip
    if progress.epoch > last_epoch:
        say(f"Nothing left to do: epoch {last_epoch} of {last_epoch} is done. To go on, raise "
            "--n_epochs or --n_epochs_decay.")  # fmt: skip
    with StopSignals() as stop, visualizer.session(saver.how_to_continue), saver:
        try:
            while progress.epoch <= last_epoch and not best.should_stop:
                began = time.time()
                train_epoch(run, last_epoch, stop)
                end_epoch(run, last_epoch, began)
        except BrokenPipeError:  # who read our output has gone, by the same Ctrl-C perhaps
            mute()
            save_for_later(run)
            raise SystemExit(1 if stop.received is None else stop.status) from None


def train_epoch(run: Run, last_epoch: int, stop: StopSignals) -> None:
    """Train one epoch, or what is left of it; a signal to stop ends the process."""
    opt, model, progress = run.opt, run.model, run.progress
    run.dataset.sampler.epoch = progress.epoch
    if progress.epoch_images == 0:
        run.visualizer.reset()
        run.epoch_loss.reset()
        run.loss_means.reset()
    waiting_since = time.time()
    with epoch_bar(run.clock) as bar:
        try:
            for batch in run.dataset:
                step_began = time.time()
                model.set_input(batch)
                model.optimize_parameters()
                run.epoch_loss.add(model.generator_loss())
                run.loss_means.add(model.losses_on_device())
                progress.advance(opt.batch_size)
                bar.update(opt.batch_size)
                run.guard.look()
                report(run, time.time() - step_began, step_began - waiting_since)
                if stop.received is not None:
                    say(f"Stopped by {stop.received.name}. {save_for_later(run)}")
                    raise SystemExit(stop.status)
                waiting_since = time.time()
        except LoadError as error:
            raise UserError(f"{error}\n  {error.hint} {save_for_later(run)}") from error


def report(run: Run, seconds: float, seconds_waited: float) -> None:
    """Show, print and save whatever is due after this step."""
    opt, model, visualizer, progress = run.opt, run.model, run.visualizer, run.progress
    run.saver.check()
    due = [every for every in (opt.display_freq, opt.print_freq, opt.save_latest_freq)
           if progress.crossed(every)]  # fmt: skip
    if due and not run.guard.losses_are_fine():
        return
    if progress.crossed(opt.display_freq):
        model.compute_visuals()
        visuals = model.get_current_visuals()
        update_page = progress.crossed(opt.update_html_freq)
        visualizer.display_current_results(
            visuals, progress.epoch, update_page, total_iters=progress.total_images
        )
        run.guard.advise_on_images(visuals)
    if progress.crossed(opt.print_freq):
        losses = model.get_current_losses()
        visualizer.print_current_losses(
            progress.epoch, progress.epoch_images, losses, seconds / opt.batch_size, seconds_waited,
            total_iters=progress.total_images,
        )  # fmt: skip
        if opt.display_id > 0:
            done = progress.epoch_images / len(run.dataset)
            visualizer.plot_current_losses(progress.epoch, done, losses)
        run.guard.advise_on_losses(losses)
    if progress.crossed(opt.save_latest_freq) and run.guard.weights_are_fine():
        images = progress.total_images
        say(f"saving the latest model (epoch {progress.epoch}, total_iters {images})")
        run.saver.save(iteration_label(images) if opt.save_by_iter else "latest")


def end_epoch(run: Run, last_epoch: int, began: float) -> None:
    """Measure, update learning rates, save what is due and go on to the next epoch."""
    opt, model, visualizer, progress = run.opt, run.model, run.visualizer, run.progress
    seconds = time.time() - began
    is_fine = run.guard.weights_are_fine()
    if run.guard.steps and not visualizer.saved:  # fewer images than --display_freq: the last ones
        model.compute_visuals()
        visualizer.display_current_results(
            model.get_current_visuals(), progress.epoch, True, total_iters=progress.total_images
        )
    found = run.validator.measure(progress.epoch) if run.validator and is_fine else None
    is_best = found is not None and run.best.update(progress.epoch, found.metrics)
    record = epoch_record(
        progress, model.learning_rates(), run.loss_means.means(), seconds, found, run.best
    )
    visualizer.report_epoch(record, found.samples if found else [])
    watched = run.best.latest if run.best.name else run.epoch_loss.mean()
    if watched is not None:
        model.metric = watched  # for --lr_policy plateau
    model.update_learning_rate()

    ended, images = progress.epoch, progress.total_images
    is_last = ended == last_epoch or run.best.should_stop
    progress.next_epoch()  # a run that is continued from here begins with it
    labels: list[int | str] = []
    if is_fine and (ended % opt.save_epoch_freq == 0 or is_last):
        say(f"saving the model at the end of epoch {ended}, iters {images}")
        labels = ["latest", ended]
    if is_best:
        say(f"{run.best.summary()}, saved as best")
        labels.append("best")
    if labels:
        run.saver.save(*labels)
    say(f"End of epoch {ended} / {last_epoch} \t Time Taken: {int(time.time() - began)} sec")
    if run.best.should_stop:
        say(f"Stopped early, {run.best.summary()} (--epoch best).")


def save_for_later(run: Run) -> str:
    """Save what is there, unless nothing was trained, and return how to go on."""
    if run.guard.steps and run.guard.weights_are_fine():
        run.saver.save("latest")
    run.saver.wait()
    return run.saver.how_to_continue()


if __name__ == "__main__":
    sys.exit(run_command(main))
