"""Join trainA with trainB, and testA with testB, image by image in the order of their names.

    python datasets/make_dataset_aligned.py --dataset-path datasets/mine

The first of trainA and the first of trainB become train/0000.jpg, and so on: both must be sorted
alike, and every two must be equally large. Where names tell which images are pairs, use
combine_A_and_B.py, or train on trainA and trainB as they are (--dataset_mode aligned). Exit status:
0 done; 1 nothing was written for a phase, and why; 2 the command was wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.commands import parser_of
from util.base.errors import UserError, run_command
from util.base.log import say
from util.display.progress_bar import in_threads
from util.images.joining import join, open_side, write_as

PHASES = ("train", "test")
ENDINGS = (".png", ".jpg")


def main(argv: Sequence[str] | None = None) -> None:
    """Join as the command line says."""
    args = parse(argv)
    for phase in PHASES:
        pairs = pairs_of(args.dataset_path, phase)
        check_sizes(pairs)
        folder = args.dataset_path / phase
        files = [folder / f"{number:04d}.jpg" for number in range(len(pairs))]
        if not args.force and (there := [file for file in files if file.exists()]):
            raise UserError(f"{there[0]} is there already. --force replaces it.")

        def write(number: int, pairs: Pairs = pairs, files: list[Path] = files) -> None:
            A, B = map(open_side, pairs[number])
            write_as(files[number], join(A, B))

        for _ in in_threads(phase, write, range(len(pairs))):
            pass
        say(f"{folder}: {len(pairs)} pairs")


Pairs = list[tuple[Path, Path]]


def pairs_of(root: Path, phase: str) -> Pairs:
    """Return the images of a phase, by their place.

    Raises:
        UserError: a folder is missing, or the two have different numbers of images.
    """
    sides = []
    for side in "AB":
        folder = root / f"{phase}{side}"
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder. Give --dataset-path with trainA, trainB, "
                            "testA and testB in it.")  # fmt: skip
        sides.append(sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS))
    A, B = sides
    if len(A) != len(B):
        raise UserError(
            f"{root}/{phase}A has {len(A)} images, {phase}B {len(B)}: which are pairs is not "
            "clear. datasets/combine_A_and_B.py joins images of the same name."
        )
    return list(zip(A, B, strict=True))


def check_sizes(pairs: Pairs) -> None:
    """Raise a UserError for the first pair whose images are not equally large."""
    for A, B in pairs:
        sizes = [size_of(path) for path in (A, B)]
        if sizes[0] != sizes[1]:
            words = ["x".join(map(str, size)) for size in sizes]
            raise UserError(
                f"{A} is {words[0]}, {B} {words[1]}: images of a pair must be equally large."
            )


def size_of(path: Path) -> tuple[int, int]:
    """Return width and height without decoding the image."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError:
        return open_side(path).size  # says what is wrong with it


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = parser_of(__doc__)
    text = "the folder with trainA, trainB, testA and testB"
    parser.add_argument("--dataset-path", type=Path, required=True, metavar="DIR", help=text)
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run_command(main))
