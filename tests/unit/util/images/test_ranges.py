"""Between stored values, the unit range and [-1, 1]: exact, and the same in every place."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from util.images.ranges import (
    MEAN,
    ONE_LEVEL,
    STD,
    from_unit,
    in_unit_range,
    shown,
    storable,
    tensor2im,
    three_channels,
    to_network,
    to_unit,
)
from util.images.writing import as_pillow

LEVELS = torch.arange(256, dtype=torch.uint8)


def test_every_stored_value_comes_to_the_networks_by_one_way_or_by_two() -> None:
    assert torch.equal(to_network(LEVELS), LEVELS.float().div(255).sub(0.5).div(0.5))
    assert torch.equal(to_network(LEVELS), (to_unit(LEVELS) - MEAN) / STD)
    assert to_network(LEVELS).diff().min() == pytest.approx(ONE_LEVEL, rel=1e-4)


def test_every_stored_value_comes_back_from_the_networks() -> None:
    back = tensor2im(to_network(LEVELS).view(1, 1, 16, 16))[..., 0]
    lost = LEVELS.view(16, 16).numpy() - back
    assert set(lost.flatten().tolist()) <= {0, 1}  # truncated, as in the reference
    assert torch.equal(from_unit(to_unit(LEVELS)), LEVELS)


def test_floating_point_values_are_taken_as_they_are() -> None:
    values = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    assert to_unit(values) is values
    assert to_network(values).tolist() == [-1, -0.5, 1]
    assert to_network(values).dtype == torch.float64


def test_types_of_which_nobody_knows_what_is_white_are_refused() -> None:
    for change in (to_unit, to_network):
        with pytest.raises(TypeError, match="which values of torch.int32 are black and white"):
            change(LEVELS.int())


def test_the_unit_range_is_cut_off_and_float32() -> None:
    found = in_unit_range(torch.tensor([-3.0, -1, 0, 1, 2], dtype=torch.float64))
    assert found.tolist() == [0, 0, 0.5, 1, 1]
    assert found.dtype == torch.float32


# ---- what is shown of n channels ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "wanted"),
    [(1, [1, 1, 1]), (2, [1, 2, 0]), (3, [1, 2, 3]), (4, [1, 2, 3]), (9, [1, 2, 3])],
)
def test_three_channels_are_shown_of_any_number(channels: int, wanted: list[int]) -> None:
    image = torch.arange(1, channels + 1).view(1, channels, 1, 1).expand(2, channels, 4, 5)
    found = three_channels(image)
    assert found.shape == (2, 3, 4, 5)
    assert found[1, :, 2, 3].tolist() == wanted
    array = image[0].permute(1, 2, 0).numpy()
    assert np.array_equal(shown(array), found[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("channels", "stored"), [(1, ()), (2, (3,)), (3, (3,)), (4, (4,)), (5, (3,)), (9, (3,))]
)
def test_a_file_holds_an_image_of_any_number_of_channels(
    channels: int, stored: tuple[int, ...]
) -> None:
    image = np.arange(20 * channels, dtype=np.uint8).reshape(4, 5, channels)
    found = storable(image)
    assert found.shape == (4, 5, *stored)
    seen = min(channels, 3)
    assert np.array_equal(np.atleast_3d(found)[:, :, :seen], image[:, :, :seen])
    assert as_pillow(image).size == (5, 4)


def test_grey_arrays_need_no_channel() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert np.array_equal(shown(array)[:, :, 2], array)


# ---- tensor2im ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "grey"), [(-1.0, 0), (1.0, 255), (0.0, 127), (-0.5, 63), (0.999, 254)]
)
def test_the_range_is_mapped_to_bytes_by_truncation(value: float, grey: int) -> None:
    assert (tensor2im(torch.full((1, 3, 1, 1), value)) == grey).all()


@given(values=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=10))
def test_every_value_becomes_the_byte_below_it(values: list[float]) -> None:
    out = tensor2im(torch.tensor(values).view(1, 1, 1, -1))
    assert out.dtype == np.uint8
    exact = (np.array(values, dtype=np.float32) + 1) / 2 * 255
    assert np.array_equal(out[0, :, 0], np.floor(exact))


def test_the_first_image_of_a_batch_is_taken_with_channels_last() -> None:
    batch = torch.rand(2, 3, 4, 5) * 2 - 1
    out = tensor2im(batch)
    assert out.shape == (4, 5, 3)
    assert np.array_equal(out, tensor2im(batch[:1]))
    assert np.array_equal(out[..., 1], tensor2im(batch[:1, 1:2])[..., 0])


def test_one_channel_becomes_three_equal_ones() -> None:
    out = tensor2im(torch.rand(1, 1, 4, 5))
    assert out.shape == (4, 5, 3)
    assert np.array_equal(out[..., 0], out[..., 2])


def test_two_channels_stay_two() -> None:
    assert tensor2im(torch.zeros(1, 2, 4, 5)).shape == (4, 5, 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_tensor_in_training_of_any_precision_can_be_shown(dtype: torch.dtype) -> None:
    image = torch.zeros(1, 3, 2, 2, dtype=dtype, requires_grad=True) * 2
    assert (tensor2im(image) == 127).all()
    assert image.requires_grad


def test_another_type_can_be_asked_for() -> None:
    out = tensor2im(torch.zeros(1, 3, 2, 2), np.float32)
    assert out.dtype == np.float32
    assert (out == 127.5).all()


def test_arrays_are_only_converted() -> None:
    array = np.array([[[0.0, 127.9, 255.0]]])
    assert tensor2im(array).tolist() == [[[0, 127, 255]]]


@pytest.mark.parametrize("other", ["text", None, [1, 2]])
def test_anything_else_is_handed_back(other: object) -> None:
    assert tensor2im(other) is other
