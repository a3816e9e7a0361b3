"""Groups startup and stall: whole runs of train.py."""

from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

from benchmark import cases
from benchmark.checkouts import launch
from benchmark.context import Context, row
from benchmark.results import Measured, Row, Series

IMAGES, SIDE = 40, 64
EVERY = 4  # images between two times that something is shown or saved
NEVER = "1000000"
DUE = {
    "display": ["--display_freq", str(EVERY), "--update_html_freq", str(EVERY), "--print_freq",
                str(EVERY), "--save_latest_freq", NEVER],
    "saving": ["--display_freq", NEVER, "--update_html_freq", NEVER, "--print_freq", NEVER,
               "--save_latest_freq", str(EVERY)],
}  # fmt: skip


def startup_rows(context: Context) -> Iterator[Row]:
    """Time train.py from the command to its first step."""
    context.tell("command to first iteration")
    reports: dict[str, dict[str, Any]] = {}

    def start(name: str) -> Measured:
        argv = _options(context, f"start_{name}", "--display_freq", NEVER)
        reports[name] = _launch(context, name, "first", argv)
        return {clock: reports[name][clock] for clock in ("cpu", "wall")}

    tasks = {name: partial(start, name) for name in _names(context)}
    result = row("startup", "command to first iteration", cases.START, context.measure(tasks))
    is_lighter = "reference" in reports and not reports["reference"]["imports_torchvision"]
    if is_lighter and result.ok == "no":
        result.not_judged = (
            "the goal is about importing torchvision, which the reference does not do"
        )
    yield result


def stall_rows(context: Context) -> Iterator[Row]:
    """Measure what the training loop loses by display and by saving, against a step."""
    for what, options in DUE.items():
        case = f"stall by {what}, once, in % of a step"
        context.tell(case)
        found, notes = {}, []
        for name in _names(context):
            argv = _options(context, f"stall_{what}_{name}", *options, "--crop_size",
                            str(context.size), "--load_size", str(context.size))  # fmt: skip
            report = _launch(context, name, "gaps", argv)
            seconds = stall(report["gaps"])
            found[name] = Series([100 * seconds / report["step"]], "%")
            notes.append(f"{name}: {1000 * seconds:.1f} ms, a step {report['step']:.2f} s")
        result = row("stall", case, cases.STALL, found)
        result.notes += notes
        if context.size != cases.GOAL_SIZE:
            result.not_judged = f"the goal is for steps of {cases.GOAL_SIZE} px"
        yield result


def stall(gaps: list[float]) -> float:
    """Return how much longer the gaps are after which something was due, in seconds.

    Args:
        gaps: what lies between steps; the first one comes after image number 1.
    """
    settled = list(enumerate(gaps, start=1))[EVERY:]  # the first time prepares things
    due = [gap for image, gap in settled if image % EVERY == 0]
    other = [gap for image, gap in settled if image % EVERY != 0]
    return max(0.0, median(due) - median(other))


def _names(context: Context) -> list[str]:
    return ["ours"] if context.reference is None else ["ours", "reference"]


def _options(context: Context, run: str, *more: str) -> list[str]:
    data = context.dataset(IMAGES, SIDE)
    return context.options(run, "--model", "cycle_gan", "--num_threads", "1", *more, data=data)


def _launch(context: Context, name: str, watch: str, argv: list[str]) -> dict[str, Any]:
    checkout = context.ours if name == "ours" else context.reference
    assert checkout is not None
    log = context.folder / f"{name}_{watch}.log"
    return launch(checkout, log, context.threads, watch, "train.py", argv)
