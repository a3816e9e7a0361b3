"""sRGB and CIE L*a*b*."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from util.images.color import lab2rgb, rgb2lab

# L*a*b* for D65 and the 2 degree observer, as published by Bruce Lindbloom's CIE colour calculator
# and in the usual conversion tables.
PUBLISHED = {
    "white": ((255, 255, 255), (100.0, 0.0, 0.0)),
    "black": ((0, 0, 0), (0.0, 0.0, 0.0)),
    "grey": ((128, 128, 128), (53.585, 0.0, 0.0)),
    "red": ((255, 0, 0), (53.241, 80.092, 67.203)),
    "green": ((0, 255, 0), (87.735, -86.183, 83.179)),
    "blue": ((0, 0, 255), (32.297, 79.188, -107.860)),
    "yellow": ((255, 255, 0), (97.139, -21.554, 94.478)),
    "cyan": ((0, 255, 255), (91.113, -48.088, -14.131)),
    "magenta": ((255, 0, 255), (60.324, 98.234, -60.825)),
}


@pytest.mark.parametrize(("rgb", "lab"), PUBLISHED.values(), ids=PUBLISHED)
def test_known_colours_have_their_published_coordinates(
    rgb: tuple[int, int, int], lab: tuple[float, float, float]
) -> None:
    assert rgb2lab(np.array(rgb, dtype=np.uint8)) == pytest.approx(lab, abs=0.01)


@pytest.mark.parametrize(("rgb", "lab"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_coordinates_give_the_known_colours(
    rgb: tuple[int, int, int], lab: tuple[float, float, float]
) -> None:
    assert 255 * lab2rgb(np.array(lab)) == pytest.approx(rgb, abs=0.1)


def images(elements: st.SearchStrategy[float]) -> st.SearchStrategy[NDArray[np.float64]]:
    shapes = st.lists(st.integers(1, 4), max_size=2).map(lambda shape: (*shape, 3))
    return npst.arrays(np.float64, shapes, elements=elements)


@given(rgb=images(st.floats(0, 1)))
def test_there_and_back_gives_the_same_colours(rgb: NDArray[np.float64]) -> None:
    assert lab2rgb(rgb2lab(rgb)) == pytest.approx(rgb, abs=1e-4)


def test_every_grey_level_and_a_grid_of_colours_survive_as_bytes() -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    for rgb in (greys, grid):
        assert np.array_equal(np.rint(255 * lab2rgb(rgb2lab(rgb))), rgb)


@given(rgb=images(st.floats(0, 1)))
def test_values_stay_in_the_range_that_the_colorization_model_scales_by(
    rgb: NDArray[np.float64],
) -> None:
    lab = rgb2lab(rgb)
    assert lab[..., 0].min() >= -1e-9
    assert lab[..., 0].max() <= 100 + 1e-9
    assert np.abs(lab[..., 1:]).max() <= 110


@given(lab=images(st.floats(-200, 200)))
def test_any_lab_gives_a_displayable_colour(lab: NDArray[np.float64]) -> None:
    rgb = lab2rgb(lab)
    assert rgb.shape == lab.shape
    assert np.isfinite(rgb).all()
    assert rgb.min() >= 0
    assert rgb.max() <= 1


@pytest.mark.parametrize("shape", [(3,), (5, 3), (4, 6, 3), (2, 4, 6, 3)])
def test_the_last_axis_is_the_colour_whatever_stands_before(shape: tuple[int, ...]) -> None:
    rgb = np.random.default_rng(0).random(shape)
    lab = rgb2lab(rgb)
    assert lab.shape == shape
    assert lab2rgb(lab).shape == shape
    for index in np.ndindex(shape[:-1]):
        assert lab[index] == pytest.approx(rgb2lab(rgb[index]))
        assert lab2rgb(lab)[index] == pytest.approx(lab2rgb(lab[index]))


def test_bytes_and_fractions_mean_the_same_colour() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(rgb2lab(rgb), rgb2lab(rgb / 255))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_the_result_is_float64_and_the_input_is_left_alone(dtype: type) -> None:
    rgb: NDArray[Any] = np.ones((2, 2, 3), dtype)
    before = rgb.copy()
    assert rgb2lab(rgb).dtype == np.float64
    assert lab2rgb(rgb).dtype == np.float64
    assert np.array_equal(rgb, before)
