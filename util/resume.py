"""Where a run begins: at the start, or where an earlier one was interrupted."""

from argparse import Namespace
from pathlib import Path

from util import rng
from util.log import say, warn
from util.progress import Progress
from util.saver import Model, Saver, read_state, state_file

# Whoever continues with other values of these wants other learning rates.
RATE_OPTIONS = (
    *("lr", "lr_G", "lr_D", "lr_gamma", "lr_policy", "lr_decay_iters"),
    *("beta1", "n_epochs", "n_epochs_decay"),
)


class Start:
    """Decide where a run begins, and bring its parts there.

    Made before the model, since the learning rates depend on it: `opt.epoch_count` is set to the
    epoch from which the schedules of the model to come must count.

    Attributes:
        epoch: the first epoch to train.
        state: what the run saved; None for a new run, or if there are networks alone.
    """

    def __init__(self, opt: Namespace, epoch_is_given: bool) -> None:
        self.opt = opt
        self.folder = Path(opt.checkpoints_dir, opt.name)
        self.label = f"iter_{opt.load_iter}" if opt.load_iter > 0 else opt.epoch
        self.state = read_state(self.folder, self.label) if opt.continue_train else None
        self.epoch: int = opt.epoch_count
        self.other_epoch = self.new_rates = False
        if self.state is None:
            if not opt.continue_train and state_file(self.folder, "latest").exists():
                warn(
                    f"{self.folder} holds a run already, which this one will overwrite. "
                    "--continue_train goes on with it instead."
                )
            return
        saved, saved_epoch = self.state["options"], self.state["progress"]["epoch"]
        self.other_epoch = epoch_is_given and opt.epoch_count != saved_epoch
        if not self.other_epoch:
            self.epoch = saved_epoch
        changed = [name for name in RATE_OPTIONS if saved.get(name) != getattr(opt, name, None)]
        self.new_rates = self.other_epoch or bool(changed)
        opt.epoch_count = self.epoch if self.new_rates else saved["epoch_count"]

    def restore(self, model: Model, saver: Saver) -> None:
        """Bring all parts to where they were, and say what could not be brought there."""
        if self.state is None:
            if self.opt.continue_train:
                say(
                    f"{self.folder} has no training state for {self.label}, only networks: "
                    "optimisers, image pools, random numbers and the count of images begin anew, "
                    f"the learning rate as in epoch {self.epoch} (--epoch_count)."
                )
            return
        state, progress = self.state, saver.progress
        model.load_training_state(state["model"], keep_rates=self.new_rates)
        progress.load_state_dict(state["progress"])
        saver.visualizer.load_state_dict(state["visualizer"])
        for name, part in saver.others.items():
            if name in state:
                part.load_state_dict(state[name])
        rng.load_state_dict(state["random"])
        saver.last_label = self.label
        if self.other_epoch:
            say(
                f"--epoch_count {self.epoch} was given, the saved run stands in epoch "
                f"{progress.epoch}: going on with epoch {self.epoch}."
            )
            progress.epoch, progress.epoch_images = self.epoch, 0
        elif saver.dataset.has_pictures_of(state["data"]):
            saver.dataset.load_state_dict(state["data"])
            saver.epoch_loss.load_state_dict(state["epoch_loss"])
        else:
            self._give_up_the_epoch(model, progress)
        say(
            f"Continuing from {self.folder}/{self.label}: epoch {progress.epoch}, image "
            f"{progress.epoch_images} ({progress.total_images} in all)"
        )

    def _give_up_the_epoch(self, model: Model, progress: Progress) -> None:
        say("The pictures of the data set, or their order, are not those of the saved run.")
        if progress.epoch_images > 0:
            say(f"Epoch {progress.epoch} had been begun with them; the next one starts.")
            model.update_learning_rate()
            progress.next_epoch()
