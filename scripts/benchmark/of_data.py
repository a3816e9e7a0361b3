"""Groups data and list: images on their way to the model."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmark import cases
from benchmark.machine import memory_folder
from benchmark.setting import Setting, missing, mode_options, row
from benchmark.side import Side, UnknownOptionError
from benchmark.table import Goal, Row

SIDE = 256  # of the images; --load_size 286 --crop_size 256 are the defaults
IMAGES, FEW = 64, 8
WORKERS = {"fork": 4, "spawn": 1}
SECONDS = 1.0  # a repetition at least: an epoch alone takes a few milliseconds
EPOCHS_TO_FILL = 8  # a cache: unpaired images are drawn at random
FOLDERS = 10
FILES_TO_PROFILE = 1000


def data_rows(setting: Setting) -> Iterator[Row]:
    """Time the loader: one core without workers, and the first batch of later epochs."""
    for mode, case, goal in (
        ("default", "loader per core: a pair, same bits", None),
        ("max", "loader per core: a pair, --speed max", cases.LOADER),
        ("cached", "loader per core: a pair, cached", None),
        ("cached levels", "loader per core: a pair, cached, up to what goes to a GPU",
         cases.LOADER_CACHED),
    ):  # fmt: skip
        setting.tell(case)
        try:
            yield _loader_row(setting, mode, case, goal)
        except UnknownOptionError as error:
            yield missing("data", case, goal, error)
    for method, goal in cases.FIRST_BATCH.items():
        setting.tell(f"first batch of a later epoch, {method}")
        yield _first_batch_row(setting, method, goal)


def _options(setting: Setting, images: int, workers: int, *more: str) -> list[str]:
    sizes = ["--load_size", "286", "--crop_size", str(SIDE)]
    data = setting.dataset(images, SIDE)
    return setting.options("data", *sizes, "--num_threads", str(workers), *more, data=data)


def _loader_row(setting: Setting, mode: str, case: str, goal: Goal | None) -> Row:
    with setting.sides(threads=1) as sides:
        for name, side in sides.items():
            argv = _options(setting, IMAGES, 0, *mode_options(name, mode))
            side.ask("loading.open_data", name="images", argv=argv, levels="levels" in mode)
            for _ in range(EPOCHS_TO_FILL if "cached" in mode else 0):
                side.ask("loading.read_epochs", name="images")
        tasks = {
            name: side.task("loading.read_epochs", name="images", seconds=SECONDS)
            for name, side in sides.items()
        }
        return row("data", case, goal, setting.measure(tasks))


def _first_batch_row(setting: Setting, method: str, goal: Goal) -> Row:
    workers = WORKERS[method]
    case = f"later epoch's first batch: {method}, {workers} worker{'s' * (workers > 1)}"
    with setting.sides(threads=1) as sides:
        for side in sides.values():
            argv = _options(setting, FEW, workers)
            side.ask("loading.open_data", name="images", argv=argv, start_method=method)
        tasks = {
            name: side.task("loading.first_batch", name="images", seconds=SECONDS)
            for name, side in sides.items()
        }
        result = row("data", case, goal, setting.measure(tasks, "wall"))
        if "reference" in sides and _keeps_workers(sides["reference"]):
            result.not_judged = "the reference keeps its workers between epochs"
    return result


def _keeps_workers(side: Side) -> bool:
    """Tell whether two epochs are read by the same processes."""
    before, after = (side.ask("loading.first_batch", name="images") for _ in range(2))
    return bool(before["workers"]) and before["workers"] == after["workers"]


def list_rows(setting: Setting) -> Iterator[Row]:
    """Time the listing of very many files, in memory if there is a file system for that."""
    case = f"listing {setting.files:,} files"
    setting.tell(f"{case}: making them")
    with tempfile.TemporaryDirectory(prefix="bench_", dir=memory_folder()) as folder:
        many, few = Path(folder, "many"), Path(folder, "few")
        _touch(many, setting.files)
        _touch(few, FILES_TO_PROFILE)
        setting.tell(case)
        with setting.sides(threads=1) as sides:
            tasks = {
                name: side.task("loading.list_files", folder=str(many))
                for name, side in sides.items()
            }
            result = row("list", case, cases.LISTING, setting.measure(tasks))
            calls = {
                name: side.ask("loading.calls_per_file", folder=str(few))["calls"]
                for name, side in sides.items()
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
