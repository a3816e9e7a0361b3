"""Transforms against torchvision's, and what `get_transform` makes of the options."""

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms as tv
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from data.base_dataset import get_params, get_transform
from tests.support.drawn import drawn_image, options
from util.base.errors import UserError
from util.images import transforms as ours

MODES = [
    *("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "resize", "none"),
    *("scale_shortside", "scale_shortside_and_crop", "crop_and_resize"),
]
SIDES = st.integers(1, 40)
SEEDS = st.integers(0, 2**31)


def pixels(image: Image.Image) -> Any:
    """Return an image's array."""
    return np.asarray(image)


def both(mine: Callable[[Any], Any], theirs: Callable[[Any], Any], seed: int, image: Any) -> None:
    """Both give the same result and leave torch's generator in the same state."""
    torch.manual_seed(seed)
    found = mine(image)
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    wanted = theirs(image)
    assert torch.equal(torch.get_rng_state(), state)
    if isinstance(wanted, Tensor):
        assert found.dtype == wanted.dtype
        assert found.is_contiguous()
        assert torch.equal(found, wanted)
    else:
        assert found.mode == wanted.mode
        assert np.array_equal(pixels(found), pixels(wanted))


@given(width=SIDES, height=SIDES, size=SIDES, seed=SEEDS)
def test_random_crop_is_torchvisions(width: int, height: int, size: int, seed: int) -> None:
    image = drawn_image(width, height, seed)
    if min(width, height) < size:
        with pytest.raises(UserError, match=f"{width}x{height} is too small.*{size}"):
            ours.RandomCrop(size)(image)
        with pytest.raises(ValueError, match="larger than input"):
            tv.RandomCrop(size)(image)
    else:
        both(ours.RandomCrop(size), tv.RandomCrop(size), seed, image)


@given(width=SIDES, height=SIDES, size=SIDES, seed=SEEDS, narrow=st.booleans())
def test_random_resized_crop_is_torchvisions(
    width: int, height: int, size: int, seed: int, narrow: bool
) -> None:
    # Of the second kind hardly any fits, so the middle is taken.
    scale, ratio = ((1.0, 1.0), (5.0, 6.0)) if narrow else ((0.8, 1.0), (0.9, 1.1))
    theirs = tv.RandomResizedCrop([size, size], scale=scale, ratio=ratio)
    mine = ours.RandomResizedCrop(size, scale=scale, ratio=ratio)
    both(mine, theirs, seed, drawn_image(width, height, seed))


def test_a_step_is_taken_as_often_as_it_is_likely() -> None:
    image, flipped = drawn_image(5, 4, 1), 0
    random.seed(0)
    for _ in range(400):
        flipped += ours.Sometimes(0.25, ours.Flip())(image) is not image
    assert 70 < flipped < 130
    assert ours.Sometimes(0.0, ours.Flip())(image) is image


@given(width=SIDES, height=SIDES, mode=st.sampled_from(["RGB", "L"]), seed=SEEDS)
def test_random_flip_is_torchvisions(width: int, height: int, mode: str, seed: int) -> None:
    both(ours.RandomFlip(), tv.RandomHorizontalFlip(), seed, drawn_image(width, height, seed, mode))


@given(width=SIDES, height=SIDES, mode=st.sampled_from(["RGB", "L"]), seed=SEEDS)
def test_tensor_is_torchvisions(width: int, height: int, mode: str, seed: int) -> None:
    half = (0.5,) if mode == "L" else (0.5, 0.5, 0.5)
    theirs = tv.Compose([tv.ToTensor(), tv.Normalize(half, half)])
    image = drawn_image(width, height, seed, mode)
    for mine in (
        ours.Compose([ours.ToTensor(), ours.Normalize()]),
        ours.Compose([ours.ToTensor(), ours.Normalize(half, half)]),
    ):
        both(mine, theirs, seed, image)
    both(ours.ToTensor(), tv.ToTensor(), seed, image)


@given(seed=SEEDS)
def test_normalize_is_torchvisions_for_any_numbers_and_leaves_its_input_alone(seed: int) -> None:
    tensor = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(seed))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    before = tensor.clone()
    both(ours.Normalize(mean, std), tv.Normalize(mean, std), 0, tensor)
    assert torch.equal(tensor, before)


def test_the_last_two_steps_are_torchvisions_by_name() -> None:
    """Plugins take them away, or put their own steps in front of them."""
    transform: Any = get_transform(options("X"))
    assert [type(step).__name__ for step in transform.transforms[-2:]] == ["ToTensor", "Normalize"]
    del transform.transforms[-2:]
    transform.transforms.extend([tv.ToTensor(), tv.Normalize((0.5,) * 3, (0.5,) * 3)])
    both(transform, get_transform(options("X")), 3, drawn_image(12, 12))


