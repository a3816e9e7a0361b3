"""Do both sides compute the same? Asked before any speed is."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.cases import EXACT, FIRST_LOSSES, model_options
from benchmark.checkouts import Checkout
from benchmark.context import Context

SIZE = 128  # of the images; layers are large enough for the convolutions of this project
NARROW = ("--ngf", "16", "--ndf", "16")  # for a quick look: without those convolutions
SEED = 1
NO_GRADIENT = 1e-9  # of the largest gradient of a network: rounding around a true zero

Arrays = Mapping[str, NDArray[Any]]


class DisagreementError(Exception):
    """The sides do not compute the same."""


def check(context: Context) -> list[str]:
    """Compare one step of each model, and return a line for each comparison.

    Both sides start from the same weights, get the same batch, and draw from the same seed.

    Raises:
        DisagreementError: losses or gradients differ in float64, or first losses in float32.
    """
    with context.checkouts() as checkouts:
        return [
            line for model in context.models for line in _compare_steps(context, checkouts, model)
        ]


def _compare_steps(context: Context, checkouts: dict[str, Checkout], model: str) -> Iterator[str]:
    """Compare a step in float64, then one in float32: there, rounding may differ."""
    exact = _take_step(context, checkouts, model, "float64")
    what = f"{model}, one step in float64"
    loss = compare_losses(what, exact.losses["reference"], exact.losses["ours"], EXACT)
    truth = exact.gradients["reference"]
    worst = compare_gradients(what, truth, exact.gradients["ours"])
    yield f"{what}: losses differ by {loss:.1e} at most, gradients by {worst:.1e}"

    rounded = _take_step(context, checkouts, model, "float32")
    what = f"{model}, one step in float32"
    loss = compare_losses(what, rounded.losses["reference"], rounded.losses["ours"], FIRST_LOSSES)
    far = {name: rounding(truth, found) for name, found in rounded.gradients.items()}
    yield (
        f"{what}: losses differ by {loss:.1e} at most; from float64, gradients of the reference "
        f"are {far['reference']:.1e} away, ours {far['ours']:.1e}"
    )


@dataclass
class _Step:
    """What both sides found."""

    losses: dict[str, dict[str, float]]
    gradients: dict[str, Arrays]


def _take_step(context: Context, checkouts: dict[str, Checkout], model: str, kind: str) -> _Step:
    width = NARROW if context.quick else ()
    options = model_options(model, SIZE)
    argv = context.options(f"numerics_{model}", *options, *width, size=SIZE)
    context.tell(f"numerics of {model}, {kind}")
    step = _Step({}, {})
    for name, checkout in reversed(checkouts.items()):  # the reference's weights
        is_first = name == next(reversed(checkouts))
        checkout.ask("training.build", name=kind, argv=argv, load="" if is_first else "same")
        if is_first:
            checkout.ask("training.save", name=kind, label="same")
        file = context.folder / f"{name}_{model}_{kind}.npz"
        found = checkout.ask("training.step_with_gradients", name=kind, size=SIZE, seed=SEED,
                         file=str(file), double=kind == "float64")  # fmt: skip
        checkout.ask("training.forget", name=kind)
        step.losses[name], step.gradients[name] = found["losses"], _read_and_remove(file)
    return step


def _read_and_remove(file: Path) -> dict[str, NDArray[Any]]:
    with np.load(file) as arrays:
        read = {key: arrays[key] for key in arrays.files}
    file.unlink()  # hundreds of megabytes
    return read


def compare_losses(
    what: str, reference: Mapping[str, float], ours: Mapping[str, float], limit: float
) -> float:
    """Compare losses by name, and return the largest relative difference.

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
    return largest_difference(reference, ours)


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


def rounding(truth: Arrays, found: Arrays) -> float:
    """Return how far the weights' gradients are from the true ones, relative to their length.

    Of the network where that is most.
    """
    error: defaultdict[str, float] = defaultdict(float)
    length: defaultdict[str, float] = defaultdict(float)
    for name in (name for name in truth if name.endswith(".weight")):
        network = name.partition(".")[0]
        error[network] += float(np.square(found[name] - truth[name]).sum())
        length[network] += float(np.square(truth[name]).sum())
    return max((error[network] / length[network]) ** 0.5 for network in error)


def _largest_gradients(arrays: Arrays) -> dict[str, float]:
    """Return the largest value among the gradients of each network."""
    found: dict[str, float] = {}
    for name, values in arrays.items():
        network = name.partition(".")[0]
        found[network] = max(found.get(network, 0.0), float(np.abs(values).max(initial=0.0)))
    return found


def _is_zero(gradient: NDArray[Any] | None, scale: float) -> bool:
    return gradient is None or float(np.abs(gradient).max(initial=0.0)) <= NO_GRADIENT * scale
