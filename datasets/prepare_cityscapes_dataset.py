"""Make a data set of pairs, and of two domains, of the Cityscapes images.

    python datasets/prepare_cityscapes_dataset.py --gtFine_dir ./gtFine \
        --leftImg8bit_dir ./leftImg8bit --output_dir ./datasets/cityscapes

Both folders come from https://www.cityscapes-dataset.com (gtFine_trainvaltest.zip and
leftImg8bit_trainvaltest.zip). All images become 256x256; the validation images become `test`.
train/0.jpg holds photo and labels side by side (for pix2pix: --direction BtoA makes photos of
labels), trainA/0_A.jpg the photo and trainB/0_B.jpg the labels (for CycleGAN). Exit status: 0 done;
1 not, and why; 2 the command was wrong.
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
from util.images.joining import join, write_as
from util.images.reading import default_loader

SIZE = (256, 256)
PHASES = {"val": "test", "train": "train"}  # of Cityscapes, and what they become
LABELS, PHOTO = "_gtFine_color.png", "_leftImg8bit.png"
JPEG = {"quality": 100, "subsampling": 0}
Numbered = tuple[int, Path, Path]  # labels, photo


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare as the command line says."""
    args = parse(argv)
    found = {phase: pairs_of(args.gtFine_dir, args.leftImg8bit_dir, phase) for phase in PHASES}
    for phase, pairs in found.items():
        name = PHASES[phase]

        def write(pair: Numbered, folder: Path = args.output_dir / name) -> None:
            number, *paths = pair
            labels, photo = (
                default_loader(path).resize(SIZE, Image.Resampling.BICUBIC) for path in paths
            )
            write_as(folder / f"{number}.jpg", join(photo, labels), **JPEG)
            for side, image in (("A", photo), ("B", labels)):
                file = folder.with_name(f"{folder.name}{side}") / f"{number}_{side}.jpg"
                write_as(file, image, **JPEG)

        for _ in in_threads(phase, write, pairs):
            pass
        say(f"{args.output_dir / name}: {len(pairs)} pairs")


def pairs_of(gtFine: Path, leftImg8bit: Path, phase: str) -> list[Numbered]:
    """Return labels and photos of a phase, numbered.

    Raises:
        UserError: there are none, or a photo or its labels are missing.
    """
    labels = sorted((gtFine / phase).glob(f"*/*{LABELS}"))
    photos = sorted((leftImg8bit / phase).glob(f"*/*{PHOTO}"))
    if not labels:
        raise UserError(f"{gtFine / phase} has no files */*{LABELS}. Is gtFine unpacked there?")
    names = [
        [path.name.removesuffix(ending) for path in paths]
        for paths, ending in ((labels, LABELS), (photos, PHOTO))
    ]
    if names[0] != names[1]:
        alone = sorted(set(names[0]) ^ set(names[1]))
        raise UserError(
            f"{phase}: {len(alone)} images have labels or a photo alone, for example {alone[0]}. "
            f"Unpack {gtFine} and {leftImg8bit} anew, whole."
        )
    return list(zip(range(len(labels)), labels, photos, strict=True))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--gtFine_dir", type=Path, required=True, metavar="DIR", help="the labels")
    add("--leftImg8bit_dir", type=Path, required=True, metavar="DIR", help="the photos")
    here = Path(__file__).resolve().parent / "cityscapes"
    add("--output_dir", type=Path, default=here, metavar="DIR", help="(%(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run_command(main))
