"""What each built-in data set makes of a folder."""

import random
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from torch import Tensor

from data import find_dataset_using_name
from data.base_dataset import BaseDataset
from tests.support.drawn import draw, drawn_image, options
from util.base.errors import UserError
from util.images.color import rgb2lab

pytestmark = pytest.mark.usefixtures("own_randomness")
IN_FOLDER = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def dataset(mode: str, root: Path, **changes: object) -> Any:
    """Open a data set."""
    return find_dataset_using_name(mode)(options(root, dataset_mode=mode, **changes))


def as_bytes(tensor: Tensor) -> Any:
    """Return (H, W, C) values from 0 to 255."""
    return torch.round((tensor + 1) * 127.5).to(torch.uint8).permute(1, 2, 0).numpy()


# ---- aligned ------------------------------------------------------------------------------


@IN_FOLDER
@given(half=st.integers(4, 12), odd=st.booleans(), height=st.integers(4, 12))
def test_pair_is_split_in_the_middle_and_b_takes_the_odd_column(
    half: int, odd: bool, height: int, tmp_path: Path
) -> None:
    width = 2 * half + odd
    draw(tmp_path / "train", ["a.png"], width, height)
    pixels = np.asarray(drawn_image(width, height, 0))
    side = max(half, height) + 1  # larger than both halves: nothing is cut
    data = dataset("aligned", tmp_path, preprocess="crop", crop_size=side, no_flip=True)
    item = data[0]
    assert np.array_equal(as_bytes(item["A"]), pixels[:, :half])
    assert np.array_equal(as_bytes(item["B"]), pixels[:, half:])
    assert item["A_paths"] == item["B_paths"] == str(tmp_path / "train" / "a.png")


@IN_FOLDER
@given(
    seed=st.integers(0, 2**31),
    preprocess=st.sampled_from(
        ["resize_and_crop", "crop", "scale_width_and_crop", "scale_shortside_and_crop"]
    ),
)
def test_both_halves_are_cropped_and_flipped_alike(
    seed: int, preprocess: str, tmp_path: Path
) -> None:
    (tmp_path / "train").mkdir(exist_ok=True)
    half = np.asarray(drawn_image(20, 20))
    Image.fromarray(np.hstack([half, half])).save(tmp_path / "train" / "a.png")
    data = dataset("aligned", tmp_path, preprocess=preprocess, load_size=16)
    random.seed(seed)
    item = data[0]
    assert item["A"].shape == (3, 8, 8)
    assert torch.equal(item["A"], item["B"])


@pytest.mark.parametrize(("direction", "channels"), [("AtoB", (1, 3)), ("BtoA", (3, 1))])
def test_direction_swaps_the_channels_of_the_sides(
    direction: str, channels: tuple[int, int], tmp_path: Path
) -> None:
    for phase in ("train", "trainA", "trainB"):
        draw(tmp_path / phase, ["a.png"], 20, 10)
    for mode in ("aligned", "unaligned"):
        data = dataset(mode, tmp_path, direction=direction, input_nc=1, output_nc=3)
        item = data[0]
        assert (item["A"].shape[0], item["B"].shape[0]) == channels, mode


def test_odd_pairs_with_scaled_width_come_out_as_in_the_reference(tmp_path: Path) -> None:
    """Each half keeps its own aspect: the odd column makes B a line lower."""
    draw(tmp_path / "train", ["a.png"], 37, 53)
    data = dataset("aligned", tmp_path, preprocess="scale_width", load_size=18, crop_size=8)
    item = data[0]
    assert item["A"].shape == (3, 53, 18)
    assert item["B"].shape == (3, int(18 * 53 / 19), 18)


@pytest.mark.parametrize(
    "preprocess", ["resize_and_crop", "scale_width_and_crop", "scale_shortside_and_crop"]
)
def test_crop_larger_than_the_resized_pair_is_refused(preprocess: str, tmp_path: Path) -> None:
    draw(tmp_path / "train", ["a.png"])
    with pytest.raises(UserError, match="--crop_size 32 is larger than --load_size 16"):
        dataset("aligned", tmp_path, preprocess=preprocess, load_size=16, crop_size=32)


