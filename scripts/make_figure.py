"""Make a figure of what test.py wrote: a row for each image, a column for each run.

    python scripts/make_figure.py facades_a facades_b --names 001,017 --output comparison.pdf
    python scripts/make_figure.py facades --epochs 5,50,latest --labels "Labels,5,50,200,Photo"
    python scripts/make_figure.py maps --visuals real_A,fake_B,rec_A --crop 96,64,48,48

A RUN is a name below --results_dir or a folder of results. Columns are the input, what each run or
epoch made of it, and the truth where the results say that they are pairs; --visuals names others,
which are shown of each run. Pixels are not resampled, captions of PDF and SVG files are text. Needs
matplotlib. Exit status: 0 written; 1 not, and why; 2 the command was wrong.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

from PIL import Image

from data.image_folder import default_loader, make_dataset
from util.base.errors import UserError, run_command, suggest
from util.base.log import printable, say
from util.display.figure import ENDINGS, Grid, draw, import_matplotlib
from util.scores.comparisons import PAIRS_FILE, images_of

MADE = ("fake_B", "fake", "fake_B_rgb", "fake_A")  # the first that there is
INPUTS = {"fake_B": "real_A", "fake": "real", "fake_B_rgb": "real_A", "fake_A": "real_B"}
TRUTHS = {"fake_B": "real_B", "fake_B_rgb": "real_B_rgb"}
USUAL = re.compile("(real|fake|rec|idt)(_[AB])?(_rgb)?")  # visuals of the built-in models
ROWS = 4  # unless --names says which


@dataclass(frozen=True)
class Results:
    """What one test wrote: files by visual (`fake_B`) and name of the image."""

    title: str
    folder: Path
    files: Mapping[str, Mapping[str, Path]]

    @classmethod
    def of(cls, title: str, folder: Path) -> "Results":
        """Look for images that end with the visuals of any model.

        Raises:
            UserError: there are none.
        """
        inside = Path(images_of(str(folder)))
        stems = {Path(path).relative_to(inside).with_suffix("").as_posix(): Path(path)
                 for path in make_dataset(inside)}  # fmt: skip
        files: dict[str, dict[str, Path]] = {}
        for stem, path in stems.items():
            for name, visual in _divisions(stem):
                files.setdefault(visual, {})[name] = path
        if not files:
            raise UserError(f"{folder} has no images that test.py wrote, such as 1_fake_B.png.")
        return cls(title, folder, files)

    def made(self) -> str:
        """Return the visual that the model made."""
        for visual in MADE:
            if visual in self.files:
                return visual
        raise UserError(f"{self.folder} has none of {', '.join(MADE)}: say which with --visuals.")

    def path(self, visual: str, name: str) -> Path:
        """Return a file.

        Raises:
            UserError: there is none.
        """
        if visual not in self.files:
            known = sorted(name for name in self.files if USUAL.fullmatch(name)) or sorted(
                self.files
            )
            raise UserError(f"{self.folder} has no {visual}. {suggest(visual, known)}")
        try:
            return self.files[visual][name]
        except KeyError:
            raise UserError(f"{self.folder} has no {name}_{visual}.") from None


def _divisions(stem: str) -> Iterator[tuple[str, str]]:
    """Yield all ways to divide `a_b_fake_B` into a name and a visual: models choose their own."""
    places = (place for place, letter in enumerate(stem) if letter == "_" and place > 0)
    yield from ((stem[:place], stem[place + 1 :]) for place in places if "/" not in stem[place:])


@dataclass(frozen=True)
class Column:
    """One visual of one test, and what stands above it."""

    caption: str
    results: Results
    visual: str


def main(argv: Sequence[str] | None = None) -> None:
    """Make the figure that the command line (or `argv`) describes."""
    args = parse(argv)
    import_matplotlib()  # before the time that reading may take
    columns = columns_of([Results.of(*found) for found in find(args)], args.visuals)
    captions = [column.caption for column in columns]
    if args.labels:
        if len(args.labels) != len(columns):
            raise UserError(
                f"--labels has {len(args.labels)} captions for {len(columns)} columns, which are "
                f"{', '.join(f'{c.results.title}: {c.visual}' for c in columns)}."
            )
        captions = args.labels
    names = args.names or common_names(columns)[: args.rows]
    rows = [[default_loader(c.results.path(c.visual, name)) for c in columns] for name in names]
    check_sizes(rows, names, columns)
    shown_names = [printable(name) for name in names] if args.row_names else []
    draw(Grid(rows, captions, shown_names, args.gap, args.crop), args.output)
    say(f"Wrote {args.output} ({len(rows)} rows, {len(columns)} columns)")


def find(args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Yield the title and the folder of each test that takes part.

    Raises:
        UserError: it is not there.
    """
    epochs = args.epochs or ["latest"]
    if args.epochs and len(args.runs) > 1:
        raise UserError("--epochs compares epochs of one run; give one RUN.")
    for run in args.runs:
        if Path(run).is_dir():
            yield Path(run).resolve().name, Path(run)
            continue
        for epoch in epochs:
            folder = args.results_dir / run / f"{args.phase}_{epoch}"
            if not folder.is_dir():
                known = sorted(path.name for path in folder.parent.glob("*"))
                there = f"There are {', '.join(known)}." if known else "test.py makes it."
                raise UserError(f"{folder} does not exist. {there}")
            yield (f"epoch {epoch}" if args.epochs else run), folder


