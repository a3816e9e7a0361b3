"""What the pages are made of: the sheet of samples, and scores of single images."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from util.display.pages.sheet import GAP, LONGEST_SIDE, sheet
from util.inference.image_scores import image_scores
from util.scores import images


def drawn(grey: int, height: int = 30, width: int = 40, channels: int = 3) -> NDArray[np.uint8]:
    return np.full((height, width, channels), grey, np.uint8)


# ---- the sheet -------------------------------------------------------------------------------


def test_a_sheet_has_a_row_for_each_sample_and_a_column_for_each_label() -> None:
    samples = [
        {"real_A": drawn(10), "fake_B": drawn(20)},
        {"real_A": drawn(30), "fake_B": drawn(40)},
    ]
    whole = sheet(samples)
    top = whole.height - (30 + GAP + 30)
    assert whole.width == 40 + GAP + 40
    for row, sample in enumerate(samples):
        for column, image in enumerate(sample.values()):
            place = (column * (40 + GAP) + 20, top + row * (30 + GAP) + 15)
            assert whole.getpixel(place) == (*[image[0, 0, 0]] * 3, 255)
    assert whole.getpixel((42, top + 15)) == (0, 0, 0, 0)  # nothing between the images
    words = np.asarray(whole)[:top]
    assert (words[:, :40, 3] > 0).any()  # a name above each column
    assert (words[:, 48:, 3] > 0).any()


def test_samples_may_have_different_sizes_and_labels() -> None:
    whole = sheet([{"a": drawn(1), "b": drawn(2, 50, 20)}, {"c": drawn(3, 10, 10)}, {}])
    assert whole.width == 40 + GAP + 20 + GAP + 10


@pytest.mark.parametrize("image", [drawn(7, channels=1), drawn(7)[:, :, 0], drawn(7)])
def test_any_kind_of_image_fits_on_a_sheet(image: Any) -> None:
    whole = sheet([{"x": image}])
    assert whole.getpixel((20, whole.height - 5)) == (7, 7, 7, 255)


def test_large_images_are_scaled_down() -> None:
    assert sheet([{"x": drawn(7, 1024, 2048)}]).width == LONGEST_SIDE


@settings(max_examples=30, deadline=None)
@given(label=st.text(), width=st.integers(1, 60))
def test_whatever_a_label_is_the_sheet_is_as_wide_as_its_images(label: str, width: int) -> None:
    assert sheet([{label: drawn(7, 5, width)}]).width == width


# ---- scores ----------------------------------------------------------------------------------


def pair(**changed: Any) -> dict[str, Any]:
    numbers = torch.Generator().manual_seed(3)
    made, real = torch.rand(2, 1, 3, 16, 20, generator=numbers) * 2 - 1
    return {"real_A": real, "fake_B": made, "real_B": real.flip(-1), **changed}


def stored(image: torch.Tensor) -> torch.Tensor:
    """Return an image as its file has it: of 8 bits, truncated, from 0 to 1."""
    return ((image + 1) * 127.5).to(torch.uint8).float() / 255


def test_scores_compare_what_was_made_with_what_it_should_be() -> None:
    visuals = pair()
    a, b = (stored(visuals[label]) for label in ("fake_B", "real_B"))
    expected = {"L1": images.l1(a, b), "PSNR": images.psnr(a, b), "SSIM": images.ssim(a, b)}
    assert image_scores(visuals) == {name: float(value) for name, value in expected.items()}


def test_only_the_first_image_of_a_batch_is_shown_and_scored() -> None:
    visuals = pair()
    twice = {name: torch.cat([image, -image]) for name, image in visuals.items()}
    assert image_scores(twice) == image_scores(visuals)


def test_images_of_colorization_are_arrays() -> None:
    visuals = {
        "real_B_rgb": drawn(51),
        "fake_B_rgb": drawn(102),
        "real_A": torch.zeros(1),
    }
    assert image_scores(visuals)["L1"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "visuals",
    [
        {},
        {"real": torch.zeros(1, 3, 8, 8), "fake": torch.zeros(1, 3, 8, 8)},
        pair(real_B=torch.zeros(1, 3, 16, 16)),
    ],
)
def test_without_a_true_image_there_are_no_scores(visuals: dict[str, Any]) -> None:
    assert image_scores(visuals) == {}
