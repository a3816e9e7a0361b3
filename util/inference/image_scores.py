"""How close one translated image is to the true one, for the page of results."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from util.images.ranges import WHITE, in_unit_range
from util.inference.pairs import USUAL
from util.scores.images import METRICS


def show_scores(
    webpage: object, visuals: Mapping[str, Any], pairs: Mapping[str, str] = USUAL
) -> None:
    """Add the scores of an image to the page of results, if that is a page that takes them."""
    add_scores = getattr(webpage, "add_scores", None)  # a fork's own util/html.py has none
    if add_scores is not None:
        add_scores(image_scores(visuals, pairs))


def image_scores(visuals: Mapping[str, Any], pairs: Mapping[str, str] = USUAL) -> dict[str, float]:
    """Return L1, PSNR and SSIM of the first image of a batch; nothing if there is no true one.

    `pairs` are the labels of what was made and of what it should be; whether `real_B` is the true
    one, and not just any image of domain B, is for the caller to know. Images are as `tensor2im`
    takes or makes them.
    """
    for made, real in pairs.items():
        if made in visuals and real in visuals:
            a, b = _unit_image(visuals[made]), _unit_image(visuals[real])
            measures = {name: metric.measure for name, metric in METRICS.items() if metric.measure}
            if a.shape == b.shape:
                return {name: float(measure(a, b)) for name, measure in measures.items()}
    return {}


def _unit_image(image: Any) -> Tensor:
    """Return (1, C, H, W) in [0, 1] of (N, C, H, W) in [-1, 1], or of stored values (H, W, C)."""
    if isinstance(image, np.ndarray):
        return torch.from_numpy(image / WHITE).float().permute(2, 0, 1)[None].clamp(0, 1)
    return in_unit_range(image[:1])
