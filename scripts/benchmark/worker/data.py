"""Images on their way to the model: the loader, and listing files."""

import multiprocessing
import sys
import time
from collections import Counter
from typing import Any

import torch

from benchmark.worker.interface import seed_all, timed, train_options

BLOCK = 24_000_000  # bytes; glibc's limit for what is described below is 32 MB

_loaders: dict[str, Any] = {}


def open_data(name: str, argv: list[str], start_method: str = "") -> dict[str, Any]:
    """Create the data set with its loader, in a process that treats memory like a training one.

    A model's large tensors have taught glibc not to give back each freed image to the system,
    which would have to clear it again for the next one; here a block does so that nobody uses.

    Args:
        name: to call it by later.
        argv: the command line.
        start_method: how workers are started.
    """
    from data import create_dataset

    if start_method:
        torch.multiprocessing.set_start_method(start_method, force=True)
    opt = train_options(argv)
    seed_all(0)
    torch.empty(BLOCK, dtype=torch.uint8)
    _loaders[name] = create_dataset(opt)
    return {"images": len(_loaders[name])}


def read_epochs(name: str, seconds: float = 0.0) -> dict[str, float]:
    """Read all images once, or again until so much time is over; return the times of one item."""
    items = 0
    with timed() as times:
        end = time.perf_counter() + seconds
        while items == 0 or time.perf_counter() < end:
            for _ in _loaders[name]:
                items += 1
    return {clock: spent / items for clock, spent in times.items()}


def first_batch(name: str, seconds: float = 0.0) -> dict[str, Any]:
    """Begin an epoch, note the time to its first batch, and read the rest of it.

    Again until so much time is over; returns the means, and the last epoch's worker processes.
    """
    spent: Counter[str] = Counter()
    epochs = 0
    end = time.perf_counter() + seconds
    while epochs == 0 or time.perf_counter() < end:
        with timed() as times:
            batches = iter(_loaders[name])
            next(batches)
        workers = sorted(child.pid or 0 for child in multiprocessing.active_children())
        for _ in batches:
            pass
        spent.update(times)
        epochs += 1
    return {**{clock: total / epochs for clock, total in spent.items()}, "workers": workers}


def list_files(folder: str) -> dict[str, Any]:
    """List the images below a folder."""
    from data.image_folder import make_dataset

    with timed() as times:
        found = make_dataset(folder)
    return {**times, "files": len(found)}


def calls_per_file(folder: str) -> dict[str, float]:
    """Return how many calls of functions, Python's and built-in ones, listing a file takes."""
    from data.image_folder import make_dataset

    calls: Counter[str] = Counter()

    def note(_frame: Any, event: str, _argument: Any) -> None:
        calls[event] += 1

    sys.setprofile(note)
    try:
        files = len(make_dataset(folder))
    finally:
        sys.setprofile(None)
    return {"calls": (calls["call"] + calls["c_call"]) / files}
