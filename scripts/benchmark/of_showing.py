"""Groups test, save, page and plot: what people look at."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from benchmark import cases
from benchmark.images import write_photos
from benchmark.machine import has_flag
from benchmark.series import Measured, Series
from benchmark.setting import Setting, missing, mode_options, row
from benchmark.side import Side, UnknownOptionError
from benchmark.table import Goal, Row
from benchmark.visdom_stub import Swallower, swallowing

SIDE = 256
TRANSLATED = {"few": 2, "many": 10}  # images of two runs; the difference is without start-up
SAVED, LABELS = 12, 6  # inputs, and images of each, as cycle_gan's test makes them
EPOCHS, POINTS = 200, 10_000
GROWS = 3.0  # how much dearer the last update must be than an early one, to call it growing


# ---- test.py ------------------------------------------------------------------------------


def test_rows(setting: Setting) -> Iterator[Row]:
    """Time test.py, from reading images to the written page."""
    folders = {name: setting.folder / "photos" / name for name in TRANSLATED}
    for name, count in TRANSLATED.items():
        write_photos(folders[name], count, SIDE)
    for mode, value in cases.TEST_GOALS.items():
        case, goal = f"test.py on {SIDE} px CPU, {mode}, per image", Goal("faster", value)
        setting.tell(case)
        try:
            yield _test_row(setting, mode, case, goal, folders)
        except UnknownOptionError as error:
            yield missing("test", case, goal, error)


def _test_row(setting: Setting, mode: str, case: str, goal: Goal, folders: dict[str, Path]) -> Row:
    run = setting.options("tested", "--model", "cycle_gan", size=SIDE)
    with setting.sides() as sides:
        side = sides.get("reference", sides["ours"])
        side.ask("training.build", name="model", argv=run)
        side.ask("training.save", name="model", label="latest")
        side.ask("training.forget", name="model")

        def per_image(name: str) -> Measured:
            times = {}
            for amount, folder in folders.items():
                argv = [*_test_options(setting, name, folder), *mode_options(name, mode)]
                times[amount] = sides[name].ask("showing.run_test", argv=argv)
            more = TRANSLATED["many"] - TRANSLATED["few"]
            return {c: (times["many"][c] - times["few"][c]) / more for c in ("cpu", "wall")}

        tasks = {name: partial(per_image, name) for name in sides}
        result = row("test", case, goal, setting.measure(tasks))
    if mode == "bf16" and not has_flag("amx_bf16") and result.ok == "no":
        result.not_judged = "the goal was set on a processor with AMX, which this one has not"
    return result


def _test_options(setting: Setting, name: str, folder: Path) -> list[str]:
    return [
        "--dataroot", str(folder), "--name", "tested", "--gpu_ids", "-1", "--model", "test",
        "--checkpoints_dir", str(setting.folder / "checkpoints"), "--model_suffix", "_A",
        "--no_dropout", "--results_dir", str(setting.folder / f"results_{name}"),
    ]  # fmt: skip


# ---- saving -------------------------------------------------------------------------------


def save_rows(setting: Setting) -> Iterator[Row]:
    """Time the saving of results on two cores, until the last file is written."""
    case = f"saving a {SIDE} px image, 2 cores"
    setting.tell(case)
    photos = setting.folder / "photos" / "saved"
    write_photos(photos, SAVED, SIDE)
    paths = sorted(map(str, photos.iterdir()))
    with setting.sides(threads=2) as sides:
        tasks = {
            name: side.task("showing.save_results", images=paths, labels=LABELS,
                            folder=str(setting.folder / f"saved_{name}"))
            for name, side in sides.items()
        }  # fmt: skip
        result = row("save", case, cases.SAVING, setting.measure(tasks, "wall"))
    for name in sides:
        files = list((setting.folder / f"saved_{name}" / "images").glob("*.png"))
        size = sum(file.stat().st_size for file in files) / max(1, len(files)) / 1024
        result.notes.append(f"{name}: {len(files)} files of {size:.0f} KB on average")
    yield result


# ---- the training page --------------------------------------------------------------------


def page_rows(setting: Setting) -> Iterator[Row]:
    """Time an update of the training page late in training."""
    epochs = 20 if setting.quick else EPOCHS
    case = f"page update at epoch {epochs}, without the images"
    setting.tell(case)
    with setting.sides(threads=1) as sides:
        for name, side in sides.items():
            for moment, number in (("early", 2), ("late", epochs)):
                argv = setting.options(f"page_{name}_{moment}", "--model", "cycle_gan")
                side.ask("showing.open_visualizer", name=moment, argv=argv)
                side.ask("showing.fill_page", name=moment, epochs=number)
        late = {
            name: side.task("showing.update_page", name="late", epoch=epochs)
            for name, side in sides.items()
        }
        early = {
            name: side.task("showing.update_page", name="early", epoch=2)
            for name, side in sides.items()
        }
        result = row("page", case, cases.PAGE, setting.measure(late))
        growth = _growth(result, setting.measure(early))
    result.notes.append(f"against the update at epoch 2: {_said(growth)}")
    if growth.get("reference", GROWS) < GROWS:
        result.not_judged = "the reference's update does not grow with the epochs either"
    elif setting.quick:
        result.not_judged = f"the goal is for epoch {EPOCHS}"
    yield result


def _growth(result: Row, early: dict[str, Series]) -> dict[str, float]:
    late = {"ours": result.ours, "reference": result.reference}
    return {name: found.median / early[name].median for name, found in late.items() if found}


def _said(factors: dict[str, float]) -> str:
    return ", ".join(f"{name} {factor:.1f} times as long" for name, factor in factors.items())


# ---- the loss plot ------------------------------------------------------------------------


def plot_rows(setting: Setting) -> Iterator[Row]:
    """Time and weigh an update of the loss plot late in training."""
    points = 1000 if setting.quick else POINTS
    case = f"loss plot update at {points:,} points"
    setting.tell(case)
    with ExitStack() as stack:
        sides = stack.enter_context(setting.sides(threads=1))
        servers = {name: stack.enter_context(swallowing()) for name in sides}
        weights = {n: _fill(setting, side, servers[n], n, points) for n, side in sides.items()}
        tasks = {
            name: side.task("showing.add_point", name="late", number=points + 1)
            for name, side in sides.items()
        }
        result = row("plot", case, cases.PLOT, setting.measure(tasks))
    result.notes.append("bytes sent for a point, at 10 points and now: " + ", ".join(
        f"{name} {early:,.0f} and {late:,.0f}" for name, (early, late) in weights.items()
    ))  # fmt: skip
    result.not_judged = _why_plot_is_not_judged(weights) or (
        f"the goal is for {POINTS:,} points" if setting.quick else ""
    )
    early, late = weights["ours"]
    yield result
    yield Row("plot", "loss plot: bytes of ours now / at 10 points", Goal("limit", 1.5),
              ours=Series([late / early], "") if early else None)  # fmt: skip


def _why_plot_is_not_judged(weights: dict[str, tuple[float, float]]) -> str:
    if "reference" not in weights:
        return ""
    early, late = weights["reference"]
    if late == 0:
        return "the reference sends nothing: it has no live plots"
    return "the reference sends new points only, too" if late < GROWS * early else ""


def _fill(
    setting: Setting, side: Side, server: Swallower, name: str, points: int
) -> tuple[float, float]:
    """Bring the plot to `points`; return the bytes of a point at 10 points and then."""
    found = []
    for moment, number in (("early", 10), ("late", points)):
        server.has_window = False
        argv = setting.options(f"plot_{name}_{moment}", "--model", "cycle_gan", "--no_html",
                               "--display_port", str(server.port))  # fmt: skip
        argv[argv.index("--display_id") + 1] = "1"
        side.ask("showing.open_visualizer", name=moment, argv=argv)
        side.ask("showing.fill_plot", name=moment, points=number)
        sizes = []
        for _ in range(3):
            before = server.bytes
            side.ask("showing.add_point", name=moment, number=number)
            sizes.append(server.bytes - before)
        found.append(float(median(sizes)))
    return found[0], found[1]