def columns_of(tests: Sequence[Results], visuals: Sequence[str] | None) -> list[Column]:
    """Return the columns: what was asked for of each test, or input, results and truth."""
    if visuals:
        several = len(tests) > 1
        return [
            Column(f"{test.title}: {visual}" if several else visual, test, visual)
            for test in tests
            for visual in visuals
        ]
    first, made = tests[0], tests[0].made()
    columns = [Column("input", first, INPUTS[made])]
    columns += [Column(test.title, test, test.made()) for test in tests]
    is_paired = (first.folder / PAIRS_FILE).is_file() or made == "fake_B_rgb"
    if is_paired and TRUTHS.get(made) in first.files:
        columns.append(Column("truth", first, TRUTHS[made]))
    return columns


def common_names(columns: Sequence[Column]) -> list[str]:
    """Return the names of the images that all columns have.

    Raises:
        UserError: there is none.
    """
    for column in columns:
        if column.visual not in column.results.files:
            column.results.path(column.visual, "")  # says which there are
    names = [column.results.files[column.visual] for column in columns]
    common = [name for name in names[0] if all(name in others for others in names)]
    if not common:
        raise UserError("No image is in all columns. Test all runs on the same images.")
    return common


def check_sizes(
    rows: Sequence[Sequence[Image.Image]], names: Sequence[str], columns: Sequence[Column]
) -> None:
    """Raise a UserError unless all images are equally large: none is resampled here."""
    first = rows[0][0].size
    for row, name in zip(rows, names, strict=True):
        for image, column in zip(row, columns, strict=True):
            if image.size != first:
                sizes = ["x".join(map(str, size)) for size in (image.size, first)]
                raise UserError(
                    f"{column.results.path(column.visual, name)} is {sizes[0]}, others {sizes[1]}: "
                    "all must be equally large. Test with the same --crop_size, or choose --names."
                )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    summary, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUN", help="a name below --results_dir, or a folder of results")
    add("--runs", nargs="+", dest="more_runs", default=[], metavar="RUN", help="the same")
    add("--results_dir", type=Path, default=Path("results"), help="where test.py wrote (results)")
    add("--phase", default="test", help="which images were tested (test)")
    add("--epochs", type=listed, metavar="LIST", help="epochs of one run, as in 5,50,latest")
    add("--names", type=listed, metavar="LIST", help="images without ending, as in 001,017")
    add("--rows", type=int, default=ROWS, metavar="N", help=f"without --names, so many ({ROWS})")
    add("--visuals", type=listed, metavar="LIST", help="as in real_A,fake_B; of each run")
    add("--labels", type=listed, metavar="LIST", help="captions of all columns")
    add("--row_names", action="store_true", help="write the images' names beside the rows")
    add("--crop", type=box, metavar="X,Y,W,H", help="show this part enlarged, in a frame")
    add("--gap", type=int, default=4, metavar="PIXELS", help="between images (4)")
    text = f"the figure, {', '.join(ENDINGS)} (figure.png)"
    add("--output", type=Path, default=Path("figure.png"), metavar="FILE", help=text)
    args = parser.parse_args(argv)
    args.runs += args.more_runs
    if not args.runs:
        parser.error("which RUN? Give a name below --results_dir, or a folder of results.")
    if args.output.suffix.lower() not in ENDINGS:
        parser.error(f"--output {args.output} has no known ending. Choose {', '.join(ENDINGS)}.")
    if not args.output.absolute().parent.is_dir():
        parser.error(f"--output {args.output}: its folder does not exist. Make it first.")
    if args.rows < 1 or args.gap < 0:
        parser.error("--rows must be 1 or more, --gap 0 or more.")
    return args


def listed(text: str) -> list[str]:
    """Split what has commas between its parts."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise argparse.ArgumentTypeError(f"{text!r} names nothing between two commas")
    return parts


def box(text: str) -> tuple[int, int, int, int]:
    """Read X,Y,W,H."""
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,W,H in pixels") from None
    return x, y, width, height


if __name__ == "__main__":
    sys.exit(run_command(main))
