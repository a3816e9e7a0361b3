"""What is wanted of both sides of a data set, and how files of any depth get to the network."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from data.checks.unused import options_without_effect
from data.colorization_dataset import ColorizationDataset
from data.pipeline.clipping import ClippedFiles
from data.pipeline.files import list_files
from data.pipeline.image_cache import ImageCache
from data.pipeline.image_reader import ImageReader
from data.pipeline.sides import Side, sides_of
from tests.support.commands import draw, scene
from util.base.errors import UserError
from util.images import transforms as T
from util.images.ranges import ValueRange

LEVELS = ValueRange(0, 4095)


def options(direction: str = "AtoB", value_range: list[str] | None = None) -> Namespace:
    return Namespace(direction=direction, input_nc=1, output_nc=4, value_range=value_range)


def volume(path: Path, channels: int, low: float, high: float, dtype: str = "float32") -> str:
    """Write an array (20, 24, channels) with values between two, both of which occur."""
    values = np.random.default_rng(channels).random((20, 24, channels)) * (high - low) + low
    values.flat[:2] = low, high
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values.astype(dtype))
    return str(path)


def test_direction_swaps_the_channels_and_ranges_of_the_sides() -> None:
    going_in, coming_out = Side(1, ValueRange(0, 7)), Side(4, ValueRange(-1, 1))
    texts = ["0,7", "-1,1"]
    assert sides_of(options("AtoB", texts), [], []) == (going_in, coming_out)
    assert sides_of(options("BtoA", texts), [], []) == (coming_out, going_in)
    assert sides_of(options("AtoB", ["0,7"]), [], []) == (going_in, Side(4, ValueRange(0, 7)))
    assert sides_of(options(), [], []) == (Side(1), Side(4))


def test_the_files_tell_the_range_of_each_side(tmp_path: Path) -> None:
    A = [volume(tmp_path / f"a{n}.npy", 1, -1000 + n, 3000 - n, "int16") for n in range(3)]
    B = [volume(tmp_path / "b.npy", 4, 0.25, 2)]
    for direction, expected in (("AtoB", ["-1000,3000", "0.25,2"]), ("BtoA", [])):
        opt = options(direction, ["auto"])
        if direction == "BtoA":
            opt.input_nc, opt.output_nc = 4, 1
            expected = ["0.25,2", "-1000,3000"]
        A_side, B_side = sides_of(opt, A, B)
        assert (A_side, B_side) == (Side(1, ValueRange(-1000, 3000)), Side(4, ValueRange(0.25, 2)))
        assert opt.value_range == expected  # what is saved, for tests
    opt = options("AtoB", ["0,9", "auto"])
    sides_of(opt, A, B)
    assert opt.value_range == ["0,9", "0.25,2"]


def test_unequal_depths_are_noted_for_tests_that_see_one_side(tmp_path: Path) -> None:
    draw(tmp_path / "photo.png", scene(1))
    Image.fromarray(np.full((9, 9), 40000, np.uint16)).save(tmp_path / "depth.png")
    photo, depth = ([str(tmp_path / f"{name}.png")] for name in ("photo", "depth"))
    opt = options()
    opt.isTrain = True
    sides = sides_of(opt, photo, depth)
    assert opt.value_range == ["0,255", "0,65535"]
    assert sides == (Side(1, ValueRange(0, 255)), Side(4, ValueRange(0, 65535)))
    opt.value_range, opt.direction = None, "BtoA"
    sides_of(opt, photo, depth)
    assert opt.value_range == ["0,65535", "0,255"]
    opt.value_range = None
    sides_of(opt, photo, photo)
    assert opt.value_range is None


def test_files_of_equal_values_tell_no_range(tmp_path: Path) -> None:
    np.save(path := tmp_path / "a.npy", np.zeros((4, 4), np.float32))
    with pytest.raises(UserError, match=r"--value_range auto finds no range in .*Give LO,HI"):
        sides_of(options("AtoB", ["auto"]), [str(path)], [])


# ---- transforms -----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tensors_are_transformed_as_pillow_transforms_images(channels: int, dtype: str) -> None:
    """Of 8 bits equally; at other depths a little off, since Pillow rounds each of two passes."""
    images = [scene(seed, 30).convert("L").resize((33, 27)) for seed in range(channels)]
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    planes = np.stack([np.asarray(image) for image in images]).astype(np.float64) * scale
    stored = torch.from_numpy(planes.astype(dtype))
    for steps in (
        [T.Resize(40, 20)], [T.ScaleWidth(20, 24)], [T.ScaleShortside(18)], [T.RoundSides(4)],
        [T.CropAt(20, 9, 16)], [T.Resize(24, 24), T.RandomCrop(16), T.Flip()],
        [T.RandomResizedCrop(16, (0.5, 1), (0.9, 1.1))],
    ):  # fmt: skip
        transform = T.Compose([*steps, T.ToTensor()])
        torch.manual_seed(1)
        found = transform(stored)
        for number, image in enumerate(images):
            torch.manual_seed(1)
            expected = transform(image)[0]
            assert found[number].shape == expected.shape
            off = (found[number] - expected).abs().max() * 255
            assert off <= (0 if dtype == "uint8" else 2), steps


@pytest.mark.parametrize("mode", ["none", "decoded", "resized"])
@pytest.mark.parametrize("side", [Side(5), Side(1, LEVELS), Side(3)])
def test_memory_gives_the_same_as_the_disk(mode: str, side: Side, tmp_path: Path) -> None:
    low, high = side.value_range or (0, 1)
    path = volume(tmp_path / "x.npy", side.channels, low, high)
    reader = ImageReader(None if mode == "none" else ImageCache(10**6), mode)
    transform = T.Compose([T.Resize(16, 12), T.CropAt(1, 1, 10), T.ToTensor(side.value_range)])
    fresh = ImageReader().read(path, transform, side)
    assert fresh.shape == (side.channels, 10, 10)
    for _ in range(2):
        assert torch.equal(reader.read(path, transform, side), fresh)


@pytest.mark.parametrize("channels", [(1, 3), (3, 1), (5, 5)])
def test_halves_of_a_deep_file_are_a_pair(channels: tuple[int, int], tmp_path: Path) -> None:
    path = volume(tmp_path / "pair.npy", max(channels), 0, 1)
    sides = [Side(number) for number in channels]
    halves = ImageReader().open_pair(path, None, *sides)
    whole = np.load(path)
    for half, side, place in zip(halves, sides, (slice(12), slice(12, None)), strict=True):
        found = half.transformed(T.ToTensor())
        assert found.shape == (side.channels, 20, 12)
        if side.channels == max(channels):
            assert np.array_equal(found.permute(1, 2, 0).numpy(), whole[:, place])


# ---- values that do not fit -----------------------------------------------------------------


def test_values_that_need_a_range_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = volume(tmp_path / "ct.npy", 1, -1000, 3000)
    with pytest.raises(UserError, match=r"ct\.npy: .* from -1000 to 3000\. Say with --value_range"):
        ImageReader().read(path, T.ToTensor(), Side(1))


def test_clipped_files_are_told_once_and_then_counted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reader = ImageReader(clipped=ClippedFiles())
    paths = [volume(tmp_path / f"{n}.npy", 1, 0, 5000) for n in range(12)]
    for path in [*paths[:2], *paths[:2], *paths, *paths]:
        reader.read(path, T.ToTensor(LEVELS), Side(1, LEVELS))
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 4
    assert "0.npy: 1" in lines[0]
    assert "% of the values lie outside --value_range and are cut off." in lines[2]
    assert "10 files have had values cut off" in lines[3]


def test_a_few_values_beyond_the_range_are_not_worth_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    values: NDArray[Any] = np.full((100, 100), 7, np.uint16)
    values[0, :10] = 5000
    np.save(path := tmp_path / "x.npy", values)
    reader = ImageReader(clipped=ClippedFiles())
    assert reader.read(str(path), T.ToTensor(LEVELS), Side(1, LEVELS)).max() == 1
    assert capfd.readouterr().err == ""


def test_data_sets_of_8_bits_say_that_they_take_no_range() -> None:
    dataset = ColorizationDataset.__new__(ColorizationDataset)
    found = list(options_without_effect(Namespace(value_range=["0,4095", "0,1"]), dataset))
    assert found == ["--value_range 0,4095 0,1"]
    assert list(options_without_effect(Namespace(), dataset)) == []


# ---- files ----------------------------------------------------------------------------------


def test_arrays_are_listed_where_there_are_no_images(tmp_path: Path) -> None:
    for name in ("b.npy", "inner/a.NPZ", ".hidden/c.npy", ".d.npy", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [Path(path).relative_to(tmp_path).as_posix() for path in list_files(tmp_path)]
    assert names == ["b.npy", "inner/a.NPZ"]
    draw(tmp_path / "x.png", Image.new("RGB", (4, 4)))
    assert list_files(tmp_path) == [str(tmp_path / "x.png")]
