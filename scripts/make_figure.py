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
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

from PIL import Image

from data.image_folder import default_loader
from util.base.commands import parser_of
from util.base.errors import UserError, run_command
from util.base.log import printable, say
from util.display.figure import ENDINGS, Grid, draw, import_matplotlib
from util.inference.results import Column, Results, columns_of, common_names, find_results

ROWS = 4  # unless --names says which


def main(argv: Sequence[str] | None = None) -> None:
    """Make the figure that the command line (or `argv`) describes."""
    args = parse(argv)
    import_matplotlib()  # before the time that reading may take
    columns = columns_of(tests_of(args), args.visuals)
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


def tests_of(args: argparse.Namespace) -> list[Results]:
    """Return the results that take part."""
    if args.epochs and len(args.runs) > 1:
        raise UserError("--epochs compares epochs of one run; give one RUN.")
    return [
        find_results(
            run, epoch, args.results_dir, args.phase, f"epoch {epoch}" if args.epochs else run
        )
        for run in args.runs
        for epoch in args.epochs or ["latest"]
    ]


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
    parser = parser_of(__doc__)
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
