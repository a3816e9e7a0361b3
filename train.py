"""Train a model: python train.py --dataroot DIR --name RUN --model cycle_gan (or pix2pix, ...).

    python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan
    python train.py --dataroot ./datasets/facades --name facades --model pix2pix --direction BtoA
    python train.py --name facades --continue_train

`python train.py --help` lists all options. Networks, losses and images go to
`checkpoints/RUN`; open `checkpoints/RUN/web/index.html` in a browser.
"""

import sys

if __name__ == "__main__":  # before the imports that take seconds
    from util.base.log import tell_of_loading
    from util.base.stop_signals import end_at_ctrl_c

    end_at_ctrl_c()
    tell_of_loading()

from argparse import Namespace
from collections.abc import Sequence
from functools import partial

from data import create_dataset, first_images, has_split
from models import create_model
from models.storage.trained_model import TrainedModel
from options.parsing.result import Result
from options.train_options import TrainOptions
from util.base import rng
from util.base.errors import run_command
from util.base.log import say
from util.base.new_options import new_option
from util.processes import launching
from util.processes.together import together
from util.storage.run_folder import iteration_label
from util.training.resume import ResumePoint
from util.training.run import Run
from util.training.run_lock import RunLock
from util.visualizer import Visualizer


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line (or `argv`) says."""
    options = TrainOptions()
    opt = options.parse(argv, quiet=True)
    if launching.must_be_started(opt):  # --gpu_ids 0,1: several processes, which begin here again
        launching.start(opt, __file__, argv)
        return
    with together(opt) as was_restarted, RunLock() as lock:
        lock.take(opt)  # two runs in one folder would overwrite each other
        options.result.tell()
        train(opt, options.result, was_restarted)


def train(opt: Namespace, options: Result, was_restarted: bool = False) -> None:
    """Train; `options` knows which of them were given."""
    rng.seed_all(new_option(opt, "seed"))
    if new_option(opt, "deterministic"):
        rng.use_deterministic_algorithms()
    epoch_is_given = "epoch_count" in options.given and not was_restarted
    start = ResumePoint(opt, epoch_is_given)  # epoch 1, or of --continue_train
    dataset = create_dataset(opt)  # --dataset_mode NAME is data/NAME_dataset.py
    say(f"The number of training images = {len(dataset)}")
    dataset.warn_of_bad_images()
    model = create_model(opt)  # --model NAME is models/NAME_model.py
    model.setup(opt)  # schedules, and the networks to continue with
    run = Run(
        start, dataset, TrainedModel(model), facts=options.not_default,
        create_dataset=create_dataset, has_split=has_split, create_visualizer=Visualizer,
        first_images=partial(first_images, dataset.dataset),
    )  # fmt: skip
    with run.session():
        options.save(opt)  # now that it is clear that the run can go on with them
        while not run.is_over:
            train_epoch(run)
            end_epoch(run)


def train_epoch(run: Run) -> None:
    """Train one epoch, or what is left of it; a signal to stop ends the process."""
    for batch in run.batches():  # as the data set's __getitem__ made them
        run.model.set_input(batch)  # take it apart, move it to the device
        run.model.optimize_parameters()  # forward, losses, gradients, new weights
        run.after_step()  # count, and note the losses without waiting for the device
        report(run)


def report(run: Run) -> None:
    """Show, print and save whatever is due after this step; all frequencies count images."""
    opt, due = run.opt, run.progress.crossed
    show, log, save = due(opt.display_freq), due(opt.print_freq), due(opt.save_latest_freq)
    run.saver.check()  # has the last save reached the disk?
    if (show or log or save) and not run.health.losses_are_fine():
        return  # training has gone back to the last save
    if show:
        run.show_images(for_page=due(opt.update_html_freq))
    elif run.progress.step == 1:
        run.show_first_images()  # something to see from the first minute on
    if log:
        run.show_losses()
    if save and run.health.weights_are_fine():
        images = run.progress.total_images
        say(f"saving the latest model (epoch {run.progress.epoch}, total_iters {images})")
        run.saver.save(iteration_label(images) if opt.save_by_iter else "latest")


def end_epoch(run: Run) -> None:
    """Measure, update learning rates, save what is due and go on to the next epoch."""
    is_fine, is_best = run.measure()  # on the validation images, and on what training noted
    run.update_learning_rate()
    ended, images = run.progress.epoch, run.progress.total_images
    run.progress.next_epoch()  # a run that is continued from here begins with it
    labels: list[int | str] = []
    if is_fine and (ended % run.opt.save_epoch_freq == 0 or run.is_over):
        say(f"saving the model at the end of epoch {ended}, iters {images}")
        labels = ["latest", ended]
    if is_best:
        say(f"{run.best.summary()}, saved as best")
        labels.append("best")
    if labels:
        run.saver.save(*labels)  # networks, and all that an exact resume needs
    seconds = int(run.epoch_seconds)
    say(f"End of epoch {ended} / {run.last_epoch} \t Time Taken: {seconds} sec")
    if run.best.should_stop:
        say(f"Stopped early, {run.best.summary()} (--epoch best).")


if __name__ == "__main__":
    sys.exit(run_command(main, several=True))
