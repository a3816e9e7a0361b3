"""Compare what several processes have left with what one has left."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from util.storage import checkpoint


def results(folder: Path, case: str) -> list[dict[str, Any]]:
    """Return what each process has written, the first one's first."""
    files = sorted(folder.glob(f"{case}_[0-9].pth"))
    return [checkpoint.load_state(file) for file in files]


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all that is in a nest of containers, with the way to it."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(each, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from leaves(each, f"{where}[{number}]")
    else:
        yield where, value


def largest_difference(a: Any, b: Any, without: list[str]) -> tuple[float, str]:
    """Return how far two nests of equal shape are apart at most, and where that is.

    What has no effect is left out: parameters by name, and optimisers' averages of them.
    """
    found = (0.0, "")
    for (where, one), (there, other) in zip(leaves(a), leaves(b), strict=True):
        assert where == there
        if any(where.startswith(f".networks.{name}") for name in without):
            continue
        if isinstance(one, Tensor) and one.is_floating_point():
            distance = float((one - other).abs().max()) if one.numel() else 0.0
            found = max(found, (distance, where))
        elif isinstance(one, Tensor):
            assert torch.equal(one, other), where
        elif isinstance(one, float):
            found = max(found, (abs(one - other), where))
        else:
            assert one == other, where
    return found
