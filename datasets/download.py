"""Download a data set that was published with CycleGAN or pix2pix.

    python datasets/download.py                    # which there are
    python datasets/download.py horse2zebra
    python datasets/download.py facades --technique pix2pix

It is unpacked to a folder of its name beside this file, or below --dir. A download that broke off
goes on where it stopped. The first SHA-256 of each archive is kept in SHA256SUMS there; another
one later is an error. Exit status: 0 there; 1 not, and why; 2 the command was wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.commands import parser_of
from util.base.errors import UserError, run_command, suggest
from util.get_data import BASE_URLS, GetData

DATA_SETS = {  # what each is; numbers are those of training images where they are known
    "cyclegan": {
        "ae_photos": "photographs, for paintings of another set",
        "apple2orange": "996 apples, 1,020 oranges",
        "summer2winter_yosemite": "1,273 photographs in summer, 854 in winter",
        "horse2zebra": "939 horses, 1,177 zebras",
        "monet2photo": "paintings and photographs",
        "cezanne2photo": "paintings and photographs",
        "ukiyoe2photo": "prints and photographs",
        "vangogh2photo": "paintings and photographs",
        "maps": "1,096 aerial photographs, and maps",
        "cityscapes": "licensed: not for download here",
        "facades": "400 photographs of fronts, and their labels",
        "iphone2dslr_flower": "1,813 photographs of a telephone, 3,316 of a camera",
        "mini": "a few unpaired images, to try things with",
        "mini_pix2pix": "a few pairs, to try things with",
        "mini_colorization": "a few photographs, to try things with",
    },
    "pix2pix": {
        "cityscapes": "licensed: not for download here",
        "night2day": "20,000 pairs",
        "edges2handbags": "137,000 pairs",
        "edges2shoes": "50,000 pairs",
        "facades": "400 pairs of labels and photographs",
        "maps": "1,096 pairs of aerial photographs and maps",
    },
}
ARCHIVES = {"cyclegan": ".zip", "pix2pix": ".tar.gz"}
CITYSCAPES = """The Cityscapes images are licensed and cannot be given away here. To get them:
  1. register at https://www.cityscapes-dataset.com and log in
  2. download gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip, and unpack both
  3. python datasets/prepare_cityscapes_dataset.py --gtFine_dir gtFine \\
         --leftImg8bit_dir leftImg8bit --output_dir datasets/cityscapes"""


def main(argv: Sequence[str] | None = None) -> None:
    """Download as the command line says."""
    args = parse(argv)
    technique = args.technique or technique_of(args.name)
    if args.name not in DATA_SETS[technique]:
        text = suggest(args.name, DATA_SETS[technique])
        raise UserError(f"No data set {args.name!r} was published with {technique}. {text}")
    if args.name == "cityscapes":
        raise UserError(CITYSCAPES)
    url = args.base_url or BASE_URLS[technique]
    if args.http:
        url = url.replace("https://", "http://", 1)
    GetData(technique, base_url=url).get(args.dir, args.name + ARCHIVES[technique])


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says; without a name, list what there is."""
    parser = parser_of(__doc__)
    parser.add_argument("name", metavar="NAME", nargs="?", help="which data set")
    text = "with which it was published; needed for names that both have"
    parser.add_argument("--technique", choices=DATA_SETS, help=text)
    here = Path(__file__).resolve().parent
    parser.add_argument(
        "--dir", type=Path, default=here, help="where its folder is made (%(default)s)"
    )
    parser.add_argument("--base-url", metavar="URL", help="a mirror: where the archives are")
    parser.add_argument("--http", action="store_true", help="do without encryption")
    args = parser.parse_args(argv)
    if args.name is None:
        parser.exit(2, f"Which data set?\n{table(args.technique)}")
    return args


def table(technique: str | None) -> str:
    """List the data sets of a technique, or of both."""
    lines: list[str] = []
    for name in [technique] if technique else DATA_SETS:
        lines.append(f"{name}:")
        lines += [f"  {data_set:<24}{text}" for data_set, text in DATA_SETS[name].items()]
    return "\n".join([*lines, ""])


def technique_of(name: str) -> str:
    """Return the technique whose data set this is, if that is clear from the name."""
    techniques = [technique for technique, names in DATA_SETS.items() if name in names]
    if not techniques:
        known = sorted({data_set for names in DATA_SETS.values() for data_set in names})
        raise UserError(f"No data set {name!r}. {suggest(name, known)}")
    if len(techniques) > 1 and name != "cityscapes":
        raise UserError(
            f"There are two data sets {name}: --technique cyclegan (trainA and trainB) or "
            "--technique pix2pix (pairs side by side)?"
        )
    return techniques[0]


if __name__ == "__main__":
    sys.exit(run_command(main))
