"""Whether there is memory for the steps of a run, said before the first one."""

import math
from argparse import Namespace

import torch

from util.base import rng
from util.base.log import warn
from util.base.system import free_memory, processes_here
from util.processes import group
from util.training.asked import TrainedModel
from util.training.disk_space import in_words

LIKE_WEIGHTS = 3  # gradients, and Adam's two averages


def tell_of_memory(opt: Namespace, trained: TrainedModel) -> None:
    """Warn if a batch is likely not to fit, with the largest one that does.

    Of a model that says what an image needs; others find out in their first step.
    """
    with rng.isolated(0), group.alone():  # finding out may draw random numbers
        per_image, free = trained.memory_per_image(), _free(trained.model.device)
    if per_image is None or free is None:
        return
    fixed = LIKE_WEIGHTS * 4 * sum(trained.parameters().values())
    if trained.model.device.type == "cpu":
        free //= processes_here()[1]  # which share it
    needed = fixed + math.ceil(opt.batch_size / group.count()) * per_image
    if needed <= free:
        return
    fits = int(max(0, free - fixed) // per_image) * group.count()
    advice = (
        f"--batch_size {fits} fits; --accumulate then makes steps nearly as of more images."
        if fits
        else "Not even one image fits: give a smaller --crop_size, --ngf or --ndf."
    )
    warn(
        f"A step of --batch_size {opt.batch_size} takes about {in_words(needed)} of memory"
        f"{' in each process' if group.count() > 1 else ''}, but "
        f"{in_words(free)} are free. {advice} --grad_checkpoint needs less memory, and more time."
    )


def _free(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory()
