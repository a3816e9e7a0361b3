"""What takes part in a training run, and what is done around the steps of train.py."""

import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from operator import methodcaller
from traceback import clear_frames
from typing import Any

import torch

from util.base.errors import OUT_OF_MEMORY, LoadError, UserError, suggest
from util.base.faces import is_of_2025
from util.base.log import note, say, warn
from util.base.new_options import new_option
from util.base.stop_signals import Stopped, StopSignals, may_stop
from util.base.system import is_out_of_memory
from util.display.pages.overview import overview
from util.display.reporter import reporter_of
from util.display.sinks.base import BestRecord, EpochRecord, LogStep, deliver
from util.processes import group
from util.processes.agreement import all_or_none
from util.processes.failures import ProcessError
from util.training.asked import Loader, Stateful, TrainedModel
from util.training.best import BestEpoch
from util.training.disk_space import forecast, tell_of_disk_space
from util.training.fixed_images import FixedImages, create_fixed_images
from util.training.health import HealthMonitor
from util.training.length import Length
from util.training.memory import tell_of_memory
from util.training.meters import LossMeter
from util.training.new_run import NewRun
from util.training.progress import Progress
from util.training.resume import ResumePoint
from util.training.saver import Saver
from util.training.summary import summary, what_next
from util.training.time_left import TimeLeft, epoch_bar
from util.training.validation import Validation, create_validator


