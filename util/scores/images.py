"""How close images are to the true ones, without a network: one number for each of a batch.

All functions take two batches (N, C, H, W) with values in [0, 1], and return (N,). Batches of other
or different shapes, without pixels, or of integers are a ValueError.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from util.base.errors import UserError

# Of SSIM: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
# structural similarity", IEEE Transactions on Image Processing 13(4), 2004, section III.
SIGMA = 1.5  # of the Gaussian window, in pixels
RADIUS = 5  # of the window: 3.5 sigma, so 11 x 11 pixels
C1 = 0.01**2  # for values in [0, 1]
C2 = 0.03**2


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean absolute difference of each pair of images.

    0 for equal images, 1 for white against black. Times 255 it is in grey levels; `loss_G_L1`
    of pix2pix is twice as large, since there values lie in [-1, 1], times `--lambda_L1`.
    """
    a, b = _checked(a, b)
    return (a - b).abs().mean(dim=(1, 2, 3))


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each pair of images, in decibels.

    10 log10(1 / MSE), with the mean over all pixels and channels of an image. Infinite for equal
    images: `mean_over_images` says what becomes of those.
    """
    a, b = _checked(a, b)
    return -10 * (a - b).square().mean(dim=(1, 2, 3)).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity of each pair of images: 1 for equal ones, at least -1.

    Wang et al. 2004, equation 13: an 11 x 11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03,
    weighted (population) variances, the mean over all places where the whole window lies inside
    the image, and over the channels. Along a side shorter than the window, the window is cut
    to the largest odd number of pixels that fits, and weighted anew.
    """
    a, b = _checked(a, b)
    # Variances are differences of squares: around 0 those are small, and lose fewer digits.
    a, b = a - 0.5, b - 0.5
    means = _blurred(torch.cat([a, b, a.square() + b.square(), a * b]))
    mean_a, mean_b, mean_squares, mean_product = means.chunk(4)
    variances = mean_squares - mean_a.square() - mean_b.square()  # of a plus that of b
    covariance = mean_product - mean_a * mean_b
    mean_a, mean_b = mean_a + 0.5, mean_b + 0.5
    luminance = (2 * mean_a * mean_b + C1) / (mean_a.square() + mean_b.square() + C1)
    structure = (2 * covariance + C2) / (variances + C2)
    return (luminance * structure).mean(dim=(1, 2, 3))


class Metric(NamedTuple):
    """What there is to know about a metric."""

    measure: Callable[[Tensor, Tensor], Tensor] | None  # None for what needs a network
    better: Literal["min", "max"]
    unit: str
    digits: int  # after the point, in tables

    def of_each(self, a: Tensor, b: Tensor) -> Tensor:
        """Return `measure` of each image, (N,), of two batches (N, C, H, W) in [0, 1].

        Raises:
            UserError: it gives something else, as one that was just written may.
        """
        assert self.measure is not None
        values = torch.as_tensor(self.measure(a, b))
        if values.shape != a.shape[:1]:
            name = getattr(self.measure, "__name__", "of METRICS")
            raise UserError(
                f"The metric {name} returns the shape {tuple(values.shape)} for {len(a)} images. "
                "One number for each is needed: a mean over the dimensions 1, 2 and 3, say."
            )
        return values


METRICS = {
    "L1": Metric(l1, "min", "of the range 0 to 1", 4),
    "PSNR": Metric(psnr, "max", "dB", 2),
    "SSIM": Metric(ssim, "max", "1 if equal", 4),
    "LPIPS": Metric(None, "min", "0 if equal", 4),
    "FID": Metric(None, "min", "0 if equal", 2),
    "KID": Metric(None, "min", "about 0 if equal", 5),
    "DIVERSITY": Metric(None, "max", "LPIPS among outputs of one image", 4),
}


def metric_and_direction(wanted: str) -> tuple[str, Literal["min", "max"]]:
    """Split `--save_best METRIC[:min|max]`; without a direction the metric's own."""
    name, _, direction = wanted.partition(":")
    kind = METRICS.get(name.rpartition("_")[2])  # cycle_A_PSNR is a PSNR; losses are none of these
    better = kind.better if kind else "min"
    return name, "max" if (direction or better) == "max" else "min"


def mean_over_images(values: Tensor) -> float:
    """Return the mean of values (N,) of one metric; infinite ones are left out, unless all are.

    Only the PSNR of equal images is infinite, and a single one would make the mean infinite
    whatever the others are. NaN is not left out.
    """
    if values.numel() == 0:
        raise ValueError("There is no mean over no images.")
    finite = values[~values.isinf()]
    return float(finite.double().mean()) if finite.numel() else float(values[0])


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return both batches, in single precision if they had less."""
    if a.shape != b.shape:
        raise ValueError(f"Images of different shapes: {tuple(a.shape)} and {tuple(b.shape)}.")
    if a.dim() != 4 or 0 in a.shape[1:]:
        raise ValueError(f"Images have the shape (N, C, H, W), not {tuple(a.shape)}.")
    if not (a.is_floating_point() and b.is_floating_point()):
        raise ValueError(f"Images have values in [0, 1], not {a.dtype} and {b.dtype}.")
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return a.to(dtype), b.to(dtype)


def _blurred(images: Tensor) -> Tensor:
    """Return the windows' weighted means, where they lie inside: (..., H - 10, W - 10).

    Sums of shifted images: on GPUs convolutions round to TF32 (1e-3), on CPUs they are ten
    times slower here.
    """
    for axis in (-2, -1):
        weights = _window(images.shape[axis])
        length = images.shape[axis] - len(weights) + 1
        total = images.narrow(axis, 0, length) * weights[0]
        for shift, weight in enumerate(weights[1:], start=1):
            total.add_(images.narrow(axis, shift, length), alpha=weight)
        images = total
    return images


def _window(length: int) -> list[float]:
    """Return the weights of the window along a side of so many pixels."""
    radius = min(RADIUS, (length - 1) // 2)
    weights = [math.exp(-(x**2) / (2 * SIGMA**2)) for x in range(-radius, radius + 1)]
    return [weight / sum(weights) for weight in weights]
