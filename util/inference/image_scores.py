"""How close one translated image is to the true one, for the page of results."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from util.images.ranges import WHITE, in_unit_range
from util.scores.images import METRICS

PAIRS = {"fake_B": "real_B", "fake_B_rgb": "real_B_rgb"}  # what was made, and what it should be


def show_scores(webpage: object, visuals: Mapping[str, Any]) -> None:
    """Add the scores of an image to the page of results, if that is a page that takes them."""
    add_scores = getattr(webpage, "add_scores", None)  # a fork's own util/html.py has none
    if add_scores is not None:
        add_scores(image_scores(visuals))


def image_scores(visuals: Mapping[str, Any]) -> dict[str, float]:
    """Return L1, PSNR and SSIM of the first image of a batch; nothing if there is no true one.

    Whether `real_B` is the true one, and not just any image of domain B, is for the caller to
    know.
    """
    for made, real in PAIRS.items():
        if made in visuals and real in visuals:
            a, b = _image(visuals[made]), _image(visuals[real])
            if a.shape == b.shape:
                return {
                    name: float(metric.measure(a, b))
                    for name, metric in METRICS.items()
                    if metric.measure is not None
                }
    return {}


def _image(image: Any) -> Tensor:
    """Return an image as metrics expect it.

    Shapes:
        image: tensor (N, C, H, W) in [-1, 1], or array (H, W, C) in [0, 255], as in `tensor2im`
        result: (1, C, H, W) in [0, 1]
    """
    if isinstance(image, np.ndarray):
        return torch.from_numpy(image / WHITE).float().permute(2, 0, 1)[None].clamp(0, 1)
    return in_unit_range(image[:1])
