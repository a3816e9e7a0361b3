"""What every checkout understands: options, models, seeds; and the clocks."""

import io
import os
import random
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

QUIET_SECONDS = 0.1  # background work is over when nobody has computed for so long
LONGEST_WAIT = 60.0


class RefusedError(Exception):
    """The checkout does not take these options."""


def train_options(argv: list[str]) -> Namespace:
    """Parse the options of train.py.

    Raises:
        RefusedError: with the checkout's own words.
    """
    from options.train_options import TrainOptions

    sys.argv = ["train.py", *argv]  # the original's parse() takes no arguments
    with refusals():
        return TrainOptions().parse()


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the end of a command whose options are wrong (status 2) into an exception."""
    errors = io.StringIO()
    try:
        with redirect_stderr(errors):
            yield
    except SystemExit as end:
        said = errors.getvalue().strip().splitlines() or [f"it ended with status {end.code}"]
        if end.code == 2:
            raise RefusedError(said[-1].partition("error: ")[2] or said[-1]) from None
        if end.code:
            raise RuntimeError(said[-1]) from None


def create_model(argv: list[str], seed: int) -> Any:
    """Build a model for training."""
    from models import create_model as create

    opt = train_options(argv)
    seed_all(seed)
    model = create(opt)
    model.setup(opt)
    return model


def seed_all(seed: int) -> None:
    """Start every random generator from here."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Measure seconds: of the processor in all threads ("cpu"), and on the wall ("wall")."""
    times: dict[str, float] = {}
    cpu, wall = time.process_time(), time.perf_counter()
    yield times
    times["wall"] = time.perf_counter() - wall
    times["cpu"] = time.process_time() - cpu


@contextmanager
def timed_with_background() -> Iterator[dict[str, float]]:
    """Measure as `timed` does, until the work that was left to other threads is done too."""
    times: dict[str, float] = {}
    began, own, others = time.perf_counter(), time.thread_time(), _of_others()
    yield times
    returned, own = time.perf_counter(), time.thread_time() - own
    ended = max(returned, wait_for_background())
    times["wall"] = ended - began
    times["cpu"] = own + _of_others() - others  # without what the waiting itself took


def wait_for_background() -> float:
    """Wait until no other thread has computed for a moment, and return when that began.

    The time is that of `time.perf_counter`, or 0 if nobody computed at all.
    """
    began = since = time.perf_counter()
    last, active = _of_others(), 0.0
    while (now := time.perf_counter()) < since + QUIET_SECONDS and now < began + LONGEST_WAIT:
        time.sleep(0.005)
        computed = _of_others()
        if computed > last + 1e-4:
            last, since = computed, time.perf_counter()
            active = since
    return active


def _of_others() -> float:
    """Return how much the other threads have computed, in seconds."""
    return time.process_time() - time.thread_time()


def versions() -> dict[str, Any]:
    """Return what the checkout runs with."""
    import numpy
    import PIL
    import torch

    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return {
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "gpu": cuda,
        "pid": os.getpid(),
        "gpus": torch.cuda.device_count(),
    }
