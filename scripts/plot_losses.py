"""Plot the losses of one run or of several, or write them as a table.

    python scripts/plot_losses.py maps_cyclegan
    python scripts/plot_losses.py first second --losses G_L1,PSNR --output both.svg
    python scripts/plot_losses.py ./checkpoints/*/ --output losses.csv

A RUN is a name below --checkpoints_dir, a folder, or a file: losses.jsonl, metrics.jsonl or
loss_log.txt, also one of the original framework. Each loss gets a panel, each run a colour; metrics
of validation follow in panels of their own. Images need matplotlib, tables do not. Exit status: 0
written, 1 not (nothing to plot, a broken log, no matplotlib), 2 the command itself was wrong.
"""

import argparse
import csv
import json
import math
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

from util.base.errors import UserError, run_command, suggest
from util.base.log import printable, say, warn
from util.display.figure import import_matplotlib
from util.display.pages.svg import LARGEST, PALETTE
from util.display.sinks.epochs import read_metrics
from util.display.sinks.jsonl import LossRecord, continued, parse_loss_log, read_losses
from util.storage.files import replacing
from util.storage.run_folder import RunFolder

RUN = RunFolder("")
LOSSES, LOG, METRICS = LOG_FILES = (RUN.losses.name, RUN.loss_log.name, RUN.metrics.name)
VALIDATION = "val/"  # how names of validation metrics begin
IMAGES = (".png", ".svg", ".pdf")
TABLE = ".csv"
INSTEAD = ", or write a table: --output losses.csv"
COLUMNS = ("run", "epoch", "iters", "total_iters", "name", "value")

MOST_POINTS = 2000  # drawn of a line: a panel has fewer pixels
SMOOTHED = 25  # unless --smooth says otherwise, the mean is over one part in so many of a line
MOST_COLUMNS = 4
MARKED = 40  # where no line has more points than this, they are shown
LONGEST_LABEL = 48
DOTS = {"marker": "o", "markersize": 3}
LINE_STYLES = ("-", "--", ":", "-.")  # once all colours are in use
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#999999",
    "axes.labelcolor": "#555555",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.color": "#999999",
    "ytick.color": "#999999",
    "xtick.labelcolor": "#555555",
    "ytick.labelcolor": "#555555",
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "plot_losses",  # the same image each time
}

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """What was reported at one moment.

    Attributes:
        epoch: number of the epoch, from 1.
        iters: images seen in that epoch, None for numbers of a whole epoch.
        total_images: those seen since the first epoch, None where that is unknown.
        values: losses by name; metrics of validation as `val/NAME`.
    """

    epoch: int
    iters: int | None
    total_images: int | None
    values: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """A run, or what one file tells of it.

    Attributes:
        label: its name in the image.
        losses: in the order of training.
        epochs: numbers of whole epochs.
    """

    label: str
    losses: list[Point]
    epochs: list[Point] = field(default_factory=list)

    @property
    def points(self) -> list[Point]:
        """Return all that is known."""
        return [*self.losses, *self.epochs]


# ---- the command line ---------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Plot the losses of one run or of several.")
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="a name below --checkpoints_dir, a folder or a log")
    add("--checkpoints_dir", default="./checkpoints", help="where the runs are")
    add(
        "--output",
        default="losses.png",
        metavar="FILE",
        help="an image (.png, .svg, .pdf) or a table (.csv; - prints it); default: %(default)s",
    )
    add("--losses", metavar="NAMES", help="only these, with commas between them: G_GAN,D_real,PSNR")
    add(
        "--smooth",
        type=int,
        metavar="N",
        help="draw means over N reports; 1: none. If not given, N is 4%% of a line. Not in tables",
    )
    add("--x", choices=("epoch", "images"), default="epoch", help="what the horizontal axis counts")
    add("--log", action="store_true", help="logarithmic vertical axes")
    return parser


