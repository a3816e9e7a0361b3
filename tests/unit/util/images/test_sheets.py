"""Many images in one, in labelled rows and columns."""

import numpy as np
import pytest
import torch
from torch import Tensor

from util.images.sheets import GAP, sheet


def plain(level: float, side: int = 20) -> Tensor:
    return torch.full((3, side, side), level)


def test_images_stand_in_their_rows_and_columns() -> None:
    made = sheet([[plain(-1), plain(0)], [None, plain(3)]])
    assert made.dtype == np.uint8
    assert made.shape == (2 * 20 + GAP, 2 * 20 + GAP, 3)
    assert (made[:20, :20] == 0).all()
    assert (made[:20, 22:] == 127).all()
    assert (made[22:, :20] == 255).all()  # an empty place is white
    assert (made[22:, 22:] == 255).all()  # values above 1 are white, not wrapped around
    assert (made[20:22] == 255).all()


def test_labels_stand_at_the_left_and_above_and_cover_no_image() -> None:
    cells = [[plain(-1, 64), plain(-1, 64)], [plain(-1, 64), plain(-1, 64)]]
    made = sheet(cells, rows=["cat", "a dog"], columns=["one", "a name that is too long for it"])
    bare = sheet(cells)
    top, left = made.shape[0] - bare.shape[0], made.shape[1] - bare.shape[1]
    assert top > 10
    assert left > 20
    assert (made[top:, left:] == bare).all()
    assert (made[:top] < 128).any()
    assert (made[top:, :left] < 128).any()
    # The long name stays above its own column.
    gap = made[:top, left + 64 : left + 64 + GAP]
    assert (gap > 200).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels_can_be_shown(channels: int) -> None:
    assert sheet([[torch.zeros(channels, 12, 12)]]).shape == (12, 12, 3)
