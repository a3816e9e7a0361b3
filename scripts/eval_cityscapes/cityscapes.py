"""Cityscapes' 19 classes, and scores of label maps.

Classes, ids and colours are those of Cordts et al., "The Cityscapes dataset for semantic urban
scene understanding", CVPR 2016. A label map holds train ids: 0 to 18, 255 where nothing is scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Colour = tuple[int, int, int]  # red, green, blue

IGNORED = 255
CLASSES: dict[str, Colour] = {  # in the order of the train ids
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
# What is not scored. Licence plates have the colour of cars, groups of poles that of poles.
VOID: dict[str, Colour] = {
    "unlabelled": (0, 0, 0),
    "dynamic": (111, 74, 0),
    "ground": (81, 0, 81),
    "parking": (250, 170, 160),
    "rail track": (230, 150, 140),
    "guard rail": (180, 165, 180),
    "bridge": (150, 100, 100),
    "tunnel": (150, 120, 90),
    "caravan": (0, 0, 90),
    "trailer": (0, 0, 110),
}
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # by train id


def from_ids(ids: Tensor) -> Tensor:
    """Translate the ids of `*_labelIds.png` to train ids; all that are not scored become 255.

    Shapes:
        ids: (H, W) uint8
        result: (H, W) uint8
    """
    table = torch.full((256,), IGNORED, dtype=torch.uint8)
    table[list(IDS)] = torch.arange(len(IDS), dtype=torch.uint8)
    return table[ids.long()]


def from_colours(image: Tensor, *, void: bool) -> Tensor:
    """Give each pixel the train id whose colour is nearest (in RGB, squared distance).

    Args:
        image: (3, H, W) uint8, RGB.
        void: whether colours of what is not scored count too, and become 255: for true maps.
            Generated ones must decide for one of the 19.

    Returns:
        (H, W) uint8
    """
    colours = [*CLASSES.values(), *(VOID.values() if void else ())]
    pixels = image.int()
    best = torch.full(image.shape[1:], 3 * 256**2, dtype=torch.int32)
    found = torch.full(image.shape[1:], IGNORED, dtype=torch.uint8)
    for number, colour in enumerate(colours):
        distance = (pixels - torch.tensor(colour).view(3, 1, 1)).square().sum(dim=0)
        nearer = distance < best
        best = torch.where(nearer, distance, best).int()
        found[nearer] = number if number < len(CLASSES) else IGNORED
    return found


def confusion(truth: Tensor, predicted: Tensor) -> Tensor:
    """Count pixels by their true class (rows) and predicted class (columns).

    Pixels whose truth is none of the classes are not counted. The last column counts predictions
    that are none of them: those are always wrong.

    Shapes:
        truth, predicted: (H, W), train ids
        result: (19, 20) int64

    Raises:
        ValueError: the shapes differ.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"Label maps of {tuple(truth.shape)} and {tuple(predicted.shape)}.")
    classes = len(CLASSES)
    counted = truth < classes
    rows, columns = truth[counted].long(), predicted[counted].long()
    columns = torch.where((columns >= 0) & (columns < classes), columns, classes)
    counts = torch.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.view(classes, classes + 1)


@dataclass(frozen=True)
class Scores:
    """The three numbers of the FCN-score, all between 0 and 1, and what they are means of.

    Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015,
    section 5.

    Attributes:
        pixel_accuracy: share of the pixels that are right.
        class_accuracy: mean of `accuracies` over the classes that occur.
        class_iou: mean of `ious` over the classes that occur or are predicted.
        accuracies: share of each class's pixels that are right; None where it does not occur.
        ious: intersection over union of each class's true and predicted pixels; None without any.
        pixels: how many each class has.
    """

    pixel_accuracy: float
    class_accuracy: float
    class_iou: float
    accuracies: list[float | None]
    ious: list[float | None]
    pixels: list[int]


def scores(counts: Tensor) -> Scores:
    """Compute the scores from the sum of all images' confusion matrices.

    Shapes:
        counts: (19, 20)

    Raises:
        ValueError: no pixel was counted.
    """
    if not counts.sum():
        raise ValueError("There are no scores of no pixels.")
    right, true = counts.diagonal(), counts.sum(dim=1)
    union = true + counts[:, : len(CLASSES)].sum(dim=0) - right
    accuracies, ious = _shares(right, true), _shares(right, union)
    return Scores(
        float(right.sum() / counts.sum()), _mean(accuracies), _mean(ious), accuracies, ious,
        true.tolist(),
    )  # fmt: skip


def _shares(parts: Tensor, wholes: Tensor) -> list[float | None]:
    pairs = zip(parts.tolist(), wholes.tolist(), strict=True)
    return [part / whole if whole else None for part, whole in pairs]


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known)
