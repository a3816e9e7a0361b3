"""Files of every depth and number of channels: read as they are, written as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given as drawing
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from util.base.errors import UserError
from util.images import reading
from util.images.pixels import stored_values, with_channels
from util.images.png import encode_pixels
from util.images.ranges import ValueRange, clipped_part, depth_of_results, to_network, to_stored
from util.images.reading import default_loader, depth_of, read_image
from util.images.writing import RESULT_FORMATS, holds, write_stored

HEIGHT, WIDTH = 6, 9
TYPES = {"uint8": 256, "uint16": 65536, "int32": 100_000, "float32": 1}


def values(dtype: str, channels: int = 1, seed: int = 0) -> NDArray[Any]:
    """Draw an array (H, W, C)."""
    drawn = np.random.default_rng(seed).random((HEIGHT, WIDTH, channels)) * TYPES[dtype]
    return drawn.astype(dtype)


def planes(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.transpose(2, 0, 1).copy())


def written(path: Path, array: NDArray[Any]) -> Path:
    """Write an array in the way that people do, by the ending of the path."""
    flat = array[:, :, 0] if array.shape[2] == 1 else array
    match path.suffix:
        case ".npy":
            np.save(path, flat)
        case ".npz":
            np.savez(path, flat)
        case ".png" if array.dtype == np.uint16 and array.shape[2] > 1:
            path.write_bytes(encode_pixels(flat))
        case ".tif" if array.shape[2] > 1:
            write_stored(path, planes(array))
        case _:
            Image.fromarray(flat).save(path)
    return path


def read(path: Path, channels: int) -> Tensor:
    return stored_values(read_image(path, channels))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_depth_is_read_as_it_is(dtype: str, channels: int, tmp_path: Path) -> None:
    array = values(dtype, channels)
    endings = [".npy", ".npz", ".tif"]
    if dtype in ("uint8", "uint16") and channels < 5:
        endings.append(".png")
    for ending in endings:
        path = written(tmp_path / f"x{ending}", array)
        assert torch.equal(read(path, channels), planes(array)), ending
        assert depth_of(path) == planes(array).dtype


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", TYPES)
def test_what_is_written_is_read_again(dtype: str, channels: int, tmp_path: Path) -> None:
    stored = planes(values(dtype, channels))
    for ending in RESULT_FORMATS:
        path = tmp_path / f"x.{ending}"
        if holds(ending, stored):
            write_stored(path, stored)
            found = read(path, channels)
            assert found.dtype == stored.dtype
            assert ending in ("jpg", "webp") or torch.equal(found, stored)
        else:
            with pytest.raises(
                UserError, match=rf"x\.{ending}.* cannot hold {channels} channels of"
            ):
                write_stored(path, stored)
            assert not path.exists()


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ends like none of png, jpg, webp, tif, npy"):
        write_stored(tmp_path / "x.gif", planes(values("uint8")))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_eight_bits_take_the_path_of_the_original(mode: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(values("uint8", 3)).convert(mode).save(path)
    found = read_image(path, channels)
    assert isinstance(found, Image.Image)
    expected = default_loader(path)
    assert found.tobytes() == (expected.convert("L") if channels == 1 else expected).tobytes()


def test_channels_of_eight_bits_are_what_the_file_says(tmp_path: Path) -> None:
    colours = Image.fromarray(values("uint8", 4), "RGBA")
    for mode, channels in (("LA", 2), ("RGBA", 4), ("CMYK", 4)):
        image = colours.convert("RGB" if mode == "CMYK" else "RGBA").convert(mode)
        image.save(path := tmp_path / f"{mode}.tif")
        assert torch.equal(read(path, channels), planes(np.asarray(image)))


def test_pages_are_channels_where_there_are_as_many(tmp_path: Path) -> None:
    for dtype in TYPES:
        array = values(dtype, 4)
        first, *others = [Image.fromarray(array[:, :, number]) for number in range(4)]
        first.save(path := tmp_path / "pages.tif", save_all=True, append_images=others)
        assert torch.equal(read(path, 4), planes(array))
        if dtype != "uint8":
            assert torch.equal(read(path, 1), planes(array[:, :, :1]))  # the first page
    tifffile.imwrite(path, array.transpose(2, 0, 1).astype(np.float64), photometric="minisblack")
    assert torch.equal(read(path, 4), planes(array))


def test_arrays_may_have_their_channels_first_or_last(tmp_path: Path) -> None:
    array = values("float32", 5)
    for shape, given in (("HWC", array), ("CHW", array.transpose(2, 0, 1))):
        np.save(path := tmp_path / "x.npy", given)
        assert torch.equal(read(path, 5), planes(array)), shape
    square = values("float32", 6)[:, :6]  # (6, 6, 6)
    np.save(path, square)
    assert torch.equal(read(path, 6), planes(square))  # the last axis, if both may be


def test_numbers_of_other_types_are_stored_in_the_next_one(tmp_path: Path) -> None:
    numbers = np.arange(54).reshape(6, 9)
    cases: list[tuple[NDArray[Any], torch.dtype]] = [
        (numbers > 8, torch.uint8), (numbers.astype(np.int16) - 9, torch.int32),
        (numbers.astype(">u2"), torch.uint16), (numbers, torch.int32),
        (numbers.astype(np.float16), torch.float32), (numbers / 54, torch.float32),
    ]  # fmt: skip
    for given, stored in cases:
        np.save(path := tmp_path / "x.npy", given)
        found = read(path, 1)
        assert found.dtype == stored == depth_of(path)
        expected = given * 255 if given.dtype == bool else given
        assert np.allclose(found[0].numpy(), expected, atol=1e-7)


def test_an_archive_holds_one_array_or_one_called_image(tmp_path: Path) -> None:
    array = values("float32", 3)
    np.savez(path := tmp_path / "x.npz", mask=array[:, :, :1], image=array)
    assert torch.equal(read(path, 3), planes(array))
    np.savez(path, a=array, b=array)
    with pytest.raises(UserError, match=r"x\.npz: It holds a, b\. Keep one array"):
        read_image(path, 3)


def test_gray_and_colour_become_each_other_at_every_depth(tmp_path: Path) -> None:
    colours = values("uint8", 3)
    gray = np.asarray(Image.fromarray(colours).convert("L"))
    for dtype, scale in (("uint8", 1), ("uint16", 257), ("float32", 1 / 255)):
        scaled = (colours * np.float64(scale)).astype(dtype)
        one = with_channels(planes(scaled), 1)[0].numpy()
        assert np.abs(one / scale - gray).max() <= (0 if dtype == "uint8" else 0.51)
        three = with_channels(planes(scaled[:, :, :1]), 3)
        assert three.shape == (3, HEIGHT, WIDTH)
        assert torch.equal(three[2], planes(scaled)[0])
    path = written(tmp_path / "x.png", values("uint16", 4))
    assert torch.equal(read(path, 3), planes(values("uint16", 4))[:3])  # transparency is dropped


def test_other_channels_are_an_error_that_names_file_and_option(tmp_path: Path) -> None:
    for ending, array in ((".npy", values("float32", 5)), (".png", values("uint8", 3))):
        path = written(tmp_path / f"x{ending}", array)
        with pytest.raises(UserError, match=rf"{path.name}.*--input_nc"):
            read_image(path, 2)


def test_wide_colour_of_other_formats_is_not_cut_off_either(tmp_path: Path) -> None:
    array = values("uint16", 3)
    path = tmp_path / "x.ppm"
    path.write_bytes(b"P6 9 6 65535\n" + array.astype(">u2").tobytes())
    assert torch.equal(read(path, 3), planes(array))
    turned = {2: array[:, ::-1], 3: array[::-1, ::-1], 6: np.rot90(array, -1), 8: np.rot90(array)}
    for orientation, upright in turned.items():
        tag = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path := tmp_path / "x.tif", array, photometric="rgb", extratags=tag)
        assert torch.equal(read(path, 3), planes(upright.copy())), orientation


def test_broken_files_are_errors_that_name_them(tmp_path: Path) -> None:
    whole = {".npy": values("float32", 5), ".npz": values("float32", 5),
             ".tif": values("float32", 3), ".png": values("uint16", 3)}  # fmt: skip
    for ending, array in whole.items():
        path = written(tmp_path / f"x{ending}", array)
        path.write_bytes(path.read_bytes()[:-150])
        with pytest.raises(UserError, match=rf"x\{ending}"):
            read_image(path, array.shape[2])
    np.save(path := tmp_path / "objects.npy", np.array([{}, {}]))
    with pytest.raises(UserError, match=r"objects\.npy cannot be read: .*Python objects"):
        read_image(path, 3)
    assert depth_of(path) == torch.uint8


def test_huge_files_are_refused_whoever_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    for dtype in ("float32", "uint16"):
        path = written(tmp_path / "x.tif", values(dtype, 3))
        with pytest.raises(UserError, match=r"x\.tif has more than 179 million pixels"):
            read_image(path, 3)


def test_without_tifffile_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "x.tif", values("float32", 3))
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(UserError, match=r"x\.tif: This kind of TIFF .* pip install tifffile"):
        reading.read_image(path, 3)


# ---- ranges -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("uint8", ""),
        ("uint8", "0,7"),
        ("uint16", ""),
        ("uint16", "0,4095"),
        ("int32", "-1000,3000"),
    ],
)
def test_every_whole_number_of_a_range_comes_back(dtype: str, text: str) -> None:
    value_range = ValueRange.parse(text) if text else None
    low, high = value_range or (0, torch.iinfo(getattr(torch, dtype)).max)
    numbers = torch.arange(int(low), int(high) + 1).to(getattr(torch, dtype))
    seen = to_network(numbers, value_range)
    assert (seen[0].item(), seen[-1].item()) == (-1, 1)
    assert torch.equal(to_stored(seen, numbers.dtype, value_range), numbers)


@drawing(low=st.floats(-1e4, 1e4), width=st.floats(1e-2, 1e5), seed=st.integers(0, 99))
def test_floating_point_values_come_back_to_a_millionth(
    low: float, width: float, seed: int
) -> None:
    value_range = ValueRange(low, low + width)
    unit = torch.rand(50, generator=torch.Generator().manual_seed(seed))
    stored = (low + unit.double() * width).float()
    back = to_stored(to_network(stored, value_range), torch.float32, value_range)
    rounding = max(abs(low), abs(low + width)) * 2**-23  # of float32 itself
    assert (back - stored).abs().max() <= 1e-6 * width + rounding


def test_a_range_is_two_numbers_in_their_order() -> None:
    assert ValueRange.parse("-1000,3000") == (-1000, 3000)
    assert str(ValueRange.parse("-1000,0.5")) == "-1000,0.5"
    for text in ("1", "1,1", "3,1", "0,inf", "nan,1", "1,2,3", "a,b", ""):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever float says
            ValueRange.parse(text)


def test_what_a_range_cuts_off_is_measured() -> None:
    numbers = torch.arange(100, dtype=torch.int32).to(torch.uint16)
    assert clipped_part(numbers, None) == 0
    assert clipped_part(numbers, ValueRange(0, 99)) == 0
    assert clipped_part(numbers, ValueRange(10, 89)) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (torch.tensor([0.5, 3000.0, -1000.0]), "from -1000 to 3000"),
        (torch.tensor([5, 7], dtype=torch.int32), "have no usual range.*from 5 to 7"),
        (torch.tensor([0.5, float("nan")]), "not finite"),
    ],
)
def test_values_without_a_usual_range_ask_for_one(stored: Tensor, said: str) -> None:
    with pytest.raises(UserError, match=said):
        clipped_part(stored, None)


def test_results_are_as_deep_as_what_went_in_or_deeper() -> None:
    hounsfield, levels, labels = ValueRange(-1000, 3000), ValueRange(0, 4095), ValueRange(0, 12)
    for source, going_in, coming_out, expected in (
        (torch.uint16, None, None, torch.uint16), (torch.uint8, labels, labels, torch.uint8),
        (torch.uint8, None, levels, torch.uint16), (torch.uint16, levels, hounsfield, torch.int32),
        (torch.uint16, levels, labels, torch.float32), (torch.uint16, levels, None, torch.uint16),
        (torch.float32, None, levels, torch.float32),
    ):  # fmt: skip
        assert depth_of_results(source, going_in, coming_out) == expected
