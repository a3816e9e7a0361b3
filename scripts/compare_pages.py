"""Make one page of what several runs made of the same images, side by side.

    python scripts/compare_pages.py facades_a facades_b facades_c
    python scripts/compare_pages.py facades_a facades_b --output ./results/comparison

A RUN is a name below --results_dir or a folder that test.py wrote. The page has the viewer of the
results' pages, and shows the images where they are: it stays whole as long as they do. Exit status:
0 written; 1 not, and why; 2 the command was wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

from util.base.commands import parser_of
from util.base.errors import run_command
from util.base.log import link_to, say
from util.html import HTML
from util.inference.results import columns_of, common_names, find_results


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page that the command line (or `argv`) describes."""
    args = parse(argv)
    tests = [find_results(run, args.epoch, args.results_dir, args.phase) for run in args.runs]
    columns = columns_of(tests, None)
    page = HTML(args.output, f"Comparison of {', '.join(test.title for test in tests)}")
    names = common_names(columns)
    for name in names:
        files = [column.results.path(column.visual, name) for column in columns]
        links = [os.path.relpath(file, page.img_dir) for file in files]
        page.add_header(name)
        page.add_images(links, [column.caption for column in columns], links, args.display_winsize)
    page.save()
    say(f"{len(names)} images of {len(tests)} runs: {link_to(args.output / 'index.html')}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="a name below --results_dir, or a folder of results")
    add("--results_dir", type=Path, default=Path("results"), help="where test.py wrote (results)")
    add("--phase", default="test", help="which images were tested (test)")
    add("--epoch", default="latest", help="of which save (latest)")
    add("--display_winsize", type=int, default=256, help="width of images on the page (256)")
    add("--output", type=Path, metavar="DIR", help="the page's folder (RESULTS_DIR/comparison)")
    args = parser.parse_args(argv)
    args.output = args.output or args.results_dir / "comparison"
    return args


if __name__ == "__main__":
    sys.exit(run_command(main))
