"""Put together what an epoch brought."""

import math
import sys
from collections.abc import Mapping

import torch

from util.display.sinks.base import BestRecord, EpochRecord
from util.training.best import BestEpoch
from util.training.progress import Progress
from util.training.validation import Validation


def epoch_record(
    progress: Progress,
    learning_rates: Mapping[str, float],
    means: Mapping[str, float],
    seconds: float,
    found: Validation | None,
    best: BestEpoch,
) -> EpochRecord:
    """Put together what an epoch brought, before its end is counted in `progress`."""
    record = EpochRecord(
        epoch=progress.epoch,
        total_iters=progress.total_images,
        lr=dict(learning_rates),
        seconds=seconds,
        images_per_second=progress.images_here / seconds if seconds > 0 else 0.0,
        memory_mib=most_memory(),
        train=dict(means),
    )
    if found is not None:
        record["val"] = found.metrics
        record["val_images"] = found.images
        record["val_statistics"] = found.statistics
        record["val_seconds"] = found.seconds
    if best.name:
        record["best"] = BestRecord(metric=best.name, value=best.value, epoch=best.epoch)
    return record


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
