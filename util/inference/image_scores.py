"""How close one translated image is to the true one, for the page of results."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from util.images.ranges import tensor2im, to_unit, usual_range
from util.images.writing import as_pillow
from util.inference.result_files import ResultFiles
from util.scores.comparisons import USUAL_PAIRS
from util.scores.images import METRICS


def show_scores(
    webpage: object,
    visuals: Mapping[str, Any],
    pairs: Mapping[str, str] = USUAL_PAIRS,
    aspect_ratio: float = 1.0,
    source: str = "",
) -> None:
    """Add the scores of an image to the page of results, if that is a page that takes them."""
    add_scores = getattr(webpage, "add_scores", None)  # a fork's own util/html.py has none
    if add_scores is not None:
        files = getattr(webpage, "result_files", ResultFiles())
        add_scores(image_scores(visuals, pairs, aspect_ratio, files=files, source=source))


def image_scores(
    visuals: Mapping[str, Any],
    pairs: Mapping[str, str] = USUAL_PAIRS,
    aspect_ratio: float = 1.0,
    *,
    files: ResultFiles = ResultFiles(),  # noqa: B008 - it does not change
    source: str = "",
) -> dict[str, float]:
    """Return L1, PSNR and SSIM of the first image of a batch; nothing if there is no true one.

    `pairs` are the labels of what was made and of what it should be; whether `real_B` is the true
    one, and not just any image of domain B, is for the caller to know. Images are as `tensor2im`
    takes or makes them; the `files` written of them are compared, at the depth that the file
    `source` gives them, so that scripts/evaluate.py finds the same.
    """
    for made, real in pairs.items():
        if made in visuals and real in visuals:
            a, b = (
                _as_in_file(label, visuals[label], files, source, aspect_ratio)
                for label in (made, real)
            )
            measures = {name: metric.measure for name, metric in METRICS.items() if metric.measure}
            if a.shape == b.shape:
                return {name: float(measure(a, b)) for name, measure in measures.items()}
    return {}


def _as_in_file(
    label: str, image: Any, files: ResultFiles, source: str, aspect_ratio: float
) -> Tensor:
    """Return (1, C, H, W) in [0, 1] of an image, as it is read back from its file."""
    stored = files.stored(label, image, source, aspect_ratio)
    if stored is not None:
        return to_unit(stored, files.range_of(label) or usual_range(stored.dtype))[None]
    written = as_pillow(tensor2im(image), aspect_ratio).convert("RGB")
    return to_unit(torch.from_numpy(np.array(written)).permute(2, 0, 1)[None])
