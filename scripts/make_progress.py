"""Show what became of one image while a run was trained: an animation, or a strip of epochs.

    python scripts/make_progress.py facades                            # facades.gif
    python scripts/make_progress.py facades --output facades.mp4 --visuals real_A,fake_B
    python scripts/make_progress.py facades --output strip.pdf --frames 5

It takes the images that training shows after each epoch (checkpoints/RUN/web/images). The ending of
--output decides: .gif, .webp and .mp4 are animations, .png, .pdf and .svg strips. MP4 needs the
package av, strips need matplotlib. Exit status: 0 written; 1 not, and why; 2 the command was wrong.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from util.base.commands import parser_of
from util.base.errors import UserError, run_command, suggest
from util.base.log import say
from util.display import figure
from util.display.pages.samples import SAMPLE_NAME
from util.images.animation import ENDINGS, write_animation
from util.images.joining import join
from util.images.reading import default_loader
from util.storage.checkpoint import require_run

USUAL = ("fake_B", "fake", "fake_B_rgb")  # the first that there is
CAPTION = 20  # pixels below an animation
STRIP = 6  # epochs in a strip
LAST = 5  # times as long is the last frame of a GIF or WebP shown
Epochs = Mapping[int, Path]


def main(argv: Sequence[str] | None = None) -> None:
    """Write what the command line (or `argv`) describes."""
    args = parse(argv)
    files = find(args)
    is_strip = args.output.suffix.lower() in figure.ENDINGS
    there = sorted({epoch for visual in args.visuals for epoch in files[visual]})
    epochs = spread(there, args.frames or (STRIP if is_strip else len(there)))
    if is_strip:
        columns = [f"epoch {epoch}" for epoch in epochs]
        rows = [[image_at(files[visual], epoch) for epoch in epochs] for visual in args.visuals]
        figure.draw(figure.Grid(rows, columns), args.output)
    else:
        frames = [frame([image_at(files[v], epoch) for v in args.visuals], epoch)
                  for epoch in epochs]  # fmt: skip
        write_animation(args.output, frames, args.seconds, last=LAST)
    say(f"Wrote {args.output} ({len(epochs)} epochs, from {epochs[0]} to {epochs[-1]})")


def find(args: argparse.Namespace) -> dict[str, Epochs]:
    """Return the files of a sample by visual and epoch; sets `visuals` if none are given.

    Raises:
        UserError: there are none.
    """
    folder = require_run(args.checkpoints_dir, args.run).web_images
    files: dict[str, dict[int, Path]] = {}
    samples: set[int] = set()
    for path in folder.glob("epoch*_sample*"):
        if match := SAMPLE_NAME.fullmatch(path.name):
            samples.add(int(match[2]))
            if int(match[2]) == args.sample:
                files.setdefault(match[3], {})[int(match[1])] = path
    if not samples:
        raise UserError(
            f"{folder} has no images of every epoch, such as epoch001_sample1_fake_B.jpg. "
            "Training writes them, unless --no_html is given."
        )
    if not files:
        known = ", ".join(map(str, sorted(samples)))
        raise UserError(f"--sample {args.sample} is not there. Available: {known}.")
    if args.visuals is None:
        args.visuals = [next((name for name in USUAL if name in files), max(files, key=len))]
    for visual in args.visuals:
        if visual not in files:
            raise UserError(f"There is no {visual} in {folder}. {suggest(visual, sorted(files))}")
    return dict(files)


def image_at(files: Epochs, epoch: int) -> Image.Image:
    """Return the newest image up to an epoch: what does not change is written once."""
    return default_loader(files[max((old for old in files if old <= epoch), default=min(files))])


def spread(epochs: Sequence[int], count: int) -> list[int]:
    """Return so many epochs with equal distances, the first and the last among them."""
    count = min(count, len(epochs))
    places = np.linspace(0, len(epochs) - 1, count).round().astype(int)
    return [epochs[place] for place in places]


def frame(images: Sequence[Image.Image], epoch: int) -> Image.Image:
    """Return images side by side, with the epoch below; sides are even, as videos want them."""
    both = images[0]
    for image in images[1:]:
        both = join(both, image)
    width, height = (side + side % 2 for side in (both.width, both.height + CAPTION))
    framed = Image.new("RGB", (width, height), "white")
    framed.paste(both)
    font = ImageFont.load_default(CAPTION * 0.7)
    place = width / 2, both.height + CAPTION / 2
    ImageDraw.Draw(framed).text(place, f"epoch {epoch}", "black", font, anchor="mm")
    return framed


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("run", metavar="RUN", help="a name below --checkpoints_dir")
    add("--checkpoints_dir", default="./checkpoints", help="where the runs are")
    add("--sample", type=int, default=1, metavar="N", help="which of the images (1)")
    add("--visuals", type=lambda text: text.split(","), metavar="LIST", help="as in real_A,fake_B")
    add("--frames", type=int, metavar="N", help=f"so many epochs (all; {STRIP} in a strip)")
    add("--seconds", type=float, default=0.2, help="of each frame (0.2)")
    add("--output", type=Path, metavar="FILE", help="(RUN.gif)")
    args = parser.parse_args(argv)
    args.output = args.output or Path(f"{Path(args.run).name}.gif")
    known = (*ENDINGS, *figure.ENDINGS)
    if args.output.suffix.lower() not in known:
        parser.error(f"--output {args.output} has no known ending. Choose {', '.join(known)}.")
    if not args.output.absolute().parent.is_dir():
        parser.error(f"--output {args.output}: its folder does not exist. Make it first.")
    if not 0.01 <= args.seconds <= 60 or (args.frames is not None and args.frames < 1):
        parser.error("--seconds must lie between 0.01 and 60, --frames must be 1 or more.")
    return args


if __name__ == "__main__":
    sys.exit(run_command(main))
