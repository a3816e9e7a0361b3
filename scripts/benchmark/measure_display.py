"""Groups test, save, page and plot: what people look at."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from benchmark import cases
from benchmark.checkouts import Checkout, UnknownOptionError
from benchmark.context import Context, missing, mode_options, row, write_photos
from benchmark.machine import has_flag
from benchmark.results import Goal, Measured, Row, Series
from benchmark.visdom_stub import VisdomStub, stub_server

SIDE = 256
TRANSLATED = {"few": 2, "many": 10}  # images of two runs; the difference is without start-up
SAVED, LABELS = 12, 6  # inputs, and images of each, as cycle_gan's test makes them
EPOCHS, POINTS = 200, 10_000
GROWS = 3.0  # how much dearer the last update must be than an early one, to call it growing


# ---- test.py ------------------------------------------------------------------------------


def test_rows(context: Context) -> Iterator[Row]:
    """Time test.py, from reading images to the written page."""
    folders = {name: context.folder / "photos" / name for name in TRANSLATED}
    for name, count in TRANSLATED.items():
        write_photos(folders[name], count, SIDE)
    for mode, value in cases.TEST_GOALS.items():
        case, goal = f"test.py on {SIDE} px CPU, {mode}, per image", Goal("faster", value)
        context.tell(case)
        try:
            yield _test_row(context, mode, case, goal, folders)
        except UnknownOptionError as error:
            yield missing("test", case, goal, error)


def _test_row(context: Context, mode: str, case: str, goal: Goal, folders: dict[str, Path]) -> Row:
    run = context.options("tested", "--model", "cycle_gan", size=SIDE)
    with context.checkouts() as checkouts:
        checkout = checkouts.get("reference", checkouts["ours"])
        checkout.ask("training.build", name="model", argv=run)
        checkout.ask("training.save", name="model", label="latest")
        checkout.ask("training.forget", name="model")

        def per_image(name: str) -> Measured:
            times = {}
            for amount, folder in folders.items():
                argv = [*_test_options(context, name, folder), *mode_options(name, mode)]
                times[amount] = checkouts[name].ask("display.run_test", argv=argv)
            more = TRANSLATED["many"] - TRANSLATED["few"]
            return {c: (times["many"][c] - times["few"][c]) / more for c in ("cpu", "wall")}

        tasks = {name: partial(per_image, name) for name in checkouts}
        result = row("test", case, goal, context.measure(tasks))
    if mode == "bf16" and not has_flag("amx_bf16") and result.ok == "no":
        result.not_judged = "the goal was set on a processor with AMX, which this one has not"
    return result


def _test_options(context: Context, name: str, folder: Path) -> list[str]:
    return [
        "--dataroot", str(folder), "--name", "tested", "--gpu_ids", "-1", "--model", "test",
        "--checkpoints_dir", str(context.folder / "checkpoints"), "--model_suffix", "_A",
        "--no_dropout", "--results_dir", str(context.folder / f"results_{name}"),
    ]  # fmt: skip


# ---- saving -------------------------------------------------------------------------------


def save_rows(context: Context) -> Iterator[Row]:
    """Time the saving of results on two cores, until the last file is written."""
    case = f"saving a {SIDE} px image, 2 cores"
    context.tell(case)
    photos = context.folder / "photos" / "saved"
    write_photos(photos, SAVED, SIDE)
    paths = sorted(map(str, photos.iterdir()))
    with context.checkouts(threads=2) as checkouts:
        tasks = {
            name: checkout.task("display.save_results", images=paths, labels=LABELS,
                            folder=str(context.folder / f"saved_{name}"))
            for name, checkout in checkouts.items()
        }  # fmt: skip
        result = row("save", case, cases.SAVING, context.measure(tasks, "wall"))
    for name in checkouts:
        files = list((context.folder / f"saved_{name}" / "images").glob("*.png"))
        size = sum(file.stat().st_size for file in files) / max(1, len(files)) / 1024
        result.notes.append(f"{name}: {len(files)} files of {size:.0f} KB on average")
    yield result


# ---- the training page --------------------------------------------------------------------


def page_rows(context: Context) -> Iterator[Row]:
    """Time an update of the training page late in training."""
    epochs = 20 if context.quick else EPOCHS
    case = f"page update at epoch {epochs}, without the images"
    context.tell(case)
    with context.checkouts(threads=1) as checkouts:
        for name, checkout in checkouts.items():
            for moment, number in (("early", 2), ("late", epochs)):
                argv = context.options(f"page_{name}_{moment}", "--model", "cycle_gan")
                checkout.ask("display.open_visualizer", name=moment, argv=argv)
                checkout.ask("display.fill_page", name=moment, epochs=number)
        late = {
            name: checkout.task("display.update_page", name="late", epoch=epochs)
            for name, checkout in checkouts.items()
        }
        early = {
            name: checkout.task("display.update_page", name="early", epoch=2)
            for name, checkout in checkouts.items()
        }
        result = row("page", case, cases.PAGE, context.measure(late))
        growth = _growth(result, context.measure(early))
    result.notes.append(f"against the update at epoch 2: {_said(growth)}")
    if growth.get("reference", GROWS) < GROWS:
        result.not_judged = "the reference's update does not grow with the epochs either"
    elif context.quick:
        result.not_judged = f"the goal is for epoch {EPOCHS}"
    yield result


def _growth(result: Row, early: dict[str, Series]) -> dict[str, float]:
    late = {"ours": result.ours, "reference": result.reference}
    return {name: found.median / early[name].median for name, found in late.items() if found}


def _said(factors: dict[str, float]) -> str:
    return ", ".join(f"{name} {factor:.1f} times as long" for name, factor in factors.items())


# ---- the loss plot ------------------------------------------------------------------------


def plot_rows(context: Context) -> Iterator[Row]:
    """Time and weigh an update of the loss plot late in training."""
    points = 1000 if context.quick else POINTS
    case = f"loss plot update at {points:,} points"
    context.tell(case)
    with ExitStack() as stack:
        checkouts = stack.enter_context(context.checkouts(threads=1))
        servers = {name: stack.enter_context(stub_server()) for name in checkouts}
        weights = {
            n: _fill(context, checkout, servers[n], n, points) for n, checkout in checkouts.items()
        }
        tasks = {
            name: checkout.task("display.add_point", name="late", number=points + 1)
            for name, checkout in checkouts.items()
        }
        result = row("plot", case, cases.PLOT, context.measure(tasks))
    result.notes.append("bytes sent for a point, at 10 points and now: " + ", ".join(
        f"{name} {early:,.0f} and {late:,.0f}" for name, (early, late) in weights.items()
    ))  # fmt: skip
    result.not_judged = _why_plot_is_not_judged(weights) or (
        f"the goal is for {POINTS:,} points" if context.quick else ""
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
    context: Context, checkout: Checkout, server: VisdomStub, name: str, points: int
) -> tuple[float, float]:
    """Bring the plot to `points`; return the bytes of a point at 10 points and then."""
    found = []
    for moment, number in (("early", 10), ("late", points)):
        server.has_window = False
        argv = context.options(f"plot_{name}_{moment}", "--model", "cycle_gan", "--no_html",
                               "--display_port", str(server.port))  # fmt: skip
        argv[argv.index("--display_id") + 1] = "1"
        checkout.ask("display.open_visualizer", name=moment, argv=argv)
        checkout.ask("display.fill_plot", name=moment, points=number)
        sizes = []
        for _ in range(3):
            before = server.bytes
            checkout.ask("display.add_point", name=moment, number=number)
            sizes.append(server.bytes - before)
        found.append(float(median(sizes)))
    return found[0], found[1]
