"""scripts/plot_losses.py: what it reads, what it writes, and how it ends."""

import csv
import importlib.util
import io
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import ROOT, imported
from tests.support.paths import needs_any_name
from util.base.errors import run_command

SCRIPT = ROOT / "scripts" / "plot_losses.py"
HEADER = "================ Training Loss (Mon Jul  8 16:52:31 2019) ================\n"
TITLES = ["run", "epoch", "iters", "total_iters", "name", "value"]

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """Return the script as a module."""
    with imported(SCRIPT) as module:
        yield module


class Plot:
    """Run the script in this process, in a folder of its own."""

    def __init__(self, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        self.script = script
        self.capsys = capsys

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Return the exit status, and what was printed on standard output and error."""
        try:
            status = run_command(lambda: self.script.main([str(one) for one in arguments]))
        except SystemExit as stopped:
            status = int(str(stopped.code))
        return status, *self.capsys.readouterr()

    def table(self, *arguments: str | Path) -> list[list[str]]:
        """Return the rows of a table without their titles."""
        status, said, complaints = self(*arguments, "--output", "-")
        assert (status, complaints) == (0, "")
        titles, *rows = csv.reader(io.StringIO(said))
        assert titles == TITLES
        return rows


@pytest.fixture
def plot(
    script: ModuleType,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Plot:
    """Return a function that runs the script in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    return Plot(script, capsys)


def write_losses(
    folder: Path,
    *moments: tuple[int, int, int | None, Mapping[str, float | None]],
    name: str = "losses.jsonl",
) -> Path:
    """Write epoch, iters, total_iters and losses as training does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as file:
        for epoch, iters, total, losses in moments:
            record: dict[str, Any] = {"epoch": epoch, "iters": iters, "total_iters": total}
            file.write(json.dumps(record | {"times": {}, "losses": losses}) + "\n")
    return folder / name


def write_log(folder: Path, *moments: tuple[int, int, str], name: str = "loss_log.txt") -> Path:
    """Write epoch, iters and losses as the original framework does."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"(epoch: {e}, iters: {i}, time: 0.1, data: 0.0) {text} \n" for e, i, text in moments]
    (folder / name).write_text(HEADER + "".join(lines))
    return folder / name


def write_metrics(folder: Path, *epochs: dict[str, Any]) -> Path:
    """Write numbers of epochs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    return path


def curve(folder: Path, count: int, *names: str) -> None:
    """Write a run of so many reports, ten in an epoch."""
    random = np.random.default_rng(count)
    write_losses(
        folder,
        *(
            (at // 10 + 1, at % 10 * 100 + 100, at * 100 + 100, losses)
            for at in range(count)
            for losses in [{name: float(random.random()) for name in names}]
        ),
    )


EPOCHS = (
    {"epoch": 1, "total_iters": 200, "lr": {"G": 0.1}, "train": {"G": 2.5}, "val": {"L1": 0.5}},
    {"epoch": 2, "total_iters": 400, "lr": {"G": 0.1}, "train": {"G": None}},
    {"epoch": 3, "total_iters": 600, "lr": {"G": 0.1}, "train": {"G": 1.5}, "val": {"L1": None}},
)


# ---- what is read -------------------------------------------------------------------------


def test_a_run_is_given_by_its_name_its_folder_or_a_log(plot: Plot, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints/one"
    path = write_losses(folder, (1, 100, 100, {"G": 0.1, "D": None}), (2, 50, 250, {"G": 1e-9}))
    expected = [
        ["one", "1", "100", "100", "G", "0.1"],
        ["one", "1", "100", "100", "D", "nan"],
        ["one", "2", "50", "250", "G", "1e-09"],
    ]
    for given in ("one", "checkpoints/one/", folder, path, "checkpoints/one/losses.jsonl"):
        assert plot.table(given) == expected
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    assert plot.table("one", "--checkpoints_dir", "../checkpoints") == expected


def test_the_log_of_the_original_framework_is_read(plot: Plot, tmp_path: Path) -> None:
    path = write_log(tmp_path / "logs", (1, 100, "G: 0.510 D_A: 1.250"), name="maps_loss_log.txt")
    with path.open("a") as file:
        file.write(f"{HEADER}(epoch: 2, iters: 8, time: 1.396) G: nan \n(epoch: 2, iters: 16, ti")
    assert plot.table(path) == [
        ["maps", "1", "100", "", "G", "0.51"],
        ["maps", "1", "100", "", "D_A", "1.25"],
        ["maps", "2", "8", "", "G", "nan"],
    ]


def test_the_log_of_the_original_of_2025_is_read(plot: Plot, tmp_path: Path) -> None:
    lines = [
        f"[Rank {rank}] (epoch: {epoch}, iters: 9, time: 0.1, data: 0.01) , G: {rank}.5, D: 1.25"
        for epoch in (1, 2)
        for rank in (0, 1)
    ]
    (tmp_path / "maps").mkdir()
    log = HEADER + "".join(f"{line}\n\n" for line in lines)
    (tmp_path / "maps" / "loss_log.txt").write_text(log)
    assert plot.table("maps") == [
        ["maps", epoch, "9", "", name, value]
        for epoch in ("1", "2")
        for name, value in (("G", "0.5"), ("D", "1.25"))
    ]


def test_a_log_with_another_name_is_known_by_its_content(plot: Plot, tmp_path: Path) -> None:
    losses = write_losses(tmp_path, (1, 100, 100, {"G": 0.5}), name="first.txt")
    log = write_log(tmp_path, (1, 100, "G: 0.500"), name="second.jsonl")
    metrics = write_metrics(tmp_path, EPOCHS[0]).rename(tmp_path / "third")
    assert plot.table(losses, log, metrics) == [
        ["first", "1", "100", "100", "G", "0.5"],
        ["second", "1", "100", "", "G", "0.5"],
        ["third", "1", "", "200", "G", "2.5"],
        ["third", "1", "", "200", "val/L1", "0.5"],
    ]


def test_a_later_report_of_the_same_moment_counts(plot: Plot, tmp_path: Path) -> None:
    reports = [(100, 1.0), (200, 2.0), (300, 3.0), (200, 4.0)]
    path = write_losses(tmp_path, *((1, iters, iters, {"G": loss}) for iters, loss in reports))
    assert [(row[2], row[5]) for row in plot.table(path)] == [("100", "1.0"), ("200", "4.0")]


def test_a_run_begun_with_the_original_framework_is_one_history(plot: Plot, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints/run"
    write_log(folder, (1, 100, "G: 1.000"), (2, 100, "G: 2.000"), (3, 100, "G: 3.000"))
    write_losses(folder, (3, 100, 100, {"G": 3.25}), (4, 100, 200, {"G": 4.5}))
    assert [row[5] for row in plot.table("run")] == ["1.0", "2.0", "3.25", "4.5"]


def test_a_run_of_this_program_is_read_from_its_losses_alone(plot: Plot, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints/run"
    write_losses(folder, (1, 100, 100, {"G": 1.0}))
    (folder / "loss_log.txt").write_text("spoiled\nby hand\n")
    assert [row[5] for row in plot.table("run")] == ["1.0"]


def test_metrics_of_validation_come_after_the_losses(plot: Plot, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints/run"
    write_losses(folder, (1, 100, 100, {"G": 0.5}))
    write_metrics(folder, *EPOCHS)
    assert plot.table("run") == [
        ["run", "1", "100", "100", "G", "0.5"],
        ["run", "1", "", "200", "val/L1", "0.5"],
        ["run", "3", "", "600", "val/L1", "nan"],
    ]


def test_without_other_logs_mean_losses_are_shown(plot: Plot, tmp_path: Path) -> None:
    path = write_metrics(tmp_path / "run", *EPOCHS)
    assert [row[1:] for row in plot.table(path, "--losses", "G")] == [
        ["1", "", "200", "G", "2.5"],
        ["2", "", "400", "G", "nan"],
        ["3", "", "600", "G", "1.5"],
    ]


def test_runs_are_called_by_what_tells_them_apart(plot: Plot, tmp_path: Path) -> None:
    for folder in ("a/one/run", "b/one/run", "c/two", "d"):
        write_losses(tmp_path / folder, (1, 1, 1, {"G": 0.0}))
    write_log(tmp_path / "d", (1, 1, "G: 0.000"))
    given = ["a/one/run", "b/one/run", "c/two/", "d/losses.jsonl", "d/loss_log.txt"]
    names = ["a/one/run", "b/one/run", "two", "d/losses.jsonl", "d/loss_log.txt"]
    assert [row[0] for row in plot.table(*given)] == names


def test_a_run_that_is_named_twice_comes_once(plot: Plot, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints/run"
    write_losses(folder, (1, 1, 1, {"G": 0.0}))
    write_metrics(folder, EPOCHS[0])
    given = ("run", folder, "./checkpoints/../checkpoints/run", folder / "losses.jsonl")
    assert [row[4] for row in plot.table(*given)] == ["G", "val/L1"]


def test_losses_are_chosen_by_name(plot: Plot, tmp_path: Path) -> None:
    write_losses(tmp_path / "checkpoints/first", (1, 1, 1, {"G": 1.0, "D": 2.0, "F": 3.0}))
    write_metrics(tmp_path / "checkpoints/second", {"epoch": 1, "train": {}, "val": {"PSNR": 9.0}})
    rows = plot.table("first", "second", "--losses", "F, G,PSNR,")
    assert [row[4:] for row in rows] == [["F", "3.0"], ["G", "1.0"], ["val/PSNR", "9.0"]]


# ---- what is written ----------------------------------------------------------------------


def test_a_table_is_a_file_of_its_own(plot: Plot, tmp_path: Path) -> None:
    write_losses(tmp_path / "checkpoints/run", (1, 1, None, {"G,1": 1 / 3}))
    (tmp_path / "t.CSV").write_text("older")
    status, said, _ = plot("run", "--output", "t.CSV")
    assert (status, said) == (0, "Wrote t.CSV (runs: 1, losses and metrics: 1)\n")
    expected = f'run,epoch,iters,total_iters,name,value\nrun,1,1,,"G,1",{1 / 3!r}\n'
    assert (tmp_path / "t.CSV").read_bytes() == expected.encode()
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "t.CSV"]


def test_a_table_that_cannot_be_finished_leaves_the_older_one(
    plot: Plot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(*_: object) -> Iterator[tuple[str]]:
        yield ("half",)
        raise OSError(28, "No space left on device")

    write_losses(tmp_path / "checkpoints/run", (1, 1, None, {"G": 1.0}))
    (tmp_path / "t.csv").write_text("older")
    monkeypatch.setattr(plot.script, "table_rows", rows)
    status, _, said = plot("run", "--output", "t.csv")
    assert status == 1
    assert said.startswith("error: --output t.csv cannot be written: ")
    assert said.endswith("No space left on device. Choose another file.\n")
    assert (tmp_path / "t.csv").read_text() == "older"
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "t.csv"]


def test_without_matplotlib_it_says_how_to_get_it(
    plot: Plot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_losses(tmp_path / "checkpoints/run", (1, 1, None, {"G": 1.0}))
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # what makes an import fail
    status, said, complaint = plot("run")
    assert (status, said) == (1, "")
    assert complaint == (
        "error: Images need the package matplotlib, which is not installed. Install it (pip "
        "install matplotlib, or uv sync --extra plot), or write a table: --output losses.csv\n"
    )
    assert plot("run", "--output", "losses.csv")[0] == 0


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
def test_a_log_is_never_written_over(plot: Plot, tmp_path: Path, link: str) -> None:
    path = write_losses(tmp_path / "run", (1, 1, None, {"G": 1.0}), name="mine.csv")
    output = path if link == "same" else tmp_path / "out.csv"
    if link == "symbolic":
        output.symlink_to(path)
    elif link == "hard":
        output.hardlink_to(path)
    before = path.read_text()
    status, _, said = plot(path, "--output", output)
    assert status == 2
    assert f"--output {output} would overwrite {path}. Choose another file." in said
    assert path.read_text() == before


# ---- what goes wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("rum", ("There is no run rum: no log, and no folder with losses.jsonl, loss_log.txt or "
                 "metrics.jsonl, at ", "Did you mean 'run'? Runs in ")),
        ("empty", ("empty has no losses.jsonl, loss_log.txt", "Give the folder of a run or one")),
        ("checkpoints", ("checkpoints has no losses.jsonl", "checkpoints: run.")),
        ("run --checkpoints_dir nowhere", ("nowhere/run or ", "Give the folder of a run or one")),
        ("run --losses g_gan", ("No run has a loss g_gan (--losses).", "Did you mean 'G_GAN'?")),
        ("run --losses ,", ("--losses names nothing. Give names with commas",)),
        ("run --smooth 0", ("--smooth 0 cannot work: it must be 1 or more.",)),
        ("run --output a.jpeg", ("a.jpeg has no known ending. Choose .png, .svg, .pdf, .csv",)),
        ("run --output a", ("--output a has no known ending",)),
        ("run --output no/a.csv", ("a.csv cannot be written: its folder does not exist. Make",)),
        ("run --output dir.csv", ("--output dir.csv is a folder. Name a file in it.",)),
        ("run --x weeks", ("invalid choice: 'weeks'",)),
        ("", ("the following arguments are required: RUN",)),
    ],
)  # fmt: skip
def test_a_wrong_command_ends_with_status_2_and_says_what_to_do(
    arguments: str, parts: tuple[str, ...], plot: Plot, tmp_path: Path
) -> None:
    write_losses(tmp_path / "checkpoints/run", (1, 1, None, {"G_GAN": 1.0}))
    for folder in ("empty", "dir.csv"):
        (tmp_path / folder).mkdir()
    table = [] if "--output" in arguments else ["--output", "-"]
    status, said, complaint = plot(*arguments.split(), *table)
    assert (status, said) == (2, "")
    for part in parts:
        assert part in complaint
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "dir.csv", "empty"]


def test_a_broken_log_is_named_with_its_line(plot: Plot, tmp_path: Path) -> None:
    path = write_log(tmp_path, (1, 1, "G: 1.000"), (1, 2, "G: much"), (1, 3, "G: 3.000"))
    status, said, complaint = plot(path, "--output", "-")
    assert (status, said) == (1, "")
    assert complaint.startswith(f"error: {path}, line 3 is not losses as in ")
    assert complaint.count("\n") == 1


def test_runs_without_losses_are_passed_over(plot: Plot, tmp_path: Path) -> None:
    write_losses(tmp_path / "full", (1, 1, None, {"G": 1.0}))
    path = write_losses(tmp_path / "empty")
    status, said, complaint = plot("empty", "full", "--output", "-")
    assert status == 0
    assert [row[0] for row in csv.reader(io.StringIO(said))] == ["run", "full"]
    assert complaint == f"warning: {path}: no losses yet.\n"
    status, said, complaint = plot("empty", "--output", "-")
    assert (status, said) == (1, "")
    assert complaint.endswith("error: There is nothing to plot. Train a little longer.\n")


def test_downloaded_networks_among_runs_are_passed_over(plot: Plot, tmp_path: Path) -> None:
    """As in `checkpoints/*/`."""
    write_losses(tmp_path / "full", (1, 1, None, {"G": 1.0}))
    (tmp_path / "downloaded").mkdir()
    (tmp_path / "downloaded" / "latest_net_G.pth").touch()
    status, said, complaint = plot("downloaded", "full", "--output", "-")
    assert status == 0
    assert [row[0] for row in csv.reader(io.StringIO(said))] == ["run", "full"]
    assert complaint == f"warning: {tmp_path / 'downloaded'}: networks without losses.\n"


# ---- lines --------------------------------------------------------------------------------


def positions(script: ModuleType, unit: str, moments: list[Any], epochs: list[Any] = ()) -> Any:  # type: ignore[assignment]
    losses = [script.Point(*moment, {}) for moment in moments]
    means = [script.Point(epoch, None, total, {}) for epoch, total in epochs]
    return script.positions_of(script.Run("run", losses, means), unit).tolist()


def test_the_most_images_of_an_epoch_are_its_length(script: ModuleType) -> None:
    moments = [(1, 200, None), (1, 400, None), (2, 100, None), (3, 300, None)]
    assert positions(script, "epoch", moments, [(1, 7), (3, 7)]) == [0.5, 1, 1.25, 2.75, 1, 3]
    assert positions(script, "epoch", [], [(1, 7), (3, 7)]) == [1, 3]
    assert positions(script, "epoch", [(1, 0, 0)]) == [0]


def test_images_are_counted_by_the_log_or_estimated(script: ModuleType) -> None:
    known = [(1, 200, 190), (1, 400, 390), (2, 100, 490)]
    assert positions(script, "images", known, [(1, 395)]) == [190, 390, 490, 395]
    unknown = [(1, 200, None), (1, 400, 390), (2, 100, 490)]
    assert positions(script, "images", unknown, [(1, 395)]) == [200, 400, 500, 400]
    anew = [(1, 200, 200), (1, 400, 400), (2, 100, 100)]  # only the networks were continued
    assert positions(script, "images", anew) == [200, 400, 500]


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 10, 13, 20, 40])
def test_means_are_over_the_neighbours_that_exist(script: ModuleType, width: int) -> None:
    values = np.random.default_rng(0).normal(size=20)
    values[[3, 4, 5, 12]] = np.nan
    found = script.running_mean(values, width)
    for at in range(20):
        window = values[max(0, at - width // 2) : max(0, at - width // 2 + width)]
        if at - width // 2 < 0:
            window = values[: at - width // 2 + width]
        expected = np.nan if np.isnan(values[at]) else np.nanmean(window)
        assert found[at] == pytest.approx(expected, nan_ok=True)


def test_a_huge_value_spoils_no_other_mean(script: ModuleType) -> None:
    values = np.full(50, 0.25)
    values[10] = 1e90
    found = script.running_mean(values, 5)
    assert np.allclose(found[:8], 0.25)
    assert np.allclose(found[13:], 0.25)


def test_long_lines_are_thinned_but_keep_their_extremes(script: ModuleType) -> None:
    random = np.random.default_rng(0)
    x, y = np.arange(100_000.0), random.normal(size=100_000)
    y[[777, 55_555]] = [1e6, -1e6]
    y[30_000:40_000] = np.nan
    few_x, few_y = script.thin(x, y)
    assert len(few_x) == len(few_y) <= script.MOST_POINTS + 2
    assert (np.diff(few_x) > 0).all()
    assert np.array_equal(few_y, y[few_x.astype(int)], equal_nan=True)
    assert {777, 55_555, 0, 99_999} <= set(few_x)
    gap = few_y[(few_x >= 30_100) & (few_x < 39_900)]
    assert len(gap)
    assert np.isnan(gap).all()
    assert script.thin(x[:2000], y[:2000])[0] is not few_x
    assert len(script.thin(x[:2000], y[:2000])[0]) == 2000


def test_panels_are_arranged_nearly_as_a_square(script: ModuleType) -> None:
    for count in range(1, 30):
        for metrics in range(4):
            losses = [f"L{number}" for number in range(count)]
            names = losses + [f"val/M{number}" for number in range(metrics)]
            rows = script.rows_of(names)
            assert [name for row in rows for name in row] == names
            assert max(map(len, rows)) <= 4
            assert all(len({name.startswith("val/") for name in row}) == 1 for row in rows)
    shapes = {1: [1], 2: [2], 3: [3], 4: [2, 2], 6: [3, 3], 8: [4, 4], 9: [3, 3, 3]}
    for count, shape in shapes.items():
        assert [len(row) for row in script.rows_of(["x"] * count)] == shape


# ---- images -----------------------------------------------------------------------------


def texts(path: Path) -> list[str]:
    """Return the texts of an SVG file."""
    found = ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()).strip() for text in found]


def panels(script: ModuleType, plot: Plot, *arguments: str) -> dict[str, Any]:
    """Return the panels of an image by their titles, without writing it."""
    parser = script.build_parser()
    args = parser.parse_args(arguments)
    runs = script.read_runs(script.find_runs(args.runs, args.checkpoints_dir))
    names = script.chosen(runs, args.losses)
    lines = [script.lines_of(run, names, args) for run in runs]
    figure = script.make_figure(names, lines, args)
    return {panel.get_title(loc="left") or panel.get_title(): panel for panel in figure.axes}


@needs_matplotlib
@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_an_image_is_written_in_the_format_of_its_ending(
    plot: Plot, tmp_path: Path, suffix: str
) -> None:
    for name, count in (("first", 60), ("second", 90)):
        curve(tmp_path / "checkpoints" / name, count, "G", "D")
    status, said, complaint = plot("first", "second", "--output", f"p.{suffix}")
    expected = f"Wrote p.{suffix} (runs: 2, losses and metrics: 2)\n"
    assert (status, said, complaint) == (0, expected, "")
    content = (tmp_path / f"p.{suffix}").read_bytes()
    if suffix == "png":
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            assert min(image.size) > 300
    else:
        assert content.startswith({"svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", f"p.{suffix}"]
    plot("first", "second", "--output", f"p.{suffix}")
    assert (tmp_path / f"p.{suffix}").read_bytes() == content  # nothing of the day is in it


@needs_matplotlib
def test_losses_png_is_written_unless_another_file_is_asked_for(plot: Plot, tmp_path: Path) -> None:
    curve(tmp_path / "checkpoints/run", 3, "G")
    assert plot("run")[0] == 0
    with Image.open(tmp_path / "losses.png") as image:
        assert image.format == "PNG"


@needs_matplotlib
def test_names_stand_in_the_image_as_they_are(plot: Plot, tmp_path: Path) -> None:
    names = ["_run $x$", "a&b<c>", "plain", "r" * 80]
    for name in names:
        curve(tmp_path / "checkpoints" / name, 60, "G", "$D_a^2$")
    write_metrics(tmp_path / "checkpoints/plain", *EPOCHS)
    assert plot(*names, "--output", "p.svg")[0] == 0
    found = texts(tmp_path / "p.svg")
    for text in (*names[:3], "r" * 47 + "\u2026", "G", "$D_a^2$", "L1 (validation)", "metric"):
        assert found.count(text) == 1, text
    assert found.count("epoch") == 3  # below the lowest panels of losses, and below validation's
    assert found.count("loss") == 1
    assert "thick: running mean over 2 values; faint: as logged" in found


@needs_any_name
@needs_matplotlib
def test_letters_that_the_font_lacks_stop_nothing(plot: Plot, tmp_path: Path) -> None:
    curve(tmp_path / "checkpoints/\u5efa\u7b51", 3, "G")
    status, _, complaint = plot("\u5efa\u7b51")
    assert (status, complaint) == (0, "")


@needs_matplotlib
def test_each_run_has_one_colour_in_the_panels_that_concern_it(
    script: ModuleType, plot: Plot, tmp_path: Path
) -> None:
    curve(tmp_path / "checkpoints/first", 60, "G", "D")
    curve(tmp_path / "checkpoints/second", 90, "D", "F")
    found = panels(script, plot, "first", "second")
    assert list(found) == ["G", "D", "F"]
    colours = {name: [line.get_color() for line in found[name].lines] for name in found}
    (first,), (second,) = set(colours["G"]), set(colours["F"])
    assert first != second
    assert set(colours["D"]) == {first, second}
    faint, strong = found["G"].lines
    assert faint.get_alpha() < 0.5
    assert strong.get_alpha() is None
    assert len({panel.get_xlim() for panel in found.values()}) == 1


@needs_matplotlib
def test_means_are_drawn_over_so_many_values(
    script: ModuleType, plot: Plot, tmp_path: Path
) -> None:
    curve(tmp_path / "checkpoints/run", 60, "G")
    values = np.array([float(row[5]) for row in plot.table("run")])
    (only,) = panels(script, plot, "run", "--smooth", "1")["G"].lines
    assert np.array_equal(only.get_ydata(), values)
    for given in ("3", "1000000000000"):
        raw, mean = panels(script, plot, "run", "--smooth", given)["G"].lines
        assert np.array_equal(raw.get_ydata(), values)
        window = values[29:32] if given == "3" else values
        assert mean.get_ydata()[30] == pytest.approx(window.mean())


@needs_matplotlib
@pytest.mark.parametrize("unit", ["epoch", "images"])
def test_the_horizontal_axis_counts_what_was_asked_for(
    script: ModuleType, plot: Plot, tmp_path: Path, unit: str
) -> None:
    folder = tmp_path / "checkpoints/run"
    write_losses(folder, (1, 100, 100, {"G": 1.0}), (2, 50, 150, {"G": 2.0}))
    write_metrics(folder, EPOCHS[0])
    found = panels(script, plot, "run", "--x", unit)
    assert (
        found["G"].lines[0].get_xdata().tolist() == {"epoch": [1, 1.5], "images": [100, 150]}[unit]
    )
    metric = found["L1 (validation)"]
    assert metric.lines[0].get_xdata().tolist() == {"epoch": [1], "images": [200]}[unit]
    assert metric.get_xlabel() == unit


@needs_matplotlib
def test_what_is_no_number_leaves_a_gap_and_what_is_alone_a_dot(
    script: ModuleType, plot: Plot, tmp_path: Path
) -> None:
    values = [1.0, None, 2.0, None, *[3.0] * 60]
    moments = [(1, at + 1, None, {"G": value}) for at, value in enumerate(values)]
    write_losses(tmp_path / "checkpoints/run", *moments)
    line, dots = panels(script, plot, "run", "--smooth", "1")["G"].lines
    drawn = line.get_ydata()
    assert [math.isnan(value) for value in drawn[:5]] == [False, True, False, True, False]
    assert dots.get_ydata().tolist() == [1.0, 2.0]
    assert (dots.get_marker(), dots.get_linestyle()) == ("o", "None")


@needs_matplotlib
def test_logarithmic_axes_take_any_values(script: ModuleType, plot: Plot, tmp_path: Path) -> None:
    cases: dict[str, list[tuple[float | None, ...]]] = {
        "log": [(1, 4, 2), (1, 400, 2), (0, 1e-3, 1e3), (2, 2, None), (1e308, 1, 1)],
        "symlog": [(-1, 5, 0), (-1e308, 1e308, -1e-9)],
        "linear": [(0, 0, 0), (None, None, None)],
    }
    values = {f"{scale}{n}": one for scale in cases for n, one in enumerate(cases[scale])}
    expected = {name: name[:-1] for name in values}
    moments = [(1, at, None, {name: values[name][at] for name in values}) for at in range(3)]
    write_losses(tmp_path / "checkpoints/run", *moments)
    write_metrics(tmp_path / "checkpoints/run", EPOCHS[0])
    found = panels(script, plot, "run", "--log")
    metric = found.pop("L1 (validation)")
    assert metric.get_yscale() == "linear"
    assert {name: panel.get_yscale() for name, panel in found.items()} == expected
    for panel in found.values():
        low, high = panel.get_ylim()
        assert low < high
    assert plot("run", "--log", "--output", "p.svg")[::2] == (0, "")
    assert plot("run", "--losses", "symlog1", "--output", "p.svg")[::2] == (0, "")


@needs_matplotlib
def test_more_runs_than_colours_differ_in_dashes(
    script: ModuleType, plot: Plot, tmp_path: Path
) -> None:
    for number in range(20):
        write_losses(tmp_path / f"checkpoints/{number:02}", (1, 1, 1, {"G": 1.0}))
    names = sorted(os.listdir(tmp_path / "checkpoints"))
    lines = panels(script, plot, *names)["G"].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 20
    heights = []
    for some in (names[:1], names):
        assert plot(*some, "--output", "p.svg")[0] == 0
        assert set(some) <= set(texts(tmp_path / "p.svg"))
        root = ElementTree.parse(tmp_path / "p.svg").getroot()
        heights.append(float(root.attrib["height"].removesuffix("pt")))
    assert heights[0] < heights[1]  # room for the names