def test_crop_size_does_not_matter_where_nothing_is_cropped(tmp_path: Path) -> None:
    draw(tmp_path / "train", ["a.png"], 16, 8)
    for preprocess in ("none", "resize"):
        data = dataset("aligned", tmp_path, preprocess=preprocess, load_size=16, crop_size=32)
        assert data[0]["A"].shape[0] == 3


# ---- unaligned ----------------------------------------------------------------------------


@pytest.fixture
def unpaired(tmp_path: Path) -> Path:
    draw(tmp_path / "trainA", ["a0.png", "a1.png", "a2.png"])
    draw(tmp_path / "trainB", ["b0.png", "b1.png", "b2.png", "b3.png", "b4.png"])
    return tmp_path


def names(item: dict[str, Any]) -> tuple[str, str]:
    """Return the names of both images."""
    return Path(item["A_paths"]).stem, Path(item["B_paths"]).stem


def test_larger_side_decides_the_length(unpaired: Path) -> None:
    assert len(dataset("unaligned", unpaired)) == 5
    assert len(dataset("unaligned", unpaired, max_dataset_size=4)) == 4
    data = dataset("unaligned", unpaired, max_dataset_size=2)
    assert (data.A_size, data.B_size) == (2, 2)


def test_serial_pairs_go_round_both_sides(unpaired: Path) -> None:
    data = dataset("unaligned", unpaired, serial_batches=True)
    found = [names(data[index]) for index in range(5)]
    assert found == [("a0", "b0"), ("a1", "b1"), ("a2", "b2"), ("a0", "b3"), ("a1", "b4")]


def test_random_pairs_take_b_from_pythons_generator(unpaired: Path) -> None:
    data = dataset("unaligned", unpaired)
    random.seed(8)
    found = [names(data[index]) for index in range(5)]
    random.seed(8)
    wanted = [(f"a{index % 3}", f"b{random.randint(0, 4)}") for index in range(5)]
    assert found == wanted
    assert len({b for _, b in found}) > 1


def test_sides_are_transformed_independently(tmp_path: Path) -> None:
    for side in ("trainA", "trainB"):
        draw(tmp_path / side, ["a.png"], 32, 32)
    data = dataset("unaligned", tmp_path, preprocess="crop")
    torch.manual_seed(0)
    assert any(not torch.equal(item["A"], item["B"]) for item in (data[0] for _ in range(3)))


# ---- single -------------------------------------------------------------------------------


def test_single_reads_the_folder_itself_and_has_no_b(tmp_path: Path) -> None:
    paths = draw(tmp_path, ["b.png", "sub/a.png"])
    data = dataset("single", tmp_path)
    assert [data[index]["A_paths"] for index in range(2)] == paths
    assert list(data[0]) == ["A", "A_paths"]


@pytest.mark.parametrize(("direction", "channels"), [("AtoB", 1), ("BtoA", 3)])
def test_single_takes_the_channels_of_the_side_it_reads(
    direction: str, channels: int, tmp_path: Path
) -> None:
    draw(tmp_path, ["a.png"])
    data = dataset("single", tmp_path, direction=direction, input_nc=1, output_nc=3)
    assert data[0]["A"].shape == (channels, 8, 8)


# ---- colorization -------------------------------------------------------------------------

LAB = {"input_nc": 1, "output_nc": 2}


def test_colorization_splits_into_lightness_and_colour(tmp_path: Path) -> None:
    draw(tmp_path / "train", ["a.png"], 12, 8)
    item = dataset("colorization", tmp_path, preprocess="none", no_flip=True, **LAB)[0]
    lab = rgb2lab(np.asarray(drawn_image(12, 8, 0)))
    assert item["A"].dtype == item["B"].dtype == torch.float32
    np.testing.assert_allclose(item["A"][0].numpy(), lab[..., 0] / 50 - 1, atol=1e-5)
    np.testing.assert_allclose(item["B"].permute(1, 2, 0).numpy(), lab[..., 1:] / 110, atol=1e-5)
    assert item["A_paths"] == item["B_paths"] == str(tmp_path / "train" / "a.png")


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({"input_nc": 3, "output_nc": 2}, "3, 2, AtoB"),
        ({"input_nc": 1, "output_nc": 3}, "1, 3, AtoB"),
        ({**LAB, "direction": "BtoA"}, "1, 2, BtoA"),
    ],
)
def test_colorization_with_other_channels_is_refused(
    changes: dict[str, object], given: str, tmp_path: Path
) -> None:
    draw(tmp_path / "train", ["a.png"])
    with pytest.raises(UserError, match=f"--input_nc 1 --output_nc 2.*{given}"):
        dataset("colorization", tmp_path, **changes)


