"""What takes part in a training run, and what is done around the steps of train.py."""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from util.base.errors import LoadError, UserError
from util.base.log import mute, say
from util.base.new_options import new_option
from util.base.stop_signals import StopSignals
from util.display.pages.overview import overview
from util.display.reporter import Reporter, reporter_of
from util.display.sinks.base import LogStep
from util.training import saver, validation
from util.training.best import BestEpoch
from util.training.epoch_record import epoch_record
from util.training.health import HealthMonitor
from util.training.length import Length
from util.training.meters import LossMeter
from util.training.progress import Progress
from util.training.resume import ResumePoint
from util.training.saver import Saver
from util.training.time_left import TimeLeft, epoch_bar
from util.training.trained_model import TrainedModel
from util.training.validation import Validator, create_validator


class Data(saver.Data, validation.Data, Protocol):
    """What is asked of the loader."""

    sampler: Any  # its `epoch` decides the order


class Run:
    """A training run: its parts, and what train.py need not spell out.

    Attributes:
        opt: the options.
        dataset: iterates over batches; its length counts images.
        model: what is trained.
        trained: around it, what is asked of it beyond the original's methods.
        reporter: shows and logs.
        progress: counts epochs, images and steps.
        length: says what ends the run.
        losses: their means over the epoch, for the curves and `--lr_policy plateau`.
        validator: measures the model; None without validation data.
        best: the best epoch so far, with `--save_best`.
        saver: writes checkpoints.
        health: looks out for losses that are no longer finite.
    """

    def __init__(
        self,
        opt: Namespace,
        dataset: Data,
        trained: TrainedModel,
        reporter: Reporter,
        validator: Validator | None,
        best: BestEpoch,
    ) -> None:
        self.opt = opt
        self.dataset = dataset
        self.model, self.trained = trained.model, trained
        self.reporter = reporter
        self.validator = validator
        self.best = best
        self.progress = Progress()
        self.length = Length.of(opt)
        self.losses = LossMeter()
        parts = (dataset, self.progress, self.losses, reporter)
        self.saver = Saver(opt, trained, *parts, {"best": best})
        on_nan = new_option(opt, "on_nan")
        self.health = HealthMonitor(trained, self.saver, self.progress, self.losses, on_nan)
        self._stop = StopSignals()
        self._epoch_began = self._step_began = time.time()
        self._load_seconds = self._step_seconds = 0.0

    @property
    def is_over(self) -> bool:
        """Tell whether there is nothing left to train."""
        return self.length.is_over(self.progress) or self.best.should_stop

    @contextmanager
    def session(self) -> Iterator[None]:
        """Train inside; signals are noted, and however it ends, displays and files are whole."""
        last = self.length.epochs
        if self.length.is_over(self.progress):
            say(f"Nothing left to do: epoch {last} of {last} is done. To go on, raise "
                "--n_epochs or --n_epochs_decay.")  # fmt: skip
        self._time_left = TimeLeft(self.progress, self.length, len(self.dataset))
        with self._stop, self.reporter.session(self.saver.how_to_continue), self.saver:
            try:
                yield
            except BrokenPipeError:  # who read our output has gone, by the same Ctrl-C perhaps
                mute()
                self.save_for_later()
                status = 1 if self._stop.received is None else self._stop.status
                raise SystemExit(status) from None

    # ---- steps --------------------------------------------------------------------------------

    def batches(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of the running epoch, or what is left of it, with a progress line.

        A signal to stop ends the process after the step, and after a save.
        """
        self._epoch_began = waiting_since = time.time()
        self.dataset.sampler.epoch = self.progress.epoch
        if self.progress.epoch_images == 0:
            self.reporter.begin_epoch()
            self.losses.reset()
        with epoch_bar(self._time_left) as self._bar:
            try:
                for batch in self.dataset:
                    self._step_began = time.time()
                    self._load_seconds = self._step_began - waiting_since
                    self.trained.begin_batch()
                    yield batch
                    if self._stop.received is not None:
                        say(f"Stopped by {self._stop.received.name}. {self.save_for_later()}")
                        raise SystemExit(self._stop.status)
                    waiting_since = time.time()
            except LoadError as error:
                raise UserError(f"{error}\n  {error.hint} {self.save_for_later()}") from error

    def after_step(self) -> None:
        """Note the losses of the step, and count it; does not wait for the device."""
        names, values = self.trained.loss_vector()
        self.losses.add(names, values)
        self.progress.advance(self.opt.batch_size)
        self._bar.update(self.opt.batch_size)
        self.health.after_step(values)
        self._step_seconds = time.time() - self._step_began

    def show_images(self, *, for_page: bool) -> None:
        """Show the images of the last step; the page takes the first ones of an epoch anyway."""
        self.health.hints.advise_on_images(self._report_images(for_page))

    def _report_images(self, for_page: bool) -> Mapping[str, Any]:
        self.model.compute_visuals()
        visuals = self.model.get_current_visuals()
        when = LogStep(self.progress.epoch, total_images=self.progress.total_images)
        self.reporter.images(when, visuals, for_page=for_page)
        return visuals

    def show_losses(self) -> None:
        """Print, log and plot the losses of the last step."""
        progress, losses = self.progress, self.model.get_current_losses()
        moment = LogStep(
            progress.epoch,
            progress.epoch_images,
            compute_seconds=self._step_seconds / self.opt.batch_size,
            load_seconds=self._load_seconds,
            total_images=progress.total_images,
        )
        self.reporter.print_losses(moment, losses)
        done = progress.epoch_images / len(self.dataset)
        self.reporter.plot_losses(LogStep(progress.epoch, fraction=done), losses)
        self.health.hints.advise_on_losses(losses)

    def save_for_later(self) -> str:
        """Save what is there, unless nothing was trained, and return how to go on."""
        if self.health.steps and self.health.weights_are_fine():
            self.saver.save("latest")
        self.saver.wait()
        return self.saver.how_to_continue()

    # ---- the end of an epoch ------------------------------------------------------------------

    @property
    def epoch_seconds(self) -> float:
        """How long the epoch has taken so far."""
        return time.time() - self._epoch_began

    def measure(self) -> tuple[bool, bool]:
        """Measure the model and record what the epoch brought.

        Returns:
            whether the weights may be saved, and whether they are the best so far.
        """
        seconds = self.epoch_seconds
        is_fine = self.health.weights_are_fine()
        if self.health.steps and not self.reporter.shown:  # fewer images than --display_freq
            self._report_images(for_page=True)
        epoch = self.progress.epoch
        found = self.validator.measure(epoch) if self.validator and is_fine else None
        is_best = found is not None and self.best.update(epoch, found.metrics)
        means = self.losses.means(self.model.loss_names)
        rates = self.trained.learning_rates()
        record = epoch_record(self.progress, rates, means, seconds, found, self.best)
        self.reporter.epoch(record, found.samples if found else [])
        return is_fine, is_best

    def update_learning_rate(self) -> None:
        """Step the schedules; `--lr_policy plateau` follows the best metric or the mean loss."""
        watched = self.best.latest if self.best.name else self.losses.generators_mean()
        if watched is not None:
            self.model.metric = watched
        self.model.update_learning_rate()


def start_run(
    start: ResumePoint,
    facts: Mapping[str, str],
    dataset: Data,
    trained: TrainedModel,
    create_dataset: Callable[[Namespace], validation.Data],
    has_split: Callable[[Namespace, str], bool],
    create_visualizer: Callable[[Namespace], Any],
) -> Run:
    """Make all that takes part in a run, and bring it to where the run begins.

    Args:
        start: where that is.
        facts: the options that differ from their defaults, for the page.
        dataset: what is trained on.
        trained: the model.
        create_dataset: makes the data to validate on.
        has_split: tells whether there is such data.
        create_visualizer: makes what shows and logs.
    """
    opt = start.opt
    best = BestEpoch(new_option(opt, "save_best"), new_option(opt, "early_stop"))
    validator = create_validator(opt, trained, best, create_dataset, has_split)
    reporter = reporter_of(create_visualizer(opt))
    to_validate = len(validator.dataset) if validator else 0
    reporter.begin(overview(facts, len(dataset), to_validate))
    run = Run(opt, dataset, trained, reporter, validator, best)
    run.progress.epoch = start.epoch
    start.restore(trained, run.saver)
    return run
