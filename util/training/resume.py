"""Where a run begins: at the start, or where an earlier one was interrupted."""

from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from torch import Tensor

from util.base import rng
from util.base.errors import UserError
from util.base.log import say
from util.base.new_options import DEFAULTS, framework_option, new_option, with_ours
from util.display.reporter import Reporter
from util.scores.images import metric_and_direction
from util.storage import checkpoint
from util.storage.checkpoint import CheckpointError
from util.storage.run_folder import RunFolder, label_of
from util.training.asked import Loader
from util.training.best import BestEpoch
from util.training.length import OPTIONS, Length
from util.training.progress import Progress
from util.training.saver import Saver, read_state

# Whoever continues with other values of these wants other learning rates: under every policy, and
# under one of them. `plateau` goes by what was measured, not by the epoch.
OF_RATES = ("lr", "lr_G", "lr_D", "lr_policy")
OF_POLICY = {
    "linear": OPTIONS,
    "step": ("lr_gamma", "lr_decay_iters", "total_steps"),
    "plateau": (),
    "cosine": OPTIONS,
}
OF_ANY_POLICY = tuple(dict.fromkeys(chain(*OF_POLICY.values())))  # for those of a fork
OF_SIZE = ("crop_size", "preprocess")  # of images that are made
NUMBER, SEED = int | float, int | None
# What a training state holds, as far as it is not the model's own business.
LAYOUT: Mapping[str, Any] = {
    "options": {"epoch_count": int},
    "model": dict,
    "progress": {"epoch": int, "epoch_images": int, "total_images": int, "step": int},
    "random": {"python": list, "numpy": list, "torch": Tensor, "cuda": list},
    "data": {"epoch": int, "seed": SEED, "order_seed": SEED, "items": int, "pictures": dict},
    "epoch_loss": {"sum": Tensor | NUMBER, "count": int},
    "visualizer": {"saved": bool, "last_moment": list, "total_images": int, "curves": dict | None},
}
LATER: Mapping[str, Any] = {  # states of earlier versions have none of it
    "loss_means": {"names": list, "sums": Tensor | None, "count": int},
    "best": {"name": str, "value": NUMBER, "epoch": int, "since": int},
    "numbered": list,
}