def argument_problems(args: argparse.Namespace) -> Iterator[str]:
    """Yield one message per argument that cannot work."""
    if args.smooth is not None and args.smooth < 1:
        yield f"--smooth {args.smooth} cannot work: it must be 1 or more."
    if args.losses is not None and not names_in(args.losses):
        yield "--losses names nothing. Give names with commas between them, or leave it out."
    if args.output == "-":
        return
    output = Path(args.output)
    if output.suffix.lower() not in (*IMAGES, TABLE):
        known = ", ".join((*IMAGES, TABLE))
        yield f"--output {args.output} has no known ending. Choose {known}, or - for a table."
    elif output.is_dir():
        yield f"--output {args.output} is a folder. Name a file in it."
    elif not output.absolute().parent.is_dir():
        yield f"--output {args.output} cannot be written: its folder does not exist. Make it first."


def names_in(given: str) -> list[str]:
    """Split what --losses was given."""
    return [name.strip() for name in given.split(",") if name.strip()]


def main(argv: Sequence[str] | None = None) -> None:
    """Plot the runs that the command line (or `argv`) names.

    Raises:
        SystemExit: with status 2, for a wrong command.
        UserError: the command is right, but there is nothing to plot, or nothing to plot with.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    if found := list(argument_problems(args)):
        parser.error(" ".join(found))
    try:
        sources = find_runs(args.runs, args.checkpoints_dir)
        check_no_source(args.output, sources)
    except UserError as error:
        parser.error(str(error))
    is_table = args.output == "-" or Path(args.output).suffix.lower() == TABLE
    if not is_table:
        import_matplotlib(INSTEAD)  # before the time that reading may take
    runs = read_runs(sources)
    try:
        names = chosen(runs, args.losses)
    except UserError as error:
        parser.error(str(error))
    if is_table:
        write_table(args.output, runs, names)
    else:
        draw(args, runs, names)
    if args.output != "-":
        say(f"Wrote {args.output} (runs: {len(runs)}, losses and metrics: {len(names)})")


def check_no_source(output: str, sources: Iterable[Sequence[Path]]) -> None:
    """Refuse to write over what is read.

    Raises:
        UserError: the output is one of the logs.
    """
    if output == "-" or not Path(output).exists():
        return
    for path in (path for paths in sources for path in paths):
        if path.samefile(output):
            raise UserError(f"--output {output} would overwrite {path}. Choose another file.")


# ---- finding and reading ------------------------------------------------------------------


def find_runs(given: Iterable[str], checkpoints_dir: str) -> list[list[Path]]:
    """Return the log files of each run; a run that was named twice comes once.

    Networks that were not trained here, as downloaded ones, are passed over.

    Raises:
        UserError: there is no such run.
    """
    found = dict.fromkeys(tuple(find_run(one, checkpoints_dir)) for one in given)
    runs = [list(paths) for paths in found if paths]
    return [paths for paths in runs if not any(set(paths) < set(other) for other in found)]


def find_run(given: str, checkpoints_dir: str) -> list[Path]:
    """Return the file that was named, or the log files in the folder: none with networks alone.

    Raises:
        UserError: there is no such run.
    """
    places = dict.fromkeys(
        Path(os.path.abspath(place)) for place in (Path(checkpoints_dir, given), given)
    )
    for place in places:
        if place.is_file():
            return [place]
        if files := logs_in(place):
            return files
    *most, last = LOG_FILES
    logs = f"{', '.join(most)} or {last}"
    for place in filter(Path.is_dir, places):
        if RunFolder(place).network_files():
            warn(f"{place}: networks without losses.")
            return []
        raise UserError(f"{given} has no {logs}. {advice(given, place)}")
    raise UserError(
        f"There is no run {given}: no log, and no folder with {logs}, at "
        f"{' or '.join(map(str, places))}. {advice(given, Path(checkpoints_dir))}"
    )


def logs_in(folder: Path) -> list[Path]:
    """Return the log files that a folder has."""
    return [folder / name for name in LOG_FILES if (folder / name).is_file()]


def advice(given: str, folder: Path) -> str:
    """Say what to give instead."""
    below = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    runs = [name for name in below if logs_in(folder / name)]
    if runs:
        return suggest(given, runs, f"Runs in {folder}")
    return "Give the folder of a run or one of its logs, or --checkpoints_dir and a name."


def read_runs(sources: Sequence[Sequence[Path]]) -> list[Run]:
    """Read all runs; one without any numbers is passed over.

    Raises:
        UserError: a log is broken, or no run has numbers.
    """
    runs = []
    for label, paths in zip(labels(sources), sources, strict=True):
        run = read_run(label, paths)
        if run.points:
            runs.append(run)
        else:
            warn(f"{' and '.join(map(str, paths))}: no losses yet.")
    if not runs:
        raise UserError("There is nothing to plot. Train a little longer.")
    return runs


def read_run(label: str, paths: Sequence[Path]) -> Run:
    """Read the logs of a run.

    Raises:
        UserError: a log is broken.
    """
    by_kind = {kind_of(path): path for path in paths}
    records: list[LossRecord] = []
    if LOSSES in by_kind:
        records = continued(read_losses(by_kind[LOSSES]))
    if LOG in by_kind and (not records or records[0]["epoch"] > 1):
        # begun with the original framework, which wrote the text alone, and continued here
        records = continued([*parse_loss_log(by_kind[LOG]), *records])
    losses = [
        Point(record["epoch"], record["iters"], record["total_iters"], record["losses"])
        for record in records
    ]
    return Run(label, losses, read_epochs(by_kind.get(METRICS), means=not losses))


def read_epochs(path: Path | None, *, means: bool) -> list[Point]:
    """Read numbers of whole epochs: validation's, and mean losses if those are wanted."""
    points = []
    for record in read_metrics(path) if path else []:
        values: dict[str, float | None] = {**record.get("train", {})} if means else {}
        values |= {f"{VALIDATION}{name}": value for name, value in record.get("val", {}).items()}
        numbers = {name: math.nan if value is None else value for name, value in values.items()}
        if numbers:
            points.append(Point(record["epoch"], None, record.get("total_iters"), numbers))
    return points