def test_colorization_sets_its_channels() -> None:
    parser = ArgumentParser()
    find_dataset_using_name("colorization").modify_commandline_options(parser, True)
    defaults = {name: parser.get_default(name) for name in ("input_nc", "output_nc", "direction")}
    assert defaults == {"input_nc": 1, "output_nc": 2, "direction": "AtoB"}


# ---- template -----------------------------------------------------------------------------


def test_template_blurs_a_and_crops_both_alike(tmp_path: Path) -> None:
    draw(tmp_path / "train", ["a.png"], 40, 40)
    data = dataset(
        "template", tmp_path, preprocess="crop", crop_size=48, no_flip=True, new_dataset_option=2.0
    )
    item = data[0]
    blurred = drawn_image(40, 40, 0).filter(ImageFilter.GaussianBlur(2.0))
    assert np.array_equal(as_bytes(item["B"]), np.asarray(drawn_image(40, 40, 0)))
    assert np.array_equal(as_bytes(item["A"]), np.asarray(blurred))


def test_template_adds_its_option_and_changes_a_default() -> None:
    parser = ArgumentParser()
    parser.add_argument("--max_dataset_size", default=float("inf"))
    find_dataset_using_name("template").modify_commandline_options(parser, True)
    opt = parser.parse_args([])
    assert opt.new_dataset_option == 2.0
    assert opt.max_dataset_size == 10


# ---- folders ------------------------------------------------------------------------------

FOLDERS = {
    "aligned": ["train"],
    "colorization": ["train"],
    "template": ["train"],
    "unaligned": ["trainA", "trainB"],
    "single": ["."],
}
CASES = [(mode, folder) for mode, folders in FOLDERS.items() for folder in folders]


def open_for_training(mode: str, root: Path, **changes: object) -> Any:
    """Open a data set with the channels it needs."""
    channels = LAB if mode == "colorization" else {}
    return dataset(mode, root, **channels, new_dataset_option=1.0, **changes)


@pytest.mark.parametrize(("mode", "folder"), CASES)
def test_missing_folder_is_named(mode: str, folder: str, tmp_path: Path) -> None:
    root = tmp_path / "images"
    for other in FOLDERS[mode]:
        if other != folder:
            draw(root / other, ["a.png"])
    with pytest.raises(UserError) as raised:
        open_for_training(mode, root)
    assert str(root / folder) in str(raised.value)
    assert "--dataroot" in str(raised.value)


@pytest.mark.parametrize(("mode", "folder"), CASES)
def test_folder_without_images_is_named(mode: str, folder: str, tmp_path: Path) -> None:
    for other in FOLDERS[mode]:
        (tmp_path / other).mkdir(exist_ok=True)
        if other != folder:
            draw(tmp_path / other, ["a.png"])
    with pytest.raises(UserError, match="no images in " + re.escape(str(tmp_path))) as raised:
        open_for_training(mode, tmp_path)
    assert str(tmp_path / folder) in str(raised.value)


@pytest.mark.parametrize("mode", ["aligned", "colorization", "unaligned", "template"])
def test_phase_chooses_the_folder(mode: str, tmp_path: Path) -> None:
    for folder in FOLDERS[mode]:
        draw(tmp_path / folder.replace("train", "val"), ["only.png"], 16, 8)
    item = open_for_training(mode, tmp_path, phase="val")[0]
    assert Path(item["A_paths"]).name == "only.png"


@pytest.mark.parametrize("mode", FOLDERS)
def test_tensors_are_float32_in_the_unit_range(mode: str, tmp_path: Path) -> None:
    for folder in FOLDERS[mode]:
        draw(tmp_path / folder, ["a.png", "b.png"], 24, 12)
    data = open_for_training(mode, tmp_path)
    assert isinstance(data, BaseDataset)
    assert data.root == str(tmp_path)
    for index in range(len(data)):
        for key, value in data[index].items():
            if isinstance(value, Tensor):
                assert value.dtype == torch.float32, key
                assert value.shape[1:] == (8, 8), key
                assert value.abs().max() <= 1, key