class ResumePoint:
    """Decide where a run begins, and bring its parts there.

    Made before the model, since the learning rates depend on it: `opt.epoch_count` is set to the
    epoch from which the schedules of the model to come must count. There is no `state` in a new
    run, nor if there are networks alone.
    """

    def __init__(self, opt: Namespace, epoch_is_given: bool) -> None:
        self.opt = opt
        self.folder = RunFolder(opt.checkpoints_dir, opt.name)
        self.label = label_of(opt.load_iter, opt.epoch)
        self.state = read_state(self.folder, self.label) if opt.continue_train else None
        self.epoch: int = opt.epoch_count  # the first to train
        self.other_epoch = False
        self.kept: dict[str, bool] = {}  # what the options decide now, not the state
        if self.state is None:
            return
        there = {name: layout for name, layout in LATER.items() if name in self.state}
        if problems := list(problems_of(self.state, {**LAYOUT, **there})):
            raise self._unfit(f"it has {', '.join(problems)}")
        self.saved = with_ours(self.state["options"])
        saved_epoch = self.state["progress"]["epoch"]
        self.other_epoch = epoch_is_given and opt.epoch_count != saved_epoch
        if not self.other_epoch:
            self.epoch = saved_epoch
        by_epoch = opt.lr_policy != "plateau"
        new_rates = self._changed(*OF_RATES, *OF_POLICY.get(opt.lr_policy, OF_ANY_POLICY))
        self.kept = {
            "keep_rates": bool(new_rates) or (self.other_epoch and by_epoch),
            "keep_momentum": bool(self._changed("beta1")),
            "keep_metric": self._metric_is_new(),
        }
        opt.epoch_count = self.epoch if self.kept["keep_rates"] else self.saved["epoch_count"]

    def _changed(self, *names: str) -> list[str]:
        """Return those of the options that have another value than in the saved run."""
        saved = {**DEFAULTS, **self.saved}  # earlier versions had fewer options
        return [n for n in names if saved.get(n) != framework_option(self.opt, n)]

    def _metric_is_new(self) -> bool:
        before, now = (str(wanted or "") for wanted in (
            self.saved.get("save_best"), new_option(self.opt, "save_best")
        ))  # fmt: skip
        return metric_and_direction(before) != metric_and_direction(now)

    def restore(
        self,
        saver: Saver,
        dataset: Loader,
        progress: Progress,
        best: BestEpoch,
        reporter: Reporter,
    ) -> None:
        """Bring all parts to where they were, and say what could not be brought there."""
        length = Length.of(self.opt)
        dataset.set_epoch(self.epoch)
        if not self.opt.continue_train:
            return
        if self.state is None:
            following = int(self.label) + 1 if self.label.isdecimal() else self.epoch
            say(
                f"{self.folder} has no training state for {self.label}, only networks: "
                "optimisers, image pools, random numbers and the count of images begin anew, "
                f"the learning rate as in {length.beginning(self.epoch, following)}."
            )
            reporter.begin_again_with(self.epoch, total_images=0)
            self._keep_better(best)
            return
        same_images = self._load_into(saver, dataset, self.state)
        self._keep_better(best)
        self._tell_what_changed()
        saver.last_label = self.label
        if self.other_epoch:
            say(
                f"--epoch_count {self.epoch} was given, the saved run stands in epoch "
                f"{progress.epoch}: going on with epoch {self.epoch}."
            )
            progress.begin(self.epoch)
            reporter.begin_again_with(self.epoch, progress.total_images)
        elif same_images:
            dataset.load_state_dict(self.state["data"])
        else:
            say("The images of the data set, or their order, are not those of the saved run.")
            if progress.epoch_images > 0:
                say(f"Epoch {progress.epoch} had been begun with them; the next one starts.")
                saver.trained.update_learning_rate(None)
                progress.next_epoch()
            dataset.set_epoch(progress.epoch)
        say(f"Continuing from {self.folder}/{self.label}: {length.place(progress)}")

    def _load_into(self, saver: Saver, dataset: Loader, state: dict[str, Any]) -> bool:
        """Load all but the place in the data; tell whether the images are the same."""
        try:
            if self._changed(*OF_SIZE):  # images of two sizes make no batch
                for pool in state["model"]["image_pools"].values():
                    pool["images"] = []
            steps = state["progress"]["step"]
            saver.trained.load_training_state(state["model"], steps=steps, **self.kept)
            for name in ("progress", "visualizer", "best"):
                if name in state:
                    saver.parts[name].load_state_dict(state[name])
            saver.losses.load_state_dict(state)
            saver.numbered = list(state.get("numbered", []))
            rng.load_state_dict(state["random"])
            return dataset.has_images_of(state["data"])
        except UserError:
            raise
        except (
            *(LookupError, TypeError, ValueError, AttributeError),
            *(ArithmeticError, RuntimeError),  # from torch too
        ) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise self._unfit(f"{reason} (--verbose shows where)") from error

    def _keep_better(self, best: BestEpoch) -> None:
        """Let the save `best` be, if it is better than all that the save to go on from knows."""
        if not best.name or self.label == "best":
            return
        with suppress(CheckpointError):  # there is none, or none that can be used
            saved = checkpoint.load_state(self.folder.state_file("best"))
            layout = {"best": LATER["best"]}
            is_one = isinstance(saved, dict) and not list(problems_of(saved, layout))
            if is_one and best.keep_better(saved["best"]):
                say(f"{best.summary()}: it stays saved as best until there is a better one.")

    def _tell_what_changed(self) -> None:
        """Say what begins anew or stays although the command line may suggest something else."""
        opt, seed = self.opt, new_option(self.opt, "seed")
        if self.kept["keep_rates"] and opt.lr_policy == "plateau":
            say("Learning rates begin anew with these options, and so does --lr_policy plateau.")
        elif self.kept["keep_metric"] and opt.lr_policy == "plateau":
            now = new_option(opt, "save_best") or "loss_G"
            say(f"--lr_policy plateau follows {now} from here on; the learning rate stays.")
        if self._changed("seed"):
            say(
                f"--seed {seed} changes nothing: random numbers go on as those of the saved run, "
                f"which began with {self.saved.get('seed')}."
            )
        if self._changed("ema") and new_option(self.opt, "ema") == 0:
            say("--ema 0: the run goes on without averages, and so do its saves.")
        if self._changed("direction"):
            say(f"--direction {opt.direction}: the networks have learned the other one until now.")
        if changed := self._changed(*OF_SIZE):
            say(f"--{' and --'.join(changed)}: image pools begin anew with images of that size.")

    def _unfit(self, reason: str) -> CheckpointError:
        path = self.folder.state_file(self.label)
        return CheckpointError(
            f"{path} is no training state that can be continued: {reason}. Delete it to continue "
            "with the networks alone."
        )


def problems_of(state: Any, layout: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Yield what a nest of dicts lacks: entries, or their types; `where` begins their names."""
    for name, kind in layout.items():
        nested = isinstance(kind, Mapping)
        if name not in state:
            yield f"no {where}{name}"
        elif not isinstance(state[name], dict if nested else kind):
            yield f"a {type(state[name]).__name__} as {where}{name}"
        elif nested:
            yield from problems_of(state[name], kind, f"{where}{name}.")
