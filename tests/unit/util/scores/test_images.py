"""util/scores/images.py: values known by hand, from an independent loop, and from scikit-image."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from util.base.errors import UserError
from util.scores.images import C1, METRICS, Metric, l1, mean_over_images, psnr, ssim

MEASURES = [l1, psnr, ssim]
Measure = Callable[[Tensor, Tensor], Tensor]


def images(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Draw 8-bit images with smooth and with rough parts."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=random, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    noise = torch.rand(count, 3, height, width, generator=random, dtype=torch.float64)
    rough = torch.rand(count, 1, 1, 1, generator=random, dtype=torch.float64)
    return ((1 - rough) * smooth + rough * noise).mul(255).round() / 255


def constant(value: float) -> Tensor:
    return torch.full((1, 3, 16, 16), value, dtype=torch.float64)


def ssim_by_loops(a: Tensor, b: Tensor) -> float:
    """Follow the paper's equations 13 to 16 window by window, for one channel (H, W)."""
    sides = [min(11, size if size % 2 else size - 1) for size in a.shape]
    ramps = [np.exp(-((np.arange(side) - side // 2) ** 2) / 4.5) for side in sides]
    weights = np.outer(*ramps) / np.outer(*ramps).sum()
    found = []
    for y in range(a.shape[0] - sides[0] + 1):
        for x in range(a.shape[1] - sides[1] + 1):
            p, q = (z[y : y + sides[0], x : x + sides[1]].numpy() for z in (a, b))
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            cov = (weights * (p - mp) * (q - mq)).sum()
            found.append(
                (2 * mp * mq + 0.0001) * (2 * cov + 0.0009)
                / ((mp**2 + mq**2 + 0.0001) * (vp + vq + 0.0009))
            )  # fmt: skip
    return float(np.mean(found))


def test_l1_is_the_mean_absolute_difference() -> None:
    a = torch.zeros(2, 1, 2, 2)
    b = torch.tensor([[0.0, 0.5, 0.5, 1.0], [1.0, 1.0, 1.0, 1.0]]).view(2, 1, 2, 2)
    assert l1(a, b).tolist() == [0.5, 1.0]


def test_psnr_of_a_tenth_of_the_range_is_20_decibels() -> None:
    assert psnr(constant(0.3), constant(0.4)).item() == pytest.approx(20)


def test_psnr_of_equal_images_is_infinite() -> None:
    assert psnr(constant(0.3), constant(0.3)).item() == math.inf


def test_ssim_of_flat_images_compares_their_brightness() -> None:
    a, b = 0.2, 0.7
    wanted = (2 * a * b + C1) / (a * a + b * b + C1)
    assert ssim(constant(a), constant(b)).item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("shape", [(15, 13), (11, 11), (5, 20), (20, 4), (3, 1), (1, 1)])
def test_ssim_follows_the_paper_also_where_the_window_does_not_fit(shape: tuple[int, int]) -> None:
    a, b = images(1, *shape, seed=1), images(1, *shape, seed=2)
    channels = [ssim_by_loops(a[0, channel], b[0, channel]) for channel in range(3)]
    assert ssim(a, b).item() == pytest.approx(np.mean(channels), abs=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_ssim_and_psnr_equal_scikit_image(dtype: torch.dtype, tolerance: float) -> None:
    skimage = pytest.importorskip("skimage.metrics")
    a, b = images(6, 40, 52, seed=3), images(6, 40, 52, seed=4)
    a[1:3] = (b[1:3] + torch.tensor([0.004, 0.1]).view(2, 1, 1, 1)).clamp(0, 1)  # nearly equal
    a[3], b[3] = 1.0, b[3] / 50 + 0.98  # bright and flat: where digits are lost
    for one, other, similar, ratio in zip(
        a, b, ssim(a.to(dtype), b.to(dtype)), psnr(a.to(dtype), b.to(dtype)), strict=True
    ):
        x, y = one.numpy(), other.numpy()
        wanted = skimage.structural_similarity(
            x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1,
            channel_axis=0,
        )  # fmt: skip
        assert similar.item() == pytest.approx(wanted, abs=tolerance)
        wanted = skimage.peak_signal_noise_ratio(x, y, data_range=1)
        assert ratio.item() == pytest.approx(wanted, abs=tolerance * 10)


@pytest.mark.parametrize("measure", MEASURES)
def test_each_image_has_its_own_value(measure: Measure) -> None:
    a, b = images(3, 16, 24, seed=5), images(3, 16, 24, seed=6)
    together = measure(a, b)
    assert together.shape == (3,)
    alone = [measure(a[at : at + 1], b[at : at + 1]).item() for at in range(3)]
    assert together.tolist() == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_an_empty_batch_has_no_values(measure: Measure) -> None:
    assert measure(torch.zeros(0, 3, 16, 16), torch.zeros(0, 3, 16, 16)).shape == (0,)


@pytest.mark.parametrize("measure", MEASURES)
def test_half_precision_is_computed_in_single(measure: Measure) -> None:
    a, b = (images(1, 16, 16, seed=seed).half() for seed in (7, 8))
    assert measure(a, b).dtype == torch.float32
    assert measure(a, b).item() == pytest.approx(measure(a.double(), b.double()).item(), rel=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
def test_inputs_stay_as_they_are(measure: Measure) -> None:
    a, b = images(1, 16, 16, seed=9), images(1, 16, 16, seed=10)
    before = a.clone(), b.clone()
    measure(a, b)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9), "different shapes"),
        (torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), r"\(N, C, H, W\)"),
        (torch.zeros(1, 3, 0, 8), torch.zeros(1, 3, 0, 8), r"\(N, C, H, W\)"),
        (torch.zeros(1, 3, 8, 8).byte(), torch.zeros(1, 3, 8, 8).byte(), "uint8"),
    ],
)
def test_other_inputs_are_refused(measure: Measure, a: Tensor, b: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        measure(a, b)


def test_the_table_knows_which_direction_is_better() -> None:
    a = images(1, 32, 32, seed=11)
    noise = images(1, 32, 32, seed=12) - 0.5
    measured = {name: metric.of_each for name, metric in METRICS.items() if metric.measure}
    assert list(measured) == ["L1", "PSNR", "SSIM"]
    for name, measure in measured.items():
        slightly, badly = (measure(a, a + share * noise).item() for share in (0.1, 0.3))
        assert (slightly < badly) == (METRICS[name].better == "min")
    assert {METRICS[name].better for name in ("LPIPS", "FID", "KID")} == {"min"}


def test_the_mean_leaves_out_equal_images_unless_all_are() -> None:
    assert mean_over_images(torch.tensor([10.0, math.inf, 20.0])) == 15
    assert mean_over_images(torch.tensor([math.inf, math.inf])) == math.inf
    assert math.isnan(mean_over_images(torch.tensor([10.0, math.nan])))
    with pytest.raises(ValueError, match="no images"):
        mean_over_images(torch.tensor([]))


@pytest.mark.gpu
@pytest.mark.parametrize("measure", MEASURES)
def test_a_gpu_gives_the_same_values(measure: Measure) -> None:
    a, b = (images(2, 64, 64, seed=seed).float() for seed in (13, 14))
    found = measure(a.cuda(), b.cuda())
    assert found.device.type == "cuda"
    assert found.tolist() == pytest.approx(measure(a, b).tolist(), abs=1e-5)


@pytest.mark.parametrize("measure", [lambda a, b: (a - b).mean(), lambda a, b: 0.5, torch.sub])
def test_a_metric_that_gives_no_number_for_each_image_is_told(
    measure: Callable[..., Any],
) -> None:
    images = torch.zeros(2, 3, 8, 8)
    with pytest.raises(UserError, match=r"returns the shape \(.*\) for 2 images"):
        Metric(measure, "min", "", 4).of_each(images, images)
