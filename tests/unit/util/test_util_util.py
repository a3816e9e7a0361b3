"""Small helpers: images, folders, statistics."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from util import util
from util.util import diagnose_network, mkdir, mkdirs, print_numpy, save_image, tensor2im

Say = Callable[[], list[str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    """Return a function that gives the lines printed so far."""
    return lambda: capsys.readouterr().out.splitlines()


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


# ---- save_image --------------------------------------------------------------------------------


def drawn_image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("ratio", "width", "height"), [(1.0, 40, 24), (1.5, 60, 24), (0.5, 40, 48), (2.0, 80, 24)]
)
def test_an_aspect_ratio_above_1_widens_and_one_below_1_heightens(
    tmp_path: Path, ratio: float, width: int, height: int
) -> None:
    save_image(drawn_image(24, 40), tmp_path / "a.png", ratio)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (width, height)


def test_without_a_ratio_the_pixels_are_saved_as_they_are(tmp_path: Path) -> None:
    save_image(drawn_image(5, 7), str(tmp_path / "a.png"))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), drawn_image(5, 7))


@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    ratio=st.floats(0.3, 3).filter(lambda ratio: ratio != 1),
)
def test_the_sides_change_their_ratio_by_the_factor(
    height: int, width: int, ratio: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "ratio.png"
    save_image(np.zeros((height, width, 3), np.uint8), path, ratio)
    with Image.open(path) as image:
        new_width, new_height = image.size
    assert new_width >= width
    assert new_height >= height
    assert (new_width == width) or (new_height == height)
    stretched = max(new_width / width, new_height / height)
    rounding = 1 / (width if ratio > 1 else height)
    assert max(ratio, 1 / ratio) - rounding <= stretched <= max(ratio, 1 / ratio) + 1e-9


# ---- statistics --------------------------------------------------------------------------------


def test_diagnose_network_prints_the_mean_absolute_gradient(said: Say) -> None:
    net = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1))
    for parameter, value in zip(net.parameters(), (1.0, -2.0, 3.0, -6.0), strict=True):
        parameter.grad = torch.full_like(parameter, value)
    diagnose_network(net, "my net")
    assert said() == ["my net", "3.0"]  # of the parameters' means, not of all numbers


def test_diagnose_network_passes_over_frozen_parameters(said: Say) -> None:
    net = nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    net(torch.tensor([[3.0, -5.0]])).sum().backward()
    diagnose_network(net)
    assert said() == ["network", "4.0"]


def test_diagnose_network_before_the_first_backward_pass_prints_0(said: Say) -> None:
    diagnose_network(nn.Linear(2, 1))
    assert said() == ["network", "0.0"]


def test_print_numpy_prints_the_statistics(said: Say) -> None:
    print_numpy(np.array([[1, 2], [3, 10]], dtype=np.uint8))
    assert said() == ["mean = 4.000, min = 1.000, max = 10.000, median = 2.500, std=3.536"]


def test_print_numpy_prints_what_is_asked_for(said: Say) -> None:
    array = np.zeros((2, 3))
    print_numpy(array, val=False, shp=True)
    assert said() == ["shape, (2, 3)"]
    print_numpy(array, True, True)
    assert [re.split("[,=]", line)[0].strip() for line in said()] == ["shape", "mean"]
    print_numpy(array, False)
    assert said() == []


# ---- folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [mkdir, mkdirs])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_is_made_with_its_parents_and_may_exist(
    tmp_path: Path, make: Callable[[object], None], kind: Callable[[Path], object]
) -> None:
    path = tmp_path / "a" / "b"
    make(kind(path))
    (path / "file").touch()
    make(kind(path))
    assert (path / "file").exists()


@pytest.mark.parametrize("collect", [list, tuple, iter])
def test_several_folders_are_made_at_once(
    tmp_path: Path, collect: Callable[[list[object]], object]
) -> None:
    mkdirs(collect([str(tmp_path / "a"), tmp_path / "b"]))  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(FileExistsError):
        util.mkdirs(tmp_path / "a")
