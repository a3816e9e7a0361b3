"""Do both sides compute the same? Asked before any speed is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.cases import EXACT, FIRST_LOSSES, model_options, pix2pix_size
from benchmark.setting import Setting
from benchmark.side import Side

SIZE = 64  # of the pictures
NARROW = ("--ngf", "16", "--ndf", "16")  # width changes nothing but the time it takes
SEED = 1
NO_GRADIENT = 1e-9  # of the largest gradient of a network: rounding around a true zero

Arrays = Mapping[str, NDArray[Any]]


class DisagreementError(Exception):
    """The sides do not compute the same."""


def check(setting: Setting) -> list[str]:
    """Compare one step of each model, and return a line for each comparison.

    Both sides start from the same weights, get the same batch, and draw from the same seed.

    Raises:
        DisagreementError: losses or gradients differ in float64, or first losses in float32.
    """
    lines = []
    with setting.sides() as sides:
        for model in setting.models:
            for double in (True, False):
                setting.tell(f"numerics of {model}, {'float64' if double else 'float32'}")
                lines.append(_compare_step(setting, sides, model, double=double))
    return lines


def _compare_step(setting: Setting, sides: dict[str, Side], model: str, *, double: bool) -> str:
    size = pix2pix_size(SIZE) if model == "pix2pix" else SIZE
    argv = setting.options(
        f"numerics_{model}", *model_options(model, size), *NARROW, size=size
    )  # fmt: skip
    kind = "float64" if double else "float32"
    losses, gradients = {}, {}
    for name, side in reversed(sides.items()):  # the reference's weights
        is_first = name == next(reversed(sides))
        side.ask("training.build", name=kind, argv=argv, load="" if is_first else "same")
        if is_first:
            side.ask("training.save", name=kind, label="same")
        file = setting.folder / f"{name}_{model}_{kind}.npz"
        found = side.ask("training.step_with_gradients", name=kind, size=size, seed=SEED,
                         file=str(file), double=double)  # fmt: skip
        side.ask("training.forget", name=kind)
        losses[name], gradients[name] = found["losses"], _read(file)
    what = f"{model}, one step in {kind}"
    compare_losses(what, losses["reference"], losses["ours"], EXACT if double else FIRST_LOSSES)
    loss = largest_difference(losses["reference"], losses["ours"])
    if not double:
        return f"{what}: losses differ by {loss:.1e} at most"
    worst = compare_gradients(what, gradients["reference"], gradients["ours"])
    return f"{what}: losses differ by {loss:.1e} at most, gradients by {worst:.1e}"


def _read(file: Path) -> dict[str, NDArray[Any]]:
    with np.load(file) as arrays:
        return {key: arrays[key] for key in arrays.files}


def compare_losses(
    what: str, reference: Mapping[str, float], ours: Mapping[str, float], limit: float
) -> None:
    """Compare losses by name.

    Raises:
        DisagreementError: names differ, or a value by more than `limit`, relative.
    """
    if reference.keys() != ours.keys():
        raise DisagreementError(
            f"{what}: the losses are {list(reference)} there, {list(ours)} here"
        )
    for name, value in reference.items():
        difference = relative(value, ours[name])
        if not difference <= limit:  # nan too
            raise DisagreementError(
                f"{what}: the loss {name} is {value!r} there, {ours[name]!r} here: a relative "
                f"difference of {difference:.1e}, and {limit:g} is allowed"
            )


def largest_difference(reference: Mapping[str, float], ours: Mapping[str, float]) -> float:
    """Return the largest relative difference of losses."""
    return max(relative(value, ours[name]) for name, value in reference.items())


def relative(one: float, other: float) -> float:
    """Return a relative difference; losses near 0 are not magnified."""
    return abs(one - other) / max(abs(one), 1e-3)


def compare_gradients(what: str, reference: Arrays, ours: Arrays) -> float:
    """Compare the gradients of parameters by name, and return the largest difference.

    It is relative: the length of the difference against that of the reference's gradient. Left
    out are biases whose gradient is 0 but for rounding, as in front of an instance norm, which
    takes every constant away. Ours may have none there.

    Raises:
        DisagreementError: a gradient is missing, or differs by more than 1e-10.
    """
    largest = _largest_gradients(reference)
    worst = 0.0
    for name, expected in reference.items():
        found, scale = ours.get(name), largest[name.partition(".")[0]]
        if name.endswith(".bias") and _is_zero(expected, scale) and _is_zero(found, scale):
            continue
        if found is None or found.shape != expected.shape:
            raise DisagreementError(f"{what}: {name} has a gradient there, and here none like it")
        length = float(np.linalg.norm(expected))
        difference = float(np.linalg.norm(found - expected)) / max(length, NO_GRADIENT * scale)
        if not difference <= EXACT:
            raise DisagreementError(
                f"{what}: the gradient of {name} differs by {difference:.1e}, relative to its "
                f"length, and {EXACT:g} is allowed"
            )
        worst = max(worst, difference)
    if extra := [name for name in ours if name not in reference]:
        raise DisagreementError(f"{what}: {extra[0]} has a gradient here, and there none")
    return worst


def _largest_gradients(arrays: Arrays) -> dict[str, float]:
    """Return the largest value among the gradients of each network."""
    found: dict[str, float] = {}
    for name, values in arrays.items():
        network = name.partition(".")[0]
        found[network] = max(found.get(network, 0.0), float(np.abs(values).max(initial=0.0)))
    return found


def _is_zero(gradient: NDArray[Any] | None, scale: float) -> bool:
    return gradient is None or float(np.abs(gradient).max(initial=0.0)) <= NO_GRADIENT * scale
