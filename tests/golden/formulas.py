"""Recorded values, the formulas of their inputs, and the ways to compare.

Inputs and weights come from integer arithmetic, so that they are the same on every machine.
"""

import gzip
import json
import random
import runpy
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tests.support.paths import ROOT

DATA = Path(__file__).resolve().parent / "data"


@cache
def load(name: str) -> Any:
    """Return the records of `data/NAME.json.gz`."""
    with gzip.open(DATA / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def script_main(name: str) -> Callable[[list[str]], Any]:
    """Return `main` of train.py or test.py.

    Read from the file: `import test` may find the standard library's package of that name.
    """
    main: Callable[[list[str]], Any] = runpy.run_path(str(ROOT / f"{name}.py"))["main"]
    return main


def u(count: int, stream: int) -> NDArray[np.float64]:
    """Return `count` numbers in [0, 1): a 32-bit integer hash of (index, stream)."""
    h: NDArray[Any] = np.arange(count, dtype=np.uint64) * 2654435761
    h = (h + (stream + 1) * 2246822519) & 0xFFFFFFFF
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = ((h ^ (h >> np.uint64(shift))) * factor) & 0xFFFFFFFF
    return (h ^ (h >> np.uint64(16))).astype(np.float64) / 2.0**32


def noise(shape: Sequence[int], stream: int) -> Tensor:
    """Return a float32 tensor with values in [-1, 1)."""
    values = 2 * u(prod(shape), stream) - 1
    return torch.from_numpy(values.astype(np.float32)).reshape(tuple(shape))


def fill(net: nn.Module, offset: int, gain: float = 1.0) -> None:
    """Overwrite all weights and floating buffers of a float32 network by formula."""
    for position, (key, entry) in enumerate(net.state_dict().items()):
        if entry.is_floating_point():
            values = _formula_values(key, tuple(entry.shape), offset + position, gain)
            entry.copy_(torch.from_numpy(values.astype(np.float32)).reshape(entry.shape))


def _formula_values(
    key: str, shape: tuple[int, ...], stream: int, gain: float
) -> NDArray[np.float64]:
    n = prod(shape)
    positive = u(n, stream)
    centred = 2 * positive - 1
    if key.endswith("running_mean"):
        return 0.2 * centred
    if key.endswith("running_var"):
        return 1 + 0.5 * positive
    if key.endswith("bias"):
        return 0.1 * centred
    if len(shape) >= 2:
        return gain * centred * np.sqrt(6 / (n / shape[0]))
    return 1 + 0.2 * centred


def flat(values: Any) -> NDArray[np.float64]:
    """Return the values of a tensor, an array or a list in a row, in float64."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64).reshape(-1)


def strided(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return `count` values spread evenly from the first to the last."""
    positions = [round(j * (len(values) - 1) / max(count - 1, 1)) for j in range(count)]
    return np.take(values, positions)


def summary(values: Any, record: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return the statistics and samples that a recorded summary holds, of other values."""
    row = flat(values)
    functions: dict[str, Callable[[], Any]] = {
        "mean": row.mean,
        "std": row.std,
        "absmean": lambda: np.abs(row).mean(),
        "min": row.min,
        "max": row.max,
        "first": lambda: row[: len(record["first"])],
        "strided": lambda: strided(row, len(record["strided"])),
    }
    return {name: np.atleast_1d(f()) for name, f in functions.items() if name in record}


def summary_difference(values: Any, record: Mapping[str, Any]) -> float:
    """Return the largest absolute difference from a recorded summary; shapes must agree."""
    assert list(values.shape) == record["shape"]
    found = summary(values, record)
    assert found, "an empty record compares nothing"
    return max(difference(found[name], record[name]) for name in found)


def difference(values: Any, recorded: Any) -> float:
    """Return the largest absolute difference; nan counts as infinite."""
    a, b = flat(values), flat(recorded)
    assert a.shape == b.shape
    worst = float(np.abs(a - b).max(initial=0.0))
    return float("inf") if np.isnan(worst) else worst


def relative_difference(values: Any, recorded: Any, floor: float = 1e-12) -> float:
    """Return the largest difference in units of the recorded values (at least `floor` each)."""
    a, b = flat(values), flat(recorded)
    assert a.shape == b.shape
    worst = float((np.abs(a - b) / np.maximum(np.abs(b), floor)).max(initial=0.0))
    return float("inf") if np.isnan(worst) else worst


def image_difference(path: Path, recorded: Path) -> int:
    """Return the largest difference of two image files in grey levels; sizes must agree."""
    with Image.open(path) as a, Image.open(recorded) as b:
        assert (a.size, a.mode) == (b.size, b.mode), f"{path.name}: {a.size} {a.mode}"
        levels = np.asarray(a, dtype=np.int16) - np.asarray(b, dtype=np.int16)
    return int(np.abs(levels).max())


def seed_everything(seed: int) -> None:
    """Seed torch, python and numpy."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def next_draws(count: int) -> tuple[list[float], float]:
    """Tell what torch.rand and random.random would give next, and leave them as they are."""
    with torch.random.fork_rng(devices=[]):
        from_torch = torch.rand(count).tolist()
    state = random.getstate()
    from_python = random.random()
    random.setstate(state)
    return from_torch, from_python


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, as the recording did: rounding depends on how sums are split."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def from_json(value: Any) -> Any:
    """Undo the recording's way to write infinity."""
    return float("inf") if value == "inf" else value


def listing(state: Mapping[str, Tensor]) -> list[list[Any]]:
    """List [key, shape, type] of a state dict."""
    return [
        [key, list(entry.shape), str(entry.dtype).removeprefix("torch.")]
        for key, entry in state.items()
    ]


def value_of(argv: Sequence[str], flag: str, default: str = "") -> str:
    """Return the word after an option of a command line."""
    return argv[argv.index(flag) + 1] if flag in argv else default


def transform_options(**values: Any) -> Namespace:
    """Return an object with only those fields of the reference that transforms read."""
    defaults = {"preprocess": "none", "load_size": 286, "crop_size": 256, "no_flip": False}
    return Namespace(**(defaults | values))


def files_below(folder: Path) -> set[str]:
    """Return the paths of all files below a folder, relative to it."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def ids(records: Iterable[Mapping[str, Any]], *fields: str) -> list[str]:
    """Return one readable test id per record; several with the same fields get a number."""
    names: list[str] = []
    for record in records:
        parts = [str(record[field]).replace(" ", "") for field in fields if field in record]
        name = "-".join(parts)
        same = sum(1 for other in names if other.split("#")[0] == name)
        names.append(f"{name}#{same}" if same else name)
    return names
