"""With what people can draw the input of a model: the colours of its label maps, or a pencil."""

from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, uint8

from data import find_dataset_using_name
from util.base.log import silently
from util.images.ranges import to_stored

LOOKED_AT = 24  # images of the training set
REACH, SAME = 2, 6  # pixels and levels: inside an area all neighbours at this distance are alike
COLOURS = 16  # of a palette, at most
CLOSE = 28  # levels in any channel: such colours are one, blurred by JPEG
SEEN = 4000  # different colours that are looked at, the most frequent ones
FREQUENT = 0.0001  # part of the areas that a colour of a palette has
COVERED = 0.95  # part of the areas that has such a colour; photographs have many more colours
GRAY = 12  # levels between the channels of a gray
PAPER = 0.4  # part of the pixels of drawings that are blank
BLANK = 2  # levels that blank ones differ by


class Drawing(NamedTuple):
    """Colours as #rrggbb; the first one is the ground, the most frequent."""

    kind: str  # labels or pencil
    colours: tuple[str, ...]


def drawing_for(saved: Mapping[str, Any], direction: str) -> Drawing | None:
    """Return how the input of a run can be drawn, if its images still are where they were."""
    if saved.get("dataset_mode") not in ("aligned", "unaligned"):
        return None
    side = "B" if direction == "BtoA" else "A"
    whole = {"isTrain": False, "serial_batches": True, "preprocess": "none", "no_flip": True}
    whole |= {"load_size": 256, "crop_size": 256}  # which some options have as text
    whole |= {"direction": "AtoB", "max_dataset_size": LOOKED_AT, "value_range": None}
    whole |= {"input_nc": 3, "output_nc": 3, "phase": saved.get("phase", "train")}
    try:
        with silently():
            opt = Namespace(**{**saved, **whole})
            dataset = find_dataset_using_name(opt.dataset_mode)(opt)
            return drawing_of(
                _pixels(dataset[i][side]) for i in range(min(len(dataset), LOOKED_AT))
            )
    except Exception:  # noqa: BLE001 - moved, or options of other software, which may be anything
        return None


def drawing_of(images: Iterable[NDArray[Any]]) -> Drawing | None:
    """Return how images (H, W, 3) of uint8 can be drawn; None if they are photographs."""
    every = list(images)
    codes = np.concatenate([_codes(_areas(image)) for image in every])
    found, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts)[:SEEN]
    palette = _merged(_colours(found[order]), counts[order])
    shares = {colour: count / max(1, len(codes)) for colour, count in palette.items()}
    kept = [colour for colour, share in shares.items() if share >= FREQUENT][:COLOURS]
    if not kept or sum(shares[colour] for colour in kept) < COVERED:
        return None
    if all(max(colour) - min(colour) < GRAY for colour in kept):
        blank = [np.abs(image - np.array(kept[0])).max(axis=-1) <= BLANK for image in every]
        if np.mean([part.mean() for part in blank]) < PAPER:
            return None
        ink = "#000000" if sum(kept[0]) > 3 * 127 else "#ffffff"
        return Drawing("pencil", (_name(kept[0]), ink))
    return Drawing("labels", tuple(map(_name, kept)))


def _areas(image: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels (N, 3) inside areas of one colour: edges are blends of two."""
    levels, reach = image.astype(np.int16), REACH
    height, width = image.shape[:2]
    inner = levels[reach:-reach, reach:-reach]
    is_inside = np.ones(inner.shape[:2], bool)
    for y, x in ((0, reach), (2 * reach, reach), (reach, 0), (reach, 2 * reach)):
        other = levels[y : height - 2 * reach + y, x : width - 2 * reach + x]
        is_inside &= np.abs(inner - other).max(axis=-1) <= SAME
    return inner[is_inside]


def _merged(colours: NDArray[Any], counts: NDArray[Any]) -> dict[tuple[int, ...], int]:
    """Return the frequent colours, with the pixels of those that are close to them."""
    found: dict[tuple[int, ...], int] = {}
    for colour, count in zip(colours.tolist(), counts.tolist(), strict=True):
        near = (c for c in found if max(abs(a - b) for a, b in zip(c, colour, strict=True)) < CLOSE)
        known = next(near, None)
        if known is not None:
            found[known] += count
        elif len(found) < 4 * COLOURS:
            found[tuple(colour)] = count
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _pixels(image: Tensor) -> NDArray[Any]:
    stored = to_stored(image, uint8)
    pixels: NDArray[Any] = stored.permute(1, 2, 0).numpy()
    return pixels


def _codes(image: NDArray[Any]) -> NDArray[Any]:
    """Return one number for each colour (N, 3)."""
    weights = np.array([2**16, 2**8, 1])
    codes: NDArray[Any] = image.astype(np.int64) @ weights
    return codes


def _colours(codes: NDArray[Any]) -> NDArray[Any]:
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)


def _name(colour: Iterable[int]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)
