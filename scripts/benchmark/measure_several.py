"""Group dist: several processes that train together, against one of them alone."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmark import cases
from benchmark.checkouts import Checkout
from benchmark.context import Context
from benchmark.numerics import DisagreementError, compare_losses
from benchmark.results import Measured, Row, Series, quantity

ON_CPU = 2  # processes, where there are not several GPUs
EXACT_SIZES = {"cycle_gan": 64, "pix2pix": 128}  # pixels; U-Nets need as many
NARROW = ("--ngf", "8", "--ndf", "8")
PURPOSES = ("gradients", "pools", "norms", "agreement", "losses")
Taken = Sequence[Sequence[Mapping[str, Any]]]  # what each process says of each step


class Processes:
    """Processes of this checkout that train together; all are asked the same at once."""

    def __init__(self, checkouts: Sequence[Checkout]) -> None:
        self._checkouts = checkouts
        self._pool = ThreadPoolExecutor(len(checkouts))

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self._checkouts)

    def ask(self, task: str, /, **arguments: Any) -> list[dict[str, Any]]:
        """Ask all of them, and return what each answers.

        Raises:
            BenchError: the task failed in one of them.
        """
        asked = [partial(each.ask, task, **arguments) for each in self._checkouts]
        return [each.result() for each in [self._pool.submit(ask) for ask in asked]]

    def ask_first(self, task: str, /, **arguments: Any) -> dict[str, Any]:
        """Ask the first one alone."""
        return self._checkouts[0].ask(task, **arguments)


@contextmanager
def processes(context: Context, count: int) -> Iterator[Processes]:
    """Start processes that have found each other."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    place |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    if os.path.exists("/sys/class/net/lo"):
        place["GLOO_SOCKET_IFNAME"] = "lo"  # whatever the name of this machine leads to
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                Checkout(
                    context.ours, context.folder / f"process_{rank}.log", context.threads,
                    {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                )
            )
            for rank in range(count)
        ]  # fmt: skip
        found = Processes(started)
        found.ask("several.join")
        yield found


def dist_rows(context: Context) -> Iterator[Row]:
    """Compare several processes with one: first what they compute, then how fast."""
    with context.checkout("ours") as checkout:
        gpus = int(checkout.ask("interface.versions")["gpus"])
    count = gpus if gpus > 1 else ON_CPU
    on = "GPUs" if gpus > 1 else "CPU"
    for model in context.models:
        size = cases.pix2pix_size(context.size) if model == "pix2pix" else context.size
        context.tell(f"numerics of {model} in {count} processes")
        with processes(context, count) as several:
            exact = _check(context, several, model)
        context.tell(f"{model} in {count} processes")
        with processes(context, count) as several:
            first, *others = _rows(context, several, f"{model} {size} {on}", model, size)
        first.notes.append(exact)
        yield from (first, *others)
    if gpus < 2:
        notes = ["unmeasured: there are not several GPUs"]
        for model in context.models:
            yield Row("dist", f"{model} on several GPUs, an image", notes=notes)


# ---- what they compute ------------------------------------------------------------------------


def _check(context: Context, several: Processes, model: str) -> str:
    """Compare the first steps in float64, together and of one process, with pools in use.

    Raises:
        DisagreementError: losses or weights differ by more than rounding, or from rank to rank.
    """
    size = EXACT_SIZES[model]
    batch = {"size": size, "batch_size": several.count}
    more = [*NARROW, *(["--pool_size", "2"] if model == "cycle_gan" else [])]
    argv = _options(context, several, f"exact_{model}", model, size, *more)
    files = {way: context.folder / f"{way}_{model}.npz" for way in ("together", "whole")}
    several.ask("training.build", name="exact", argv=argv)
    found = several.ask(
        "several.exact_steps", name="exact", file=str(files["together"]), whole=False, **batch
    )
    if len({each["digest"] for each in found}) > 1:
        raise DisagreementError(f"{model}: weights differ from process to process")
    several.ask("training.build", name="exact", argv=argv)
    alone = several.ask_first(
        "several.exact_steps", name="exact", file=str(files["whole"]), whole=True, **batch
    )
    several.ask("training.forget", name="exact")
    what = f"{model}, first steps in float64"
    loss = compare_losses(what, alone["losses"], found[0]["losses"], cases.EXACT)
    weight = _compare_weights(what, files["whole"], files["together"])
    return f"{what}: losses differ by {loss:.1e} at most, weights by {weight:.1e}"


def _compare_weights(what: str, alone: Path, together: Path) -> float:
    """Return the largest difference of weights, relative to the largest of their layer."""
    worst = 0.0
    with np.load(alone) as expected, np.load(together) as found:
        for name in expected.files:
            scale = max(float(np.abs(expected[name]).max(initial=0.0)), 1e-3)
            far = float(np.abs(expected[name] - found[name]).max(initial=0.0)) / scale
            if not far <= cases.EXACT:
                raise DisagreementError(f"{what}: {name} differs by {far:.1e} from one process")
            worst = max(worst, far)
    return worst


# ---- how fast ---------------------------------------------------------------------------------


