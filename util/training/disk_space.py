"""How much a run will write, and whether the disk has room for it."""

import shutil
from argparse import Namespace
from dataclasses import dataclass

from util.base.log import note, warn
from util.base.new_options import new_option
from util.storage.run_folder import RunFolder
from util.training.asked import TrainedModel
from util.training.fixed_images import MOST
from util.training.length import Length
from util.training.progress import Progress
from util.training.saver import kept_saves

SHARE_OF_PNG = 0.7  # of the bytes of a photograph's pixels, about


@dataclass(frozen=True)
class Forecast:
    """What a run will have written at its end, in bytes; saves that are replaced count once."""

    networks: int  # saves of networks
    states: int  # of these, saves with all that an exact resume needs
    saves: float  # bytes
    pages: float  # bytes

    @property
    def total(self) -> float:
        """Saves and pages together."""
        return self.saves + self.pages


def forecast(opt: Namespace, trained: TrainedModel, progress: Progress, images: int) -> Forecast:
    """Foresee what the rest of a run writes, over a data set of so many images."""
    length, keep, keep_states = Length.of(opt, images), *kept_saves(opt)
    last = length.last_epoch(progress)
    by_epoch = _between(progress.epoch - 1, last, opt.save_epoch_freq)
    by_epoch += last % opt.save_epoch_freq > 0  # the last one is always saved
    end = progress.total_images + length.images_left(progress)
    by_images = _between(progress.total_images, end, opt.save_latest_freq)
    numbered = [by_epoch, by_images] if opt.save_by_iter else [by_epoch]
    others = 1 + bool(new_option(opt, "save_best"))  # latest, best
    networks = others + int(sum(min(count, keep) for count in numbered))
    states = others + int(sum(min(count, keep, keep_states) for count in numbered))
    of_networks, of_state = trained.save_bytes()
    image = 3 * opt.crop_size**2 * SHARE_OF_PNG
    rows = 0 if opt.no_html else (last - progress.epoch + 1) * (1 + MOST)
    return Forecast(
        networks,
        states,
        saves=networks * of_networks + states * of_state,
        pages=rows * len(trained.model.visual_names) * image,
    )


def _between(done: int, end: int, every: int) -> int:
    """Return how many multiples of `every` lie above `done`, up to the end."""
    return end // every - done // every


def tell_of_disk_space(folder: RunFolder, needed: Forecast) -> None:
    """Say what the saves and pages of a run will take, and warn if there is less."""
    try:
        free = shutil.disk_usage(folder.path).free
    except (OSError, AttributeError):  # not every disk tells, nor every system
        return
    text = (
        f"Saves and pages will take about {in_words(needed.total)} ({needed.networks} saves, "
        f"{needed.states} of them for an exact --continue_train); {in_words(free)} are free."
    )
    if needed.total <= free:
        note(text)
    else:
        warn(
            f"{text} Give a larger --save_epoch_freq, --keep_last or --no_html, or another disk "
            "as --checkpoints_dir."
        )


def in_words(size: float) -> str:
    """Write a number of bytes for people."""
    if size >= 1e9:
        return f"{size / 1e9:,.1f} GB"
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else "1 MB"