@given(width=SIDES, height=SIDES, size=SIDES, mode=st.sampled_from(["RGB", "L"]), seed=SEEDS)
def test_tensors_of_stored_values_are_cut_and_mirrored_as_images_are(
    width: int, height: int, size: int, mode: str, seed: int
) -> None:
    image = drawn_image(width, height, seed, mode)
    steps: list[Any] = [ours.CropAt(2, 1, size), ours.RandomFlip(), ours.ToTensor()]
    if size <= min(width, height):
        steps.insert(0, ours.RandomCrop(size))
    transform = ours.Compose(steps)
    both(lambda given: transform(ours.stored_values(given)), transform, seed, image)
    assert ours.take_tensors(steps)
    assert not ours.take_tensors(steps[:-1])  # an image is wanted
    assert not ours.take_tensors([tv.RandomHorizontalFlip(), *steps])
    assert np.array_equal(pixels(ours.to_pillow(ours.stored_values(image))), pixels(image))


def test_tensor_holds_every_grey_value_as_torchvision_does() -> None:
    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    theirs = tv.Compose([tv.ToTensor(), tv.Normalize((0.5,), (0.5,))])
    both(ours.Compose([ours.ToTensor(), ours.Normalize()]), theirs, 0, image)


@given(width=SIDES, height=SIDES, new_width=SIDES, new_height=SIDES, seed=SEEDS)
def test_bicubic_resize_is_torchvisions(
    width: int, height: int, new_width: int, new_height: int, seed: int
) -> None:
    theirs = tv.Resize([new_height, new_width], tv.InterpolationMode.BICUBIC)
    both(ours.Resize(new_width, new_height), theirs, seed, drawn_image(width, height, seed))


@given(width=SIDES, height=SIDES, seed=SEEDS)
def test_grayscale_is_torchvisions(width: int, height: int, seed: int) -> None:
    both(ours.Grayscale(), tv.Grayscale(1), seed, drawn_image(width, height, seed))


@given(
    width=st.integers(8, 30),
    height=st.integers(8, 30),
    grayscale=st.booleans(),
    no_flip=st.booleans(),
    seed=SEEDS,
)
def test_default_transform_is_what_torchvision_would_do(
    width: int, height: int, grayscale: bool, no_flip: bool, seed: int
) -> None:
    steps: list[Any] = [tv.Grayscale(1)] if grayscale else []
    steps += [tv.Resize([20, 20], tv.InterpolationMode.BICUBIC), tv.RandomCrop(16)]
    steps += [] if no_flip else [tv.RandomHorizontalFlip()]
    half = (0.5,) if grayscale else (0.5, 0.5, 0.5)
    steps += [tv.ToTensor(), tv.Normalize(half, half)]
    opt = options("X", load_size=20, crop_size=16, no_flip=no_flip)
    mine = get_transform(opt, grayscale=grayscale)
    both(mine, tv.Compose(steps), seed, drawn_image(width, height, seed))


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    load_size=st.integers(1, 24),
    crop_size=st.integers(1, 24),
)
def test_scaled_width_keeps_the_aspect_unless_too_low(
    width: int, height: int, load_size: int, crop_size: int
) -> None:
    opt = options("X", preprocess="scale_width", load_size=load_size, crop_size=crop_size)
    result = get_transform(opt, convert=False)(drawn_image(width, height))
    wanted_height = max(load_size * height // width, crop_size)
    untouched = width == load_size and height >= crop_size
    assert result.size == (load_size, height if untouched else wanted_height)


@given(width=st.integers(1, 60), height=st.integers(1, 60), load_size=st.integers(1, 24))
def test_scaled_shorter_side_is_load_size_and_keeps_the_aspect(
    width: int, height: int, load_size: int
) -> None:
    opt = options("X", preprocess="scale_shortside", load_size=load_size, crop_size=30)
    result = get_transform(opt, convert=False)(drawn_image(width, height))
    assert min(result.size) == load_size
    longer = max(width, height) * load_size / min(width, height)
    assert abs(max(result.size) - longer) <= 0.5
    assert (result.width > result.height) <= (width > height)


@pytest.mark.parametrize("size", [(30, 60), (60, 30), (10, 25)])
def test_of_a_scaled_shorter_side_squares_are_cut_from_all_of_the_image(
    size: tuple[int, int],
) -> None:
    opt = options("X", preprocess="scale_shortside_and_crop", load_size=20, crop_size=20)
    places = [get_params(opt, size)["crop_pos"] for _ in range(300)]
    longest = round(20 * max(size) / min(size)) - 20
    assert {min(place) for place in places} == {0}
    assert {max(place) for place in places} >= {0, longest}
    assert max(map(max, places)) == longest
    assert get_transform(opt)(drawn_image(*size)).shape == (3, 20, 20)


@given(width=st.integers(3, 60), height=st.integers(3, 60))
def test_without_preprocessing_sides_become_multiples_of_four(width: int, height: int) -> None:
    image = drawn_image(width, height)
    result = get_transform(options("X", preprocess="none", no_flip=True), convert=False)(image)
    for before, after in zip(image.size, result.size, strict=True):
        assert after % 4 == 0
        assert abs(after - before) <= 2
    if width % 4 == height % 4 == 0:
        assert result is image


def test_rounding_is_noted_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ours, "_rounding_noted", False)
    transform = get_transform(options("X", preprocess="none"))
    for _ in range(3):
        transform(drawn_image(37, 53))
    said = capsys.readouterr().out
    assert said.count("multiple of 4") == 1
    assert "37x53" in said
    assert "36x52" in said