def _rows(context: Context, several: Processes, case: str, model: str, size: int) -> Iterator[Row]:
    width = NARROW if context.quick else ()
    argv = _options(context, several, f"dist_{model}", model, size, *width)
    several.ask("training.build", name="model", argv=argv)
    batch = {"name": "model", "size": size, "batch_size": several.count, "seed": 1}

    def take(way: str) -> Measured:
        if way == "whole":
            asked = [several.ask_first("several.step", way=way, **batch)]
        else:
            asked = several.ask("several.step", way=way, **batch)
        return {"wall": max(each["wall"] for each in asked) / several.count}

    ways = {way: partial(take, way) for way in ("whole", "together", "apart", "beside")}
    found = context.measure(ways, "wall")
    yield _speed(f"{case}, an image", found, several.count)
    step = found["together"].median * several.count
    seeds = range(1, max(2, context.reps) + 1)  # what is drawn from pools decides what travels
    taken = [several.ask("several.parts", **batch | {"seed": seed}) for seed in seeds]
    yield from part_rows(case, taken, step)
    longer = (found["beside"].median - found["apart"].median) * several.count
    yield overlap_row(case, _seconds(taken, "gradients, moved"), longer, step)
    if model == "cycle_gan":
        asked = [several.ask("several.own_pools", name="model", size=size) for _ in taken]
        own = median(each["seconds"] for ranks in asked for each in ranks)
        yield _pool_row(case, [seconds - own for seconds in _seconds(taken, "pools")], step)


def _speed(case: str, found: Mapping[str, Series], count: int) -> Row:
    result = Row("dist", case, None, found["whole"], found["together"])
    per_second = {name: 1 / series.median for name, series in found.items()}
    result.notes = [
        f"reference: one process; ours: {count}; the same global batch of {count}",
        f"images/s: {per_second['whole']:.3g} of one process, {per_second['together']:.3g} of "
        f"{count}, {per_second['apart']:.3g} of {count} that exchange nothing "
        f"(so exchanging leaves {per_second['together'] / per_second['apart']:.0%})",
    ]
    return result


def part_rows(case: str, taken: Taken, step: float) -> Iterator[Row]:
    """Make rows of what steps exchange, in per cent of a step.

    Of each exchange that of the process which is last counts: the others have waited until then.
    """
    sent, messages = (_mean(taken, what) for what in ("bytes", "messages"))
    for name in (name for name in PURPOSES if name in sent):
        seconds, moved = _seconds(taken, name), median(_seconds(taken, f"{name}, moved"))
        row = Row("dist", f"{case}: {name}, % of a step", None, ours=_percent(seconds, step))
        plural = "s" * (messages[name] != 1)
        row.notes = [
            f"{quantity(median(seconds), 's')}, {quantity(moved, 's')} of it for "
            f"{_in_bytes(sent[name])} from each process, in {messages[name]:.3g} message{plural}"
        ]
        yield row
    watched = median(max(each["wall"] for each in ranks) for ranks in taken)
    waiting = _seconds(taken, "waiting", of=max)
    row = Row("dist", f"{case}: waiting, % of a watched step", ours=_percent(waiting, watched))
    row.notes = [
        f"{quantity(median(waiting), 's')} of {quantity(watched, 's')}, in which all meet before "
        f"each of {sum(messages.values()):.3g} messages; else a step takes "
        f"{quantity(step, 's')}"
    ]
    yield row


def overlap_row(case: str, moved: Sequence[float], longer: float, step: float) -> Row:
    """Make a row of what sending gradients during a step would save, in per cent of it.

    Args:
        case: what is measured.
        moved: seconds that gradients travel, in each step.
        longer: seconds that a step takes longer if as many bytes travel meanwhile.
        step: seconds of a step.
    """
    row = Row("dist", f"{case}: overlap would save, % of a step", cases.OVERLAP)
    row.ours = _percent([seconds - longer for seconds in moved], step)
    row.notes = [
        f"gradients travel {quantity(median(moved), 's')}; a step takes {quantity(longer, 's')} "
        "longer if as many bytes travel beside it"
    ]
    return row


def _pool_row(case: str, costs: Sequence[float], step: float) -> Row:
    row = Row("dist", f"{case}: one pool for all, % of a step", cases.GLOBAL_POOL)
    row.ours = _percent(costs, step)
    row.notes = [f"{quantity(median(costs), 's')} more than a pool for each process"]
    return row


def _mean(taken: Taken, what: str) -> dict[str, float]:
    """Return what a process counted of each purpose in a step, on average."""
    counts = [each[what] for ranks in taken for each in ranks]
    names = {name for each in counts for name in each}
    return {name: sum(each.get(name, 0) for each in counts) / len(counts) for name in names}


def _in_bytes(number: float) -> str:
    return quantity(number / 1e6, "MB") if number >= 1e5 else f"{number:g} bytes"


def _seconds(taken: Taken, name: str, of: Callable[[Iterator[float]], float] = min) -> list[float]:
    """Return the seconds of one purpose in each step: those of the process that came last."""
    return [of(each["seconds"].get(name, 0.0) for each in ranks) for ranks in taken]


def _percent(seconds: Sequence[float], step: float) -> Series:
    return Series([100 * value / step for value in seconds], "%")


def _options(
    context: Context, several: Processes, run: str, model: str, size: int, *more: str
) -> list[str]:
    argv = context.options(run, *cases.model_options(model, size), *more, size=size)
    return [*argv, "--batch_size", str(several.count)]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
