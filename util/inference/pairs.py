"""Which images of a test are pairs: what a model made, and what it should have made."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from util.base.log import warn
from util.scores.comparisons import PAIRS_FILE, USUAL_PAIRS
from util.scores.sides import made_from
from util.storage.files import write_text

PAIRED_MODES = ("aligned", "colorization")  # data sets in which real_B is what fake_B should be


def pairs_among(
    visuals: Mapping[str, Any],
    dataset_mode: str,
    validation_pairs: Callable[[], Mapping[str, tuple[Tensor, Tensor]]],
) -> dict[str, str]:
    """Return the labels of what was made, with those of what it should be.

    With a data set of somebody else, `real_B` may be just any image of domain B: the model knows,
    since it says what is compared when it is validated. Images that went there and back are not
    what is looked for.
    """
    usual = {made: real for made, real in USUAL_PAIRS.items() if {made, real} <= visuals.keys()}
    if dataset_mode == "unaligned":
        return {}
    if dataset_mode in PAIRED_MODES and usual:
        return usual
    try:
        compared = validation_pairs()
    except Exception as error:  # noqa: BLE001 - it may need what only training has
        warn(f"The model's validation_pairs() fails in a test ({error}): no image is scored.")
        return {}
    labels = [(_label(made, visuals), _label(real, visuals)) for made, real in compared.values()]
    found = {made: real for made, real in labels if made and real and not _is_return(made, real)}
    return found or (usual if "" in compared else {})


def _label(image: Tensor, visuals: Mapping[str, Any]) -> str | None:
    """Return the label of an image: what is the same memory, else what looks the same.

    Several of the first images of a test may be empty, and look the same.
    """
    alike = [
        label
        for label, shown in visuals.items()
        if isinstance(shown, Tensor) and shown.shape == image.shape and torch.equal(shown, image)
    ]
    same = (label for label in alike if visuals[label].data_ptr() == image.data_ptr())
    return next(same, alike[0] if alike else None)


def _is_return(made: str, real: str) -> bool:
    """Tell whether an image was made from the very one that it is compared with."""
    return made == real or (made_from(made) is not None and made_from(made) == made_from(real))


def save_pairs(folder: str, pairs: Mapping[str, str]) -> None:
    """Write the labels down beside the page, where scripts/evaluate.py looks for them."""
    file = Path(folder, PAIRS_FILE)
    if pairs:
        write_text(file, json.dumps(pairs) + "\n")
    else:
        file.unlink(missing_ok=True)  # of an earlier test
