"""What the pages are made of: files of samples, and scores of single images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from util.display.pages.samples import LONGEST_SIDE, Samples
from util.inference.image_scores import image_scores
from util.scores import images


def drawn(grey: int, height: int = 30, width: int = 40, channels: int = 3) -> NDArray[np.uint8]:
    return np.full((height, width, channels), grey, np.uint8)


# ---- samples ---------------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    samples = Samples(tmp_path)
    for epoch, grey in ((1, 20), (2, 30)):
        samples.write(epoch, [{"real_A": drawn(10), "fake_B": drawn(grey)}])
    assert names(tmp_path) == [
        *("epoch001_sample1_fake_B.jpg", "epoch001_sample1_real_A.jpg"),
        "epoch002_sample1_fake_B.jpg",
    ]
    assert json.loads(samples.of(2)) == [{"real_A": [1, 40, 30], "fake_B": [2, 40, 30]}]
    assert json.loads(samples.of(1)) == [{"real_A": [1, 40, 30], "fake_B": [1, 40, 30]}]
    assert samples.of(3) == ""


def test_a_later_process_finds_the_samples_of_the_epochs_before_its_own(tmp_path: Path) -> None:
    first = Samples(tmp_path)
    for epoch, grey in ((1, 20), (2, 30), (3, 40)):
        first.write(epoch, [{"real_A": drawn(10), "fake_B": drawn(grey)}, {"real_A": drawn(5)}])
    again = Samples(tmp_path)
    again.find(3)
    assert json.loads(again.of(2)) == [
        {"fake_B": [2, 40, 30], "real_A": [1, 40, 30]},
        {"real_A": [1, 40, 30]},
    ]
    assert again.of(3) == ""


def test_an_epoch_that_is_trained_again_replaces_its_samples(tmp_path: Path) -> None:
    samples = Samples(tmp_path)
    for epoch, grey in ((1, 20), (2, 30), (3, 40), (2, 50)):
        samples.write(epoch, [{"fake_B": drawn(grey)}])
    assert json.loads(samples.of(2)) == [{"fake_B": [2, 40, 30]}]
    assert samples.of(3) == ""
    with Image.open(tmp_path / "epoch002_sample1_fake_B.jpg") as image:
        assert image.getpixel((20, 15)) == (50, 50, 50)


@pytest.mark.parametrize("image", [drawn(7, channels=1), drawn(7)[:, :, 0], drawn(7)])
def test_any_kind_of_image_can_be_a_sample(tmp_path: Path, image: Any) -> None:
    Samples(tmp_path).write(1, [{"x": image}])
    with Image.open(tmp_path / "epoch001_sample1_x.jpg") as shown:
        assert shown.getpixel((20, 15)) == (7, 7, 7)


def test_large_images_are_scaled_down(tmp_path: Path) -> None:
    Samples(tmp_path).write(1, [{"x": drawn(7, 1024, 2048)}])
    with Image.open(tmp_path / "epoch001_sample1_x.jpg") as shown:
        assert shown.size == (LONGEST_SIDE, LONGEST_SIDE // 2)


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