def kind_of(path: Path) -> str:
    """Tell which kind of log a file is, by its content."""
    if path.name in LOG_FILES:
        return path.name
    with path.open("rb") as file:
        start = next((line for line in file if line.strip()), b"")
    if not start.lstrip().startswith(b"{"):
        return LOG
    try:
        return LOSSES if "losses" in json.loads(start) else METRICS
    except ValueError:
        return LOSSES


def labels(sources: Sequence[Sequence[Path]]) -> list[str]:
    """Return a name for each run: as much of its path as tells it from the others."""
    places = [parts_of(paths) for paths in sources]
    found = []
    for parts, paths in zip(places, sources, strict=True):
        tails = [parts[-depth:] for depth in range(1, len(parts) + 1)]
        own = (tail for tail in tails if sum(other[-len(tail) :] == tail for other in places) == 1)
        tail = next(own, (parts[-1], paths[0].name))  # two logs of one folder
        found.append(printable("/".join(tail)))
    return found


def parts_of(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the parts of a run's path; a log's usual name tells nothing, unless it is alone."""
    first = paths[0]
    if len(paths) > 1 or first.name in LOG_FILES:
        return first.parent.parts
    return (*first.parent.parts, first.stem.removesuffix("_loss_log"))


def is_validation(name: str) -> bool:
    """Tell metrics of validation from losses."""
    return name.startswith(VALIDATION)


def chosen(runs: Iterable[Run], given: str | None) -> list[str]:
    """Return the names to plot: losses in the order of their appearance, then validation's.

    Raises:
        UserError: no run has a name that was asked for.
    """
    seen = dict.fromkeys(name for run in runs for point in run.points for name in point.values)
    known = sorted(seen, key=is_validation)
    if given is None:
        return known
    names = []
    for name in names_in(given):
        match = next((full for full in (name, f"{VALIDATION}{name}") if full in seen), None)
        if match is None:
            raise UserError(f"No run has a loss {name} (--losses). {suggest(name, known)}")
        names.append(match)
    return list(dict.fromkeys(names))


# ---- tables -------------------------------------------------------------------------------


def write_table(output: str, runs: Iterable[Run], names: Sequence[str]) -> None:
    """Write the values as they were logged, one in a row.

    Raises:
        UserError: the file cannot be written.
    """
    rows = table_rows(runs, names)
    if output == "-":
        # UTF-8 with plain ends of lines, whatever the terminal would have
        out = SimpleNamespace(write=lambda text: sys.stdout.buffer.write(text.encode()))
        csv.writer(out, lineterminator="\n").writerows(rows)
        sys.stdout.buffer.flush()
        return
    try:
        with replacing(output) as path, path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    except OSError as error:
        raise cannot_write(output, error) from error


def table_rows(runs: Iterable[Run], names: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the table, the first with the names of the columns."""
    yield COLUMNS
    for run in runs:
        for point in run.points:
            for name in names:
                if name in point.values:
                    when = (point.epoch, point.iters, point.total_images)
                    yield (run.label, *when, printable(name), float(point.values[name]))


def cannot_write(output: str, error: OSError) -> UserError:
    """Say why, and what to do."""
    return UserError(
        f"--output {output} cannot be written: {error.strerror or error}. Choose another file."
    )


# ---- lines --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One loss of one run, as it is drawn; gaps are nan.

    Attributes:
        x, y: as logged, thinned.
        mean_x, mean_y: means over `width` values, thinned; the same as logged if `width` is 1.
    """

    x: Numbers
    y: Numbers
    mean_x: Numbers
    mean_y: Numbers
    width: int


def lines_of(run: Run, names: Iterable[str], args: argparse.Namespace) -> dict[str, Line]:
    """Return the lines that a run has, by name."""
    points, positions = run.points, positions_of(run, args.x)
    lines = {}
    for name in names:
        at = [index for index, point in enumerate(points) if name in point.values]
        if at:
            y = np.array([points[index].values[name] for index in at], dtype=np.float64)
            y = np.where(np.isfinite(y), np.clip(y, -LARGEST, LARGEST), np.nan)
            width = 1 if is_validation(name) else args.smooth or max(1, len(y) // SMOOTHED)
            width = min(width, 2 * len(y))  # more changes nothing
            x = positions[at]
            lines[name] = Line(*thin(x, y), *thin(x, running_mean(y, width)), width)
    return lines


def positions_of(run: Run, unit: str) -> Numbers:
    """Return where each point stands on the horizontal axis.

    The most images seen in an epoch stand for its length. They also tell how many were seen in
    all, where the logs do not.
    """
    points = run.points
    longest = max((point.iters or 0 for point in points), default=0) or 1
    if unit == "images" and counts_all_images(run):
        return np.array([point.total_images for point in points], dtype=np.float64)
    shares = [1.0 if point.iters is None else point.iters / longest for point in points]
    epochs = np.array([point.epoch - 1 for point in points]) + np.array(shares)
    return epochs * longest if unit == "images" else epochs


def counts_all_images(run: Run) -> bool:
    """Tell whether all points know their number of images, and training never began to count anew.

    It does when only the networks are continued.
    """
    for points in (run.losses, run.epochs):
        totals = [point.total_images for point in points]
        known = [total for total in totals if total is not None]
        if len(known) < len(totals) or any(b < a for a, b in pairwise(known)):
            return False
    return True


def running_mean(values: Numbers, width: int) -> Numbers:
    """Return means over `width` neighbours, at the ends over those that exist; gaps stay gaps."""
    before = width // 2
    padding = (before, width - 1 - before)
    there = np.isfinite(values)
    sums = window_sums(np.pad(np.where(there, values, 0.0), padding), width)
    counts = window_sums(np.pad(there.astype(np.float64), padding), width)
    return np.where(there, sums / np.maximum(counts, 1), np.nan)


def window_sums(values: Numbers, width: int) -> Numbers:
    """Return the sum of each `width` neighbours.

    By doubling instead of subtracting, so that one huge value spoils no sum it is not part of.
    """
    count = len(values) - width + 1
    total = np.zeros(count)
    size, done, sums = 1, 0, values  # sums: of `size` neighbours
    while done < width:
        if width & size:
            total += sums[done : done + count]
            done += size
        sums = sums[:-size] + sums[size:]
        size *= 2
    return total


def thin(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """Leave out points, but the lowest and the highest of each stretch stay, and its gaps."""
    if len(y) <= MOST_POINTS:
        return x, y
    kept = [0, len(y) - 1]
    bounds = np.linspace(0, len(y), MOST_POINTS // 2 + 1).astype(int)
    for start, end in pairwise(bounds):
        part = y[start:end]
        if np.isnan(part).all():
            kept.append(start)
        else:
            kept += [start + int(np.nanargmin(part)), start + int(np.nanargmax(part))]
    at = np.unique(kept)
    return x[at], y[at]


# ---- images -----------------------------------------------------------------------------


def draw(args: argparse.Namespace, runs: Sequence[Run], names: Sequence[str]) -> None:
    """Draw a panel for each name and write the image.

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    matplotlib = import_matplotlib(INSTEAD)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        lines = [lines_of(run, names, args) for run in runs]
        figure = make_figure(names, lines, args)
        add_legend(figure, [run.label for run in runs])
        add_caption(figure, lines)
        suffix = Path(args.output).suffix.lower()[1:]
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        try:
            with replacing(args.output) as path, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Glyph")  # a letter becomes a box
                figure.savefig(path, format=suffix, metadata=dates.get(suffix))
        except OSError as error:
            raise cannot_write(args.output, error) from error


def make_figure(
    names: Sequence[str], lines: Sequence[Mapping[str, Line]], args: argparse.Namespace
) -> Any:
    """Return an image with a panel for each name: losses first, validation in rows of its own."""
    from matplotlib.figure import Figure

    rows = rows_of(names)
    columns = max(map(len, rows))
    size = (7.0, 4.2 * len(rows)) if columns == 1 else (3.5 * columns, 2.5 * len(rows) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(len(rows), columns)
    panel = None
    for number, row in enumerate(rows):
        below = rows[number + 1] if number + 1 < len(rows) else []
        for column, name in enumerate(row):
            panel = figure.add_subplot(grid[number, column], sharex=panel)
            fill_panel(panel, name, [line.get(name) for line in lines], log=args.log)
            if column < len(below) and is_validation(below[column]) == is_validation(name):
                panel.tick_params(labelbottom=False)
            else:
                panel.set_xlabel(args.x)
            if column == 0:
                panel.set_ylabel("metric" if is_validation(name) else "loss")
    set_marks(panel, args.x)
    figure.align_ylabels()
    return figure


def rows_of(names: Sequence[str]) -> list[list[str]]:
    """Arrange the panels nearly as a square, with few holes, wider rather than higher."""
    parts = [
        [name for name in names if is_validation(name) == validation]
        for validation in (False, True)
    ]

    def rows(columns: int) -> list[list[str]]:
        return [part[at : at + columns] for part in parts for at in range(0, len(part), columns)]

    def ugliness(columns: int) -> tuple[int, int]:
        count = len(rows(columns))
        return 2 * (count * columns - len(names)) + abs(count - columns), -columns

    return rows(min(range(1, MOST_COLUMNS + 1), key=ugliness))


def fill_panel(panel: Any, name: str, lines: Sequence[Line | None], *, log: bool) -> None:
    """Draw one loss of all runs: faint as logged, strong its mean."""
    title = printable(name.removeprefix(VALIDATION))
    title += " (validation)" if is_validation(name) else ""
    panel.set_title(title).set_parse_math(False)  # $ means nothing special in names
    dotted = all(len(line.y) <= MARKED and line.width == 1 for line in lines if line is not None)
    for number, line in enumerate(lines):
        if line is None:
            continue
        style = style_of(number)
        if line.width > 1:
            alpha = 0.3 / math.sqrt(len(lines))
            faint = {**style, "linestyle": "-", "linewidth": 0.7, "alpha": alpha, "zorder": 1.5}
            draw_line(panel, line.x, line.y, faint)
        strong = {**style, "linewidth": 1.5, "zorder": 2 + 0.01 * number}
        if dotted:
            strong |= DOTS
        draw_line(panel, line.mean_x, line.mean_y, strong)
    if log and not is_validation(name):
        set_log(panel, np.concatenate([line.y for line in lines if line is not None]))


def style_of(number: int) -> dict[str, Any]:
    """Return colour and dashes of a run."""
    return {
        "color": PALETTE[number % len(PALETTE)],
        "linestyle": LINE_STYLES[number // len(PALETTE) % len(LINE_STYLES)],
    }


def draw_line(panel: Any, x: Numbers, y: Numbers, style: Mapping[str, Any]) -> None:
    """Draw a line with its gaps; a point between two gaps becomes a dot."""
    panel.plot(x, y, **style)
    there = np.pad(np.isfinite(y), 1)
    lonely = there[1:-1] & ~there[:-2] & ~there[2:]
    if lonely.any() and "marker" not in style:
        panel.plot(x[lonely], y[lonely], **{**style, **DOTS, "linestyle": "none"})


def set_log(panel: Any, values: Numbers) -> None:
    """Make a vertical axis logarithmic; beside negative values, in both directions from zero."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not len(sizes):
        return
    if np.nanmin(values) < 0:
        panel.set_yscale("symlog", linthresh=10.0 ** round(math.log10(np.quantile(sizes, 0.25))))
        return
    low, high = float(sizes.min()), float(sizes.max())
    panel.set_yscale("log", nonpositive="clip")
    panel.set_ylim(low / 1.2, high * 1.2)
    if high < 1000 * low:  # else powers of ten are marks enough
        few = high < 10 * low
        panel.yaxis.set_major_locator(MaxNLocator(5) if few else LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())


def set_marks(panel: Any, unit: str) -> None:
    """Choose the marks of the horizontal axis, which all panels share."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    low, high = panel.get_xlim()
    whole = high - low >= 3
    panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=whole))
    if unit == "images":
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))