class Run:
    """A training run: its parts, and what train.py need not spell out."""

    def __init__(
        self,
        start: ResumePoint,
        dataset: Loader,
        trained: TrainedModel,
        *,
        facts: Mapping[str, str],  # the options that differ from their defaults, for the page
        create_dataset: Callable[[Namespace], Loader],  # of what is validated on
        has_split: Callable[[Namespace, str], bool],
        first_images: Callable[[Namespace], Loader],  # of the training data, as options say
        create_visualizer: Callable[[Namespace], Any],
    ) -> None:
        opt = self.opt = start.opt
        self.dataset = dataset
        self.model, self.trained = trained.model, trained
        self.progress = Progress(epoch=start.epoch)
        self.length = Length.of(opt, len(dataset))
        self.losses = LossMeter()  # over the epoch, for the curves and --lr_policy plateau
        self.best = BestEpoch(new_option(opt, "save_best"), new_option(opt, "early_stop"))
        with group.alone():  # nothing of its data is divided but what it divides itself
            self.validator, self._why_no_validation = create_validator(
                opt, trained, self.best, create_dataset, has_split
            )
        self._new_run = NewRun(opt)
        with self._new_run.undone_on_failure():
            self._new_run.set_earlier_run_aside()
            self.visualizer = create_visualizer(opt)  # perhaps a fork's: gets the original's calls
            if hasattr(self.visualizer, "set_dataset_size"):  # as 2025's have
                images = self.length.images_in_epoch
                deliver([self.visualizer], lambda it: it.set_dataset_size(images))
            self.reporter = reporter_of(self.visualizer)  # for the rest
            self.fixed_images: FixedImages | None = None  # if nobody shows them
            if any(sink.images_every for sink in self.reporter.sinks):
                self.fixed_images = create_fixed_images(opt, trained, self.validator, first_images)
            parts: dict[str, Stateful] = {"data": dataset, "progress": self.progress}
            parts |= {"visualizer": self.reporter, "best": self.best}
            self.saver = Saver(opt, trained, self.losses, parts)
            on_nan = new_option(opt, "on_nan")
            self.health = HealthMonitor(trained, self.saver, self.progress, self.losses, on_nan)
            start.restore(self.saver, dataset, self.progress, self.best, self.reporter)
        self._data = dataset.stream()  # the epochs take their batches from
        self._time_left = TimeLeft(self.progress, self.length)
        self._facts, self._has_split = facts, has_split
        self._stop = StopSignals(with_others=group.count() > 1)
        self._is_in_step = False
        self._told_of_losses = self._told_of_gradients = False

    def _look_at_accumulation(self) -> None:
        """Say what `--accumulate` leaves over at the end of the run; all of it is an error."""
        every = new_option(self.opt, "accumulate")
        left = self.length.batches_left(self.progress)
        waiting = self.progress.step % every  # of a run that is continued
        if not self.is_over and (unused := (waiting + left) % every):
            what = f"--accumulate {every} with {left} batches to go"
            if self.progress.step + left < every:
                raise UserError(
                    f"{what}: they do not fill one step, so nothing would be trained. Lower "
                    f"--accumulate, or raise {self.length.longer}."
                )
            say(f"{what}: the last {unused} fill no step, so they train nothing.")

    @property
    def is_over(self) -> bool:
        """Tell whether there is nothing left to train."""
        return self.length.is_over(self.progress) or self.best.should_stop

    @property
    def last_epoch(self) -> int:
        """The number of the last epoch, if nothing stops the run early."""
        return self.length.last_epoch(self.progress)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Train inside; signals are noted, and however it ends, displays and files are whole."""
        undone = self._new_run.undone_on_failure(unless=lambda: self.health.steps > 0)
        shown = self.reporter.session(self.saver.how_to_continue)
        with undone, self._stop, shown, self.saver, closing(self._data):
            self._begin()
            self._look_at_accumulation()
            try:
                yield
                if self.validator:
                    self.validator.tell_failures()
            except Stopped:
                assert self._stop.received is not None
                say(f"Stopped by {self._stop.received.name}. {self.save_for_later()}")
                raise SystemExit(self._stop.status) from None
            except LoadError as error:
                how = self._save_if_all_can(error)
                raise _with_more(error, " ".join(filter(None, [error.hint, how]))) from error
            except ProcessError as error:
                raise _with_more(error, self._save_if_all_can(error)) from error
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._forget_step(error)
                how = self._save_if_all_can(error)
                raise UserError(f"{OUT_OF_MEMORY}\n  {how}") from None

        others = "val" if self.validator else self.opt.phase
        phase = "test" if self._has_split(self.opt, "test") else others
        note(what_next(self.opt, "best" if self.best.epoch else "latest", phase))

    def _begin(self) -> None:
        """Tell people and displays what kind of run this is."""
        length = self.length
        if length.is_over(self.progress):
            say(f"Nothing left to do: {length.end} is done. To go on, raise {length.longer}.")
        elif self.best.should_stop:
            say(f"Nothing left to do: the run was stopped early, {self.best.summary()}. To go on, "
                "raise --early_stop, or give 0.")  # fmt: skip
        else:
            needed = forecast(self.opt, self.trained, self.progress, len(self.dataset))
            tell_of_disk_space(self.saver.folder, needed)
            tell_of_memory(self.opt, self.trained)
        to_validate = len(self.validator.dataset) if self.validator else 0
        sizes, device = self.trained.parameters(), self.model.device
        why_none = self._why_no_validation
        if not self.is_over:
            note(summary(self.opt, len(self.dataset), sizes, device, to_validate, why_none))
        self.reporter.begin(overview(self._facts, length.images_in_epoch, to_validate))

    def _forget_step(self, error: Exception) -> None:
        """Give back the memory of a step that had too little, so that there is enough to save.

        Its batch counts as seen: an optimiser may have taken its step before the memory ran out.
        """
        clear_frames(error.__traceback__)
        self.trained.forget_graphs()
        if self._is_in_step:
            self._count_step()

    # ---- steps --------------------------------------------------------------------------------

    def batches(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of the running epoch, or what is left of it, with a progress line.

        A signal to stop ends the process after the step, or while the next batch is waited for,
        and after a save.
        """
        self._epoch_began = waiting_since = time.time()
        self._images_before = self.progress.images_here
        self._losses_shown = False
        if self.progress.epoch_images == 0:
            self.reporter.begin_epoch()
            deliver([self.visualizer], lambda it: it.reset())
            self.losses.reset()
        with epoch_bar(self._time_left) as self._bar:
            while not self.length.epoch_is_over(self.progress):
                batch = next(self._data)
                self._step_began = time.time()
                self._load_seconds = self._step_began - waiting_since
                self.trained.begin_batch()
                self._is_in_step = True
                yield batch
                waiting_since = time.time()
        all_or_none(_stop_if_asked)  # after the last step

    def _count_step(self) -> None:
        self.progress.advance(self.opt.batch_size, self.dataset.images_in_batch)
        self.trained.after_step()

    def after_step(self) -> None:
        """Note the losses of the step, and count it; does not wait for the device."""
        self._is_in_step = False
        self._count_step()
        names, values = self.trained.loss_vector()
        self.losses.add(names, values, self.progress.step_images)
        self._bar.update(self.progress.step_images)
        self.health.after_step(values)
        self._step_seconds = time.time() - self._step_began

    def show_images(self, *, for_page: bool) -> None:
        """Show the images of the last step; the page takes the first ones of an epoch anyway."""
        visuals = self.trained.visuals()
        self.reporter.total_images = self.progress.total_images

        def show(visualizer: Any) -> None:
            epoch, call = self.progress.epoch, visualizer.display_current_results
            count = [self.progress.total_images] if is_of_2025(call) else []
            call(visuals, epoch, *count, for_page)

        deliver([self.visualizer], show)
        self.reporter.shown = True
        self.health.hints.advise_on_images(visuals)

    def show_first_images(self) -> None:
        """Put the images of the last step on the page, until those of its epoch are due."""
        self.reporter.first_images(LogStep(self.progress.epoch), self.trained.visuals())

    def show_losses(self) -> None:
        """Print, log and plot the losses of the last step."""
        epoch, images = self.progress.epoch, self.progress.epoch_images
        losses = self.trained.current_losses()
        self._losses_shown = True
        self.reporter.total_images = self.progress.total_images
        seconds = self._step_seconds / self.progress.step_images, self._load_seconds
        shown = methodcaller("print_current_losses", epoch, images, losses, *seconds)
        deliver([self.visualizer], shown)
        deliver([self.visualizer], lambda it: self._plot(it, losses))
        self.health.hints.advise_on_losses(losses)

    def _plot(self, visualizer: Any, losses: Mapping[str, float]) -> None:
        progress, plot = self.progress, getattr(visualizer, "plot_current_losses", None)
        if plot is not None and is_of_2025(plot):
            plot(progress.total_images, losses)
        elif self.opt.display_id > 0 or any(s.losses_as == "plot" for s in self.reporter.sinks):
            fraction = min(1.0, progress.epoch_images / self.length.epoch_images(progress))
            visualizer.plot_current_losses(progress.epoch, fraction, losses)

    def save_for_later(self) -> str:
        """Save what is there, unless nothing was trained, and return how to go on."""
        if self.health.steps and self.health.weights_are_fine():
            self.saver.save("latest")
        self.saver.wait()
        return self.saver.how_to_continue()

    def _save_if_all_can(self, error: Exception) -> str:
        """Save unless other processes are in the middle of a step, and return how to go on."""
        if group.count() == 1 or getattr(error, "is_shared", False):
            return self.save_for_later()
        return self.saver.how_to_continue()

    # ---- the end of an epoch ------------------------------------------------------------------

    @property
    def epoch_seconds(self) -> float:
        """How long the epoch has taken so far."""
        return time.time() - self._epoch_began

    def measure(self) -> tuple[bool, bool]:
        """Record what the epoch brought; tell if the weights are fine, and if they are the best."""
        seconds = self.epoch_seconds
        is_fine = self.health.weights_are_fine()
        is_missing = not (self.reporter.shown or self.opt.no_html)  # from the page
        if self.health.steps and is_missing:  # fewer images than --display_freq
            self.show_images(for_page=True)
        epoch = self.progress.epoch
        found = self.validator.measure(epoch) if self.validator and is_fine else None
        # Before anything is noted: a signal may end this, and the run goes on with all of it.
        samples = self.fixed_images.draw() if self.fixed_images and is_fine else []
        is_best = found is not None and self.best.update(epoch, found.metrics)
        self._measured = found.metrics[self.best.name] if found and self.best.name else None
        record = self._record(seconds, found)
        self.reporter.epoch(record, samples)
        if record["train"] and not self._losses_shown:  # fewer images than --print_freq
            means = " ".join(f"{name}: {value:.3f}" for name, value in record["train"].items())
            note(f"mean losses of epoch {epoch}: {means}")
        if is_fine and self.health.steps:
            self._look_for_losses(record["train"])
            self._look_for_gradients()
        return is_fine, is_best

    def _look_for_losses(self, known: Mapping[str, float]) -> None:
        """Say once that the model lists a loss which it has not set in the epoch."""
        listed = [name for name in self.model.loss_names if isinstance(name, str)]
        unset = [name for name in listed if name not in known]
        if unset and not (self._told_of_losses or self.health.has_gone_back):
            self._told_of_losses = True
            warn(
                f"{type(self.model).__name__} lists {unset[0]!r} in loss_names but has not set "
                f"self.loss_{unset[0]} in this epoch. {suggest(unset[0], known, 'Set')}"
            )

    def _look_for_gradients(self) -> None:
        """Say once that an epoch has computed no gradient, so that nothing is learned."""
        if not self._told_of_gradients and not self.trained.learns():
            self._told_of_gradients = True
            kind = type(self.model).__name__
            warn(
                f"{kind} has trained nothing in this epoch: no weight has a gradient. Let its "
                "optimize_parameters call self.optimization.backward(loss, optimizer) before the "
                "step, and see that the loss depends on the network's output."
            )

    def _record(self, seconds: float, found: Validation | None) -> EpochRecord:
        progress, best = self.progress, self.best
        images = progress.images_here - self._images_before
        record = EpochRecord(
            epoch=progress.epoch,
            total_iters=progress.total_images,
            lr=dict(self.trained.learning_rates()),
            seconds=seconds,
            images_per_second=images / seconds if seconds > 0 else 0.0,
            memory_mib=most_memory(),
            train=self.losses.means(self.model.loss_names),
        )
        if found is not None:
            record["val"], record["val_images"] = found.metrics, found.images
            record["val_statistics"], record["val_seconds"] = found.statistics, found.seconds
        if best.name:
            value, of_epoch = best.saved
            record["best"] = BestRecord(metric=best.name, value=value, epoch=of_epoch)
        return record

    def update_learning_rate(self) -> None:
        """Step what counts epochs; `--lr_policy plateau` follows what the epoch has brought.

        That is the metric of --save_best, else the mean of the generators' loss. There is none if
        nothing was measured, or if training has just gone back to a save.
        """
        measured = self._measured if self.best.name else self.losses.generators_mean()
        if measured is None and not self.best.name and not self.losses.is_empty:
            self.health.hints.advise_on_schedule(self.opt.lr_policy)
        self.trained.update_learning_rate(measured)


def _stop_if_asked() -> None:
    with may_stop():
        pass


def _with_more(error: UserError, text: str) -> UserError:
    """Return an error that says more; of several processes one says it."""
    more = (ProcessError if isinstance(error, ProcessError) else UserError)(f"{error}\n  {text}")
    more.is_said = error.is_said
    return more


def most_memory() -> float:
    """Return the most memory used so far in MiB: the GPU's, without one the process's."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10
