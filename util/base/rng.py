"""The global random generators: one place to save, restore and seed them."""

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_MASK = 2**64 - 1


def state_dict() -> dict[str, Any]:
    """Return the state of all generators, as plain containers that load safely."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def load_state_dict(state: Mapping[str, Any]) -> None:
    """Put the generators back to where `state_dict` found them."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


def capture(*, numpy: bool = True) -> tuple[Any, ...]:
    """Return the host's generators as they are, fast; without numpy's, which takes longest."""
    state = random.getstate(), torch.get_rng_state()
    return (*state, np.random.get_state()) if numpy else state


def put_back(captured: tuple[Any, ...]) -> None:
    """Undo all draws since `capture`."""
    random.setstate(captured[0])
    torch.set_rng_state(captured[1])
    if len(captured) > 2:
        np.random.set_state(captured[2])


def fold_seed(*numbers: int) -> int:
    """Fold integers into one 64-bit seed; neighbouring inputs give unrelated seeds (splitmix64)."""
    mixed = 0
    for number in numbers:
        mixed = (mixed + number + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 31
    return mixed


def seed_all(seed: int) -> None:
    """Seed python, numpy and torch (the generators a data set may draw from) with one number."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Seed all generators for a while, then put them back: what is drawn meanwhile is nobody's."""
    before = state_dict()
    seed_all(seed)
    try:
        yield
    finally:
        load_state_dict(before)


def use_deterministic_algorithms() -> None:
    """Let torch use only algorithms that give the same bits in every run, even if slower."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
