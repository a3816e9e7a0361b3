"""Which images of a test are pairs: what a model made, and what it should have made."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from util.base.log import warn
from util.scores.comparisons import PAIRS_FILE
from util.storage.files import write_text

USUAL = {"fake_B": "real_B", "fake_B_rgb": "real_B_rgb"}  # labels of what was made, and of what for


def pairs_among(
    visuals: Mapping[str, Any], validation_pairs: Callable[[], Mapping[str, tuple[Tensor, Tensor]]]
) -> dict[str, str]:
    """Return the labels of what was made, with those of what it should be.

    Labels of other models than the built-in ones are those of the images that the model compares
    when it is validated.
    """
    if usual := {made: real for made, real in USUAL.items() if {made, real} <= visuals.keys()}:
        return usual
    try:
        compared = validation_pairs().values()
    except Exception as error:  # noqa: BLE001 - it may need what only training has
        warn(f"The model's validation_pairs() fails in a test ({error}): no image is scored.")
        return {}
    labels = [(_label(made, visuals), _label(real, visuals)) for made, real in compared]
    return {made: real for made, real in labels if made and real and made != real}


def _label(image: Tensor, visuals: Mapping[str, Any]) -> str | None:
    for label, shown in visuals.items():
        if isinstance(shown, Tensor) and shown.shape == image.shape and torch.equal(shown, image):
            return label
    return None


def save_pairs(folder: str, pairs: Mapping[str, str]) -> None:
    """Write unusual labels down beside the page, where scripts/evaluate.py looks for them."""
    if pairs.keys() - USUAL.keys():
        write_text(Path(folder, PAIRS_FILE), json.dumps(pairs) + "\n")