# ---- with given parameters ----------------------------------------------------------------


@given(
    width=st.integers(12, 30),
    height=st.integers(12, 30),
    x=st.integers(0, 40),
    y=st.integers(0, 40),
    flip=st.booleans(),
)
def test_given_crop_is_cut_there_and_black_outside(
    width: int, height: int, x: int, y: int, flip: bool
) -> None:
    opt = options("X", preprocess="crop", crop_size=10)
    image = drawn_image(width, height)
    result = get_transform(opt, {"crop_pos": (x, y), "flip": flip}, convert=False)(image)
    padded = np.zeros((60, 60, 3), dtype=np.uint8)
    padded[:height, :width] = pixels(image)
    wanted = padded[y : y + 10, x : x + 10]
    assert np.array_equal(pixels(result), wanted[:, ::-1] if flip else wanted)


def test_given_parameters_draw_nothing() -> None:
    transform = get_transform(options("X"), {"crop_pos": (1, 2), "flip": True})
    before, python = torch.get_rng_state(), random.getstate()
    first = transform(drawn_image(20, 20))
    assert torch.equal(first, transform(drawn_image(20, 20)))
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python


def test_no_flip_wins_over_a_given_flip() -> None:
    opt = options("X", preprocess="crop", crop_size=8, no_flip=True)
    image = drawn_image(8, 8)
    result = get_transform(opt, {"crop_pos": (0, 0), "flip": True}, convert=False)(image)
    assert np.array_equal(pixels(result), pixels(image))


@pytest.mark.parametrize("no_flip", [False, True])
@pytest.mark.parametrize("mode", MODES)
@given(width=st.integers(1, 50), height=st.integers(1, 50), seed=SEEDS)
def test_params_always_draw_three_times(
    mode: str, no_flip: bool, width: int, height: int, seed: int
) -> None:
    opt = options("X", preprocess=mode, no_flip=no_flip, load_size=20, crop_size=16)
    random.seed(seed)
    params = get_params(opt, (width, height))
    after = random.getstate()

    if mode in ("resize_and_crop", "crop_and_resize"):
        width = height = 20
    elif mode == "scale_width_and_crop":
        width, height = 20, 20 * height // width
    elif mode == "scale_shortside_and_crop":
        width, height = (round(side * 20 / min(width, height)) for side in (width, height))
    random.seed(seed)
    x = random.randint(0, max(0, width - 16))
    y = random.randint(0, max(0, height - 16))
    flip = random.random() > 0.5
    assert params == {"crop_pos": (x, y), "flip": flip}
    assert random.getstate() == after


# ---- objects ------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [True, False])
@pytest.mark.parametrize("params", [None, {"crop_pos": (1, 2), "flip": True}], ids=["drawn", "set"])
@pytest.mark.parametrize("mode", MODES)
def test_transforms_survive_pickling(mode: str, params: Any, convert: bool) -> None:
    transform = get_transform(options("X", preprocess=mode), params, True, convert=convert)
    twin = pickle.loads(pickle.dumps(transform))
    both(transform, twin, 3, drawn_image(13, 17))


@pytest.mark.parametrize("method", [Image.Resampling.NEAREST, tv.InterpolationMode.NEAREST])
def test_resampling_is_pillows_or_torchvisions_constant(method: Any) -> None:
    opt = options("X", preprocess="resize", load_size=5, no_flip=True)
    found = get_transform(opt, method=method, convert=False)(drawn_image(11, 11))
    assert np.array_equal(pixels(found), pixels(drawn_image(11, 11).resize((5, 5), 0)))


def test_transform_reads_only_the_fields_of_the_reference() -> None:
    class Bare:
        """Carries what the reference's transforms read, and no more."""

        __slots__ = ("crop_size", "load_size", "no_flip", "preprocess")

    opt: Any = Bare()
    opt.preprocess, opt.load_size, opt.crop_size, opt.no_flip = "resize_and_crop", 10, 8, False
    params = get_params(opt, (9, 9))
    assert get_transform(opt, params)(drawn_image(9, 9)).shape == (3, 8, 8)
    assert get_transform(opt)(drawn_image(9, 9)).shape == (3, 8, 8)


@pytest.mark.parametrize("mode", ["resize", "my_scale_width", "crop_me", "scale_width_and_crop"])
def test_preprocess_may_be_any_text_with_the_known_parts(mode: str) -> None:
    result = get_transform(options("X", preprocess=mode), convert=False)(drawn_image(20, 30))
    wanted = {
        "resize": (10, 10),
        "my_scale_width": (10, 15),
        "crop_me": (8, 8),
        "scale_width_and_crop": (8, 8),
    }
    assert result.size == wanted[mode]


def test_transform_takes_part_in_torchvisions_compose() -> None:
    mine = get_transform(options("X", preprocess="none", no_flip=True), convert=False)
    transform = tv.Compose([mine, tv.ToTensor()])
    assert transform(drawn_image(8, 8)).shape == (3, 8, 8)
