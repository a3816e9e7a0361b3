"""Changes of images at random: off, they draw nothing; on, both images of a pair turn alike."""

import random
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from data import find_dataset_using_name
from data.pipeline.jitter import Jitter
from tests.support.drawn import draw, drawn_image, options
from util.base import rng
from util.base.errors import UserError
from util.images import transforms as T
from util.images.pixels import stored_values

pytestmark = pytest.mark.usefixtures("own_randomness")
TURNS: dict[str, Any] = {"vertical_flip": True, "rotate90": True}
JITTER = {"jitter": "0.4,0.4,0.4,0.2"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with pairs of equal images, and of two domains."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("0.png", "1.png"):
        image, both = drawn_image(12, 12, 3), Image.new("RGB", (24, 12))
        both.paste(image, (0, 0))
        both.paste(image, (12, 0))
        (folder / "train").mkdir(exist_ok=True)
        both.save(folder / "train" / name)
    draw(folder / "trainA", ["0.png", "1.png"], 12, 12)
    draw(folder / "trainB", ["0.png", "1.png"], 12, 12)
    return folder


def items(opt: Namespace, count: int = 24, seed: int = 1) -> list[dict[str, Any]]:
    """Return the first item again and again."""
    dataset = find_dataset_using_name(opt.dataset_mode)(opt)
    rng.seed_all(seed)
    return [dataset[0] for _ in range(count)]


def looks_of(images: list[Tensor]) -> int:
    """Count the different ones."""
    return len({image.numpy().tobytes() for image in images})


@pytest.mark.parametrize("mode", ["aligned", "unaligned", "single"])
def test_images_turn_in_all_eight_ways_and_pairs_alike(mode: str, root: Path) -> None:
    where = root / "trainA" if mode == "single" else root
    whole = {"preprocess": "none", "dataset_mode": mode}
    found = items(options(where, **whole, **TURNS), 80)
    assert looks_of([item["A"] for item in found]) == 8
    if mode == "aligned":
        assert all(torch.equal(item["A"], item["B"]) for item in found)
    if mode == "unaligned":
        assert looks_of([torch.cat([item["A"], item["B"]]) for item in found]) > 16


@pytest.mark.parametrize("mode", ["aligned", "unaligned"])
def test_nothing_is_drawn_for_what_is_off_or_not_training(mode: str, root: Path) -> None:
    def after(**more: object) -> tuple[list[Tensor], Any, Tensor]:
        found = items(options(root, dataset_mode=mode, **more), 4)
        return [item["A"] for item in found], random.getstate(), torch.get_rng_state()

    images, python, by_torch = after()
    for more in ({**TURNS, **JITTER, "isTrain": False}, {"jitter_both": True}):
        same, python_too, torch_too = after(**more)
        assert python_too == python
        assert torch.equal(torch_too, by_torch)
        assert all(map(torch.equal, same, images))


def test_crops_and_flips_of_a_pair_stay_when_colours_are_changed(root: Path) -> None:
    plain = items(options(root, dataset_mode="aligned"))
    changed = items(options(root, dataset_mode="aligned", **JITTER))
    assert all(torch.equal(a["B"], b["B"]) for a, b in zip(plain, changed, strict=True))
    assert not any(torch.equal(a["A"], b["A"]) for a, b in zip(plain, changed, strict=True))


@pytest.mark.parametrize(
    ("more", "changed"),
    [({}, "A"), ({"direction": "BtoA"}, "B"), ({"jitter_both": True}, "AB")],
)
def test_colours_change_of_what_goes_in_or_of_both_alike(
    more: dict[str, Any], changed: str, root: Path
) -> None:
    (plain,) = items(options(root, dataset_mode="aligned"), 1)
    (item,) = items(options(root, dataset_mode="aligned", **JITTER, **more), 1)
    assert [side for side in "AB" if not torch.equal(item[side], plain[side])] == [*changed]
    assert torch.equal(item["A"], item["B"]) == (changed == "AB")
    for side in "AB":
        assert item[side].abs().max() <= 1 + 1e-6


def test_brightness_is_that_of_pillow_within_a_level() -> None:
    from PIL import ImageEnhance

    image = drawn_image(16, 16, 5)
    jitter = Jitter.of(options("X", jitter="0.5,0,0,0"))
    torch.manual_seed(3)
    changed = jitter(T.Normalize()(T.ToTensor()(image)))
    torch.manual_seed(3)
    torch.randperm(4)  # the order of the four
    factor = float(torch.empty(1).uniform_(0.5, 1.5))
    wanted = np.asarray(ImageEnhance.Brightness(image).enhance(factor)).transpose(2, 0, 1)
    assert np.abs((changed.numpy() + 1) * 127.5 - wanted).max() <= 1


def test_gray_images_get_another_brightness_and_contrast(root: Path) -> None:
    opt = options(root, dataset_mode="aligned", jitter="0.5,0.5,0,0", input_nc=1)
    found = items(opt)
    assert found[0]["A"].shape[0] == 1
    assert looks_of([item["A"] for item in found]) == len(found)


def test_colorization_keeps_colours_as_they_are(root: Path) -> None:
    opt = options(root, dataset_mode="colorization", input_nc=1, output_nc=2, **JITTER)
    with pytest.raises(UserError, match="cannot be used for colorization"):
        items(opt)


@pytest.mark.parametrize("quarters", range(4))
def test_turns_are_the_same_for_images_and_tensors(quarters: int) -> None:
    image = drawn_image(5, 3, 1)
    for step in (T.Turn(quarters), T.VerticalFlip()):
        turned = step(stored_values(image))
        assert isinstance(turned, Tensor)
        assert torch.equal(stored_values(step(image)), turned)
