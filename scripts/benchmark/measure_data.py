"""Groups data and list: images on their way to the model."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmark import cases
from benchmark.checkouts import Checkout, UnknownOptionError
from benchmark.context import Context, missing, mode_options, row
from benchmark.machine import memory_folder
from benchmark.results import Goal, Row

SIDE = 256  # of the images; --load_size 286 --crop_size 256 are the defaults
IMAGES, FEW = 64, 8
WORKERS = {"fork": 4, "spawn": 1}
SECONDS = 1.0  # a repetition at least: an epoch alone takes a few milliseconds
EPOCHS_TO_FILL = 8  # a cache: unpaired images are drawn at random
FOLDERS = 10
FILES_TO_PROFILE = 1000


def data_rows(context: Context) -> Iterator[Row]:
    """Time the loader: one core without workers, and the first batch of later epochs."""
    for mode, case, goal in (
        ("default", "loader per core: a pair, same bits", None),
        ("cached", "loader per core: a pair, cached", cases.LOADER_CACHED),
    ):
        context.tell(case)
        try:
            yield _loader_row(context, mode, case, goal)
        except UnknownOptionError as error:
            yield missing("data", case, goal, error)
    for method, goal in cases.FIRST_BATCH.items():
        context.tell(f"first batch of a later epoch, {method}")
        yield _first_batch_row(context, method, goal)


def _options(context: Context, images: int, workers: int, *more: str) -> list[str]:
    sizes = ["--load_size", "286", "--crop_size", str(SIDE)]
    data = context.dataset(images, SIDE)
    return context.options("data", *sizes, "--num_threads", str(workers), *more, data=data)


def _loader_row(context: Context, mode: str, case: str, goal: Goal | None) -> Row:
    with context.checkouts(threads=1) as checkouts:
        for name, checkout in checkouts.items():
            argv = _options(context, IMAGES, 0, *mode_options(name, mode))
            checkout.ask("data.open_data", name="images", argv=argv)
            for _ in range(EPOCHS_TO_FILL if "cached" in mode else 0):
                checkout.ask("data.read_epochs", name="images")
        tasks = {
            name: checkout.task("data.read_epochs", name="images", seconds=SECONDS)
            for name, checkout in checkouts.items()
        }
        return row("data", case, goal, context.measure(tasks))


def _first_batch_row(context: Context, method: str, goal: Goal) -> Row:
    workers = WORKERS[method]
    case = f"later epoch's first batch: {method}, {workers} worker{'s' * (workers > 1)}"
    with context.checkouts(threads=1) as checkouts:
        for checkout in checkouts.values():
            argv = _options(context, FEW, workers)
            checkout.ask("data.open_data", name="images", argv=argv, start_method=method)
        tasks = {
            name: checkout.task("data.first_batch", name="images", seconds=SECONDS)
            for name, checkout in checkouts.items()
        }
        result = row("data", case, goal, context.measure(tasks, "wall"))
        if "reference" in checkouts and _keeps_workers(checkouts["reference"]):
            result.not_judged = "the reference keeps its workers between epochs"
    return result


def _keeps_workers(checkout: Checkout) -> bool:
    """Tell whether two epochs are read by the same processes."""
    before, after = (checkout.ask("data.first_batch", name="images") for _ in range(2))
    return bool(before["workers"]) and before["workers"] == after["workers"]


def list_rows(context: Context) -> Iterator[Row]:
    """Time the listing of very many files, in memory if there is a file system for that."""
    case = f"listing {context.files:,} files"
    context.tell(f"{case}: making them")
    with tempfile.TemporaryDirectory(prefix="bench_", dir=memory_folder()) as folder:
        many, few = Path(folder, "many"), Path(folder, "few")
        _touch(many, context.files)
        _touch(few, FILES_TO_PROFILE)
        context.tell(case)
        with context.checkouts(threads=1) as checkouts:
            tasks = {
                name: checkout.task("data.list_files", folder=str(many))
                for name, checkout in checkouts.items()
            }
            result = row("list", case, cases.LISTING, context.measure(tasks))
            calls = {
                name: checkout.ask("data.calls_per_file", folder=str(few))["calls"]
                for name, checkout in checkouts.items()
            }
        _judge_calls(result, calls)
        shutil.rmtree(many)
    yield result


def _judge_calls(result: Row, calls: dict[str, float]) -> None:
    """Say how many calls of functions listing a file takes; few of them is what the goal is about.

    Halving the time of a listing that makes hardly more calls than ours is not to be had.
    """
    said = ", ".join(f"{name} {number:.1f}" for name, number in calls.items())
    result.notes.append(f"calls of functions per file: {said}")
    if "reference" in calls and calls["reference"] < 1.5 * calls["ours"]:
        result.not_judged = "the reference lists with as few calls as ours"


def _touch(folder: Path, count: int) -> None:
    """Make empty files, .jpg and .png in turns, in a few folders."""
    for number in range(FOLDERS):
        (folder / f"folder_{number}").mkdir(parents=True)
    for number in range(count):
        ending = ("jpg", "png")[number % 2]
        name = f"{folder}/folder_{number % FOLDERS}/image_{number:07}.{ending}"
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