def add_legend(figure: Any, names: Sequence[str]) -> None:
    """Name the runs once, above all panels."""
    from matplotlib.lines import Line2D

    shown = [
        name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}\u2026"
        for name in names
    ]
    room = int(figure.get_figwidth() / (0.6 + 0.075 * max(map(len, shown))))
    columns = max(1, min(len(names), room))
    figure.set_figheight(figure.get_figheight() + 0.2 * ((len(names) - 1) // columns))
    legend = figure.legend(
        handles=[Line2D([], [], linewidth=2, **style_of(number)) for number in range(len(names))],
        labels=[str(number) for number in range(len(names))],
        loc="outside upper left",
        ncols=columns,
        frameon=False,
    )
    for text, name in zip(legend.get_texts(), shown, strict=True):
        text.set_parse_math(False)  # $ and a leading _ mean nothing special in names
        text.set_text(name)


def add_caption(figure: Any, lines: Iterable[Mapping[str, Line]]) -> None:
    """Say below the panels what the two kinds of lines are."""
    widths = {line.width for run in lines for line in run.values()} - {1}
    if widths:
        part = f"{100 // SMOOTHED} % of a line's"
        over = min(widths) if len(widths) == 1 else part
        text = f"thick: running mean over {over} values; faint: as logged"
        figure.supxlabel(text, fontsize=7.5, color="#888888", x=0.99, ha="right")


if __name__ == "__main__":
    sys.exit(run_command(main))
