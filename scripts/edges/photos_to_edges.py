"""Draw the edges of photographs, for pairs as those of edges2shoes.

    python scripts/edges/photos_to_edges.py ./photos ./edges
    python scripts/edges/photos_to_edges.py ./photos ./datasets/mine/train --pairs
    python scripts/edges/photos_to_edges.py ./photos ./edges --method hed --hed_weights hed.pt

Lines are black on white and one pixel wide. `canny` needs no weights; `hed` takes a network of
yours (TorchScript, or torch.export's .pt2) that turns an image into a map of how likely each pixel
is an edge, as Holistically-Nested Edge Detection does (Xie and Tu, ICCV 2015). With --pairs each
file holds the edges on the left and the photograph on the right: pix2pix makes photographs of edges
then. Needs scikit-image. Exit status: 0 done; 1 not all of it, and why; 2 the command was wrong.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.image_folder import make_dataset
from util.base.commands import parser_of
from util.base.errors import UserError, run_command
from util.base.log import say, warn
from util.display.progress_bar import in_threads
from util.images.joining import join, write_as
from util.images.reading import default_loader

Map = NDArray[np.float64]  # (H, W), 0 to 1: how likely each pixel is an edge
Mask = NDArray[np.bool_]  # (H, W)
Detector = Callable[[Image.Image], Map]

SMOOTHING = 4  # pixels: radius of the triangle filter before orientations are estimated
NEAR_BORDER = 5  # pixels in which edges are trusted less
MARGIN = 1.01  # by so much a pixel may be weaker than its neighbours across the edge
HED_MEAN = (104.00698793, 116.66876762, 122.67891434)  # blue, green, red
HED_BORDER = 128  # pixels that are mirrored around the image


def main(argv: Sequence[str] | None = None) -> None:
    """Draw edges as the command line says."""
    args = parse(argv)
    check_skimage()
    photos = make_dataset(args.input)
    if not photos:
        raise UserError(f"{args.input} has no images.")
    detect = hed(args.hed_weights) if args.method == "hed" else canny

    def work(path: str) -> str | None:
        return draw(Path(path), args, detect)

    problems = list(filter(None, in_threads("drawing", work, photos, args.threads)))
    for problem in problems:
        warn(problem)
    say(f"Drew the edges of {len(photos) - len(problems)} images into {args.output}")
    if problems:
        sys.exit(1)


def draw(path: Path, args: argparse.Namespace, detect: Detector) -> str | None:
    """Write the edges of one image as PNG; return what is wrong with it, if anything is."""
    try:
        photo = default_loader(path)
    except UserError as error:
        return str(error)
    if args.size:
        photo = photo.resize((args.size, args.size), Image.Resampling.BICUBIC)
    lines = clean(detect(photo), args.threshold, args.small_edge)
    edges = Image.fromarray(np.where(lines, 0, 255).astype(np.uint8)).convert("RGB")
    file = Path(args.output, path.relative_to(args.input)).with_suffix(".png")
    write_as(file, join(edges, photo) if args.pairs else edges)
    return None


# ---- from images to maps --------------------------------------------------------------------


def canny(image: Image.Image) -> Map:
    """Find edges by Canny's method (IEEE PAMI 1986), with skimage's thresholds."""
    from skimage.feature import canny as find

    return find(np.asarray(image.convert("L")) / 255.0, sigma=2.0).astype(np.float64)


def hed(weights: Path) -> Detector:
    """Return a detector that asks a network: (1, 3, H, W) blue first, less the mean, to a map.

    Raises:
        UserError: the file is none that torch can run.
    """
    import torch

    try:
        if weights.suffix == ".pt2":
            net: Any = torch.export.load(str(weights)).module()
        else:
            net = torch.jit.load(str(weights), map_location="cpu").eval()
    except Exception as error:  # torch raises all kinds for files that are something else
        raise UserError(
            f"--hed_weights {weights} is no network that torch can run ({error}). Save one with "
            "torch.jit.save or torch.export.save."
        ) from error

    mean = np.array(HED_MEAN, dtype=np.float32)

    def detect(image: Image.Image) -> Map:
        around = np.pad(
            np.asarray(image, dtype=np.float32), [(HED_BORDER,) * 2] * 2 + [(0, 0)], mode="reflect"
        )
        values = torch.from_numpy(around[..., ::-1] - mean).permute(2, 0, 1)
        with torch.inference_mode():
            made = net(values[None].contiguous())
        found: Map = np.asarray(made, dtype=np.float64).reshape(made.shape[-2:])
        top, left = ((f - size) // 2 for f, size in zip(found.shape, image.size[::-1], strict=True))
        found = found[top : top + image.height, left : left + image.width]
        return strongest(found.clip(0, 1))

    return detect


def strongest(edges: Map) -> Map:
    """Keep the ridges of a map: pixels that no neighbour across the edge exceeds."""
    angle = orientation(edges)
    height, width = edges.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    kept = edges.copy()
    for side in (-1, 1):
        beside = interpolated(edges, y + side * np.sin(angle), x + side * np.cos(angle))
        kept[edges * MARGIN < beside] = 0
    return kept * trust(height)[:, None] * trust(width)


def orientation(edges: Map) -> Map:
    """Return the angle across the edge at each pixel, 0 to pi, from second derivatives."""
    smooth = triangle(triangle(edges, 0), 1)
    dy, dx = np.gradient(smooth)
    dyy, _ = np.gradient(dy)
    dxy, dxx = np.gradient(dx)
    side = np.where(dxy > 0, -1, 1)  # not 0 where it is 0, as on a line along an axis
    result: Map = np.mod(np.arctan(dyy * side / (dxx + 1e-5)), np.pi)
    return result


def triangle(values: Map, axis: int) -> Map:
    """Smooth by a triangle along an axis; what lies outside is mirrored."""
    weights = np.bartlett(2 * SMOOTHING + 3)[1:-1]
    weights /= weights.sum()
    padding = [(SMOOTHING, SMOOTHING) if a == axis else (0, 0) for a in (0, 1)]
    around = np.pad(values, padding, mode="symmetric")
    return np.apply_along_axis(np.convolve, axis, around, weights, mode="valid")


def interpolated(values: Map, y: Map, x: Map) -> Map:
    """Return values between pixels; outside, those at the border."""
    height, width = values.shape
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, along = y - top, x - left
    upper = values[top, left] * (1 - along) + values[top, right] * along
    lower = values[bottom, left] * (1 - along) + values[bottom, right] * along
    result: Map = upper * (1 - down) + lower * down
    return result


def trust(length: int) -> Map:
    """Return weights that fall towards both ends, where maps have artefacts."""
    place = np.arange(length)
    result: Map = (np.minimum(place, place[::-1]) / NEAR_BORDER).clip(0, 1)
    return result


# ---- from maps to lines ---------------------------------------------------------------------


def clean(edges: Map, threshold: float, small: int) -> Mask:
    """Return lines one pixel wide, without those of fewer than `small` pixels."""
    from skimage.measure import label
    from skimage.morphology import thin

    lines: Mask = thin(edges >= threshold)
    parts = label(lines, connectivity=2)
    result: Mask = lines & (np.bincount(parts.ravel()) >= small)[parts]
    return result


# ---- the command line -----------------------------------------------------------------------


def check_skimage() -> None:
    """Raise a UserError if scikit-image is missing."""
    try:
        import skimage as skimage
    except ModuleNotFoundError as error:
        raise UserError(
            "Edges need the package scikit-image, which is not installed. Install it: pip install "
            "scikit-image, or uv sync --extra edges."
        ) from error


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("input", metavar="IN", help="a folder of photographs")
    add("output", metavar="OUT", help="where the edges go, under the same names")
    add("--method", choices=("canny", "hed"), default="canny", help="how to find edges (canny)")
    add("--hed_weights", type=Path, metavar="FILE", help="the network, for --method hed")
    add("--threshold", type=float, default=0.1, help="how likely an edge must be, 0 to 1 (0.1)")
    add("--small_edge", type=int, default=5, metavar="N", help="fewer pixels are no edge (5)")
    add(
        "--size",
        type=int,
        default=256,
        metavar="N",
        help="make squares first; 0: leave sizes (256)",
    )
    add("--pairs", action="store_true", help="put the photograph beside its edges")
    add("--threads", type=int, default=0, help="one for each core, if not given")
    args = parser.parse_args(argv)
    if args.method == "hed" and args.hed_weights is None:
        parser.error("--method hed needs --hed_weights FILE.")
    if not 0 < args.threshold <= 1 or args.small_edge < 0 or args.size < 0 or args.threads < 0:
        parser.error("--threshold must lie between 0 and 1, the other numbers be 0 or more.")
    return args


if __name__ == "__main__":
    sys.exit(run_command(main))
