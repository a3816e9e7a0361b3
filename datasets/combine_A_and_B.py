"""Join pairs that lie in two folders into files with A on the left and B on the right.

    python datasets/combine_A_and_B.py --fold_A photos --fold_B labels --fold_AB datasets/mine

Each folder may have sub-folders, for example train, val and test; so has the result. Images of a
pair have the same name, but for the ending; with --use_AB x_A.png goes with x_B.png and becomes
x.png. Files are of the format of A: PNG without loss, JPEG of quality 95 in full colour. train.py
reads pairs in two folders as well, without this: A/train and B/train. Exit status: 0 all pairs are
there; 1 some were left out, each of them named; 2 the command was wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data.checks.folders import PHASES
from data.pipeline.pairs import match_folders, name_without
from util.base.commands import parser_of
from util.base.errors import UserError, run_command
from util.base.log import note, say, warn
from util.display.progress_bar import in_threads
from util.images.joining import BEST, join, open_side, write_as


@dataclass(frozen=True)
class Pair:
    """Two images, and the file that they become."""

    A: Path
    B: Path
    AB: Path

    def combine(self, resize: str | None) -> str | None:
        """Write the file; return what is wrong with the pair, if anything is."""
        try:
            A, B = open_side(self.A), open_side(self.B)
        except UserError as error:
            return str(error)
        if A.size != B.size:
            if resize is None:
                return (
                    f"{self.A} is {A.width}x{A.height}, {self.B} {B.width}x{B.height} "
                    "(--resize a gives both the size of A, b that of B)"
                )
            size = A.size if resize == "a" else B.size
            A, B = A.resize(size), B.resize(size)
        write_as(self.AB, join(A, B), **BEST)
        return None


def main(argv: Sequence[str] | None = None) -> None:
    """Join as the command line says; the exit status is 1 if something was left out."""
    args = parse(argv)
    found = splits(args.fold_A)
    left_out = [combine(args, name) for name in found]
    target = Path(args.fold_AB)
    if found == [""] and target.name not in PHASES:
        note(
            "train.py reads pairs in a folder train of its --dataroot, test.py in test: move them "
            f"there, or give --fold_AB {target / 'train'}."
        )
    if any(left_out):
        say(f"{sum(left_out)} left out")
        sys.exit(1)


def combine(args: argparse.Namespace, name: str) -> int:
    """Join the pairs of one sub-folder; return how many were left out."""
    folder_A, folder_B = Path(args.fold_A, name), Path(args.fold_B, name)
    where = name or str(folder_A)
    if not folder_B.is_dir():
        warn(f"{folder_B} does not exist: {where} is left out")
        return 1
    marks = ("_A", "_B") if args.use_AB else ("", "")
    matched = match_folders(folder_A, folder_B, marks)
    for path in matched.alone:
        warn(f"{path} has no partner")
    pairs = [
        Pair(Path(A), Path(B), Path(args.fold_AB, name, result_name(A, folder_A, marks[0])))
        for A, B in matched.pairs.items()
    ]
    wanted = pairs[: args.num_imgs]
    todo = [pair for pair in wanted if args.force or not pair.AB.exists()]
    threads = 1 if args.no_multiprocessing else 0
    problems = in_threads(where, lambda pair: pair.combine(args.resize), todo, threads)
    left_out = 0
    for problem in filter(None, problems):
        warn(problem)
        left_out += 1
    kept = f", {len(wanted) - len(todo)} were there (--force replaces them)"
    say(f"{where}: {len(todo) - left_out} of {len(pairs)} pairs joined"
        f"{kept if len(todo) < len(wanted) else ''}")  # fmt: skip
    return left_out + len(matched.alone)


def result_name(path: str, folder: Path, mark: str) -> str:
    """Return the name of a pair below its folder."""
    return name_without(mark, Path(path).relative_to(folder).as_posix())


def splits(folder: str) -> list[str]:
    """Return the sub-folders to go through; an empty name is the folder itself.

    Raises:
        UserError: no such folder.
    """
    if not Path(folder).is_dir():
        raise UserError(f"--fold_A {folder} is no folder.")
    inside = sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))
    found = [path.name for path in inside if path.is_dir()]
    if found and (others := [path.name for path in inside if not path.is_dir()]):
        warn(f"{folder} has sub-folders: what lies beside them is left alone ({others[0]}, ...)")
    return found or [""]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--fold_A", required=True, metavar="DIR", help="images for the left half")
    add("--fold_B", required=True, metavar="DIR", help="images for the right half")
    add("--fold_AB", required=True, metavar="DIR", help="where the pairs go")
    add("--num_imgs", type=int, default=1_000_000, help="at most so many of each sub-folder")
    add("--use_AB", action="store_true", help="x_A.png and x_B.png become x.png")
    add("--no_multiprocessing", action="store_true", help="one pair after the other")
    text = "what to do with images of unequal sizes: both get that of A, or of B"
    add("--resize", choices=("a", "b"), help=text)
    add("--force", action="store_true", help="replace files that are there")
    args = parser.parse_args(argv)
    if args.num_imgs < 1:
        parser.error(f"--num_imgs {args.num_imgs}: it must be 1 or more.")
    return args


if __name__ == "__main__":
    sys.exit(run_command(main))
