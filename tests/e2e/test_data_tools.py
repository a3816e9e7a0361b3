"""Tools that prepare data sets: pixels are exact, and what is left out is named."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import ROOT, draw, ended, imported, scene

Tool = Callable[..., tuple[int, str]]


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Run a tool of datasets/ with arguments; return its exit status and all that it says."""

    def run(name: str, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        with imported(ROOT / "datasets" / f"{name}.py") as module:
            status = ended(module.main, arguments)
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def beside(left: Path, right: Path) -> np.ndarray:
    return np.concatenate([pixels(left), pixels(right)], axis=1)


# ---- combine_A_and_B.py -------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> list[object]:
    """Draw pairs in two phases; return the arguments that join them."""
    for phase, count in (("train", 3), ("val", 1)):
        for number in range(count):
            draw(tmp_path / "A" / phase / f"{number}.png", scene(number, outlined=True))
            draw(tmp_path / "B" / phase / f"{number}.png", scene(number))
    return ["--fold_A", tmp_path / "A", "--fold_B", tmp_path / "B", "--fold_AB", tmp_path / "AB"]


@pytest.mark.parametrize("more", [[], ["--no_multiprocessing"]])
def test_pairs_are_joined_pixel_by_pixel(
    tool: Tool, folders: list[object], tmp_path: Path, more: list[str]
) -> None:
    status, said = tool("combine_A_and_B", *folders, *more)
    assert status == 0
    assert "train: 3 of 3 pairs joined" in said
    assert "--fold_AB" not in said
    for name in ("train/0.png", "train/1.png", "train/2.png", "val/0.png"):
        made = pixels(tmp_path / "AB" / name)
        assert np.array_equal(made, beside(tmp_path / "A" / name, tmp_path / "B" / name))


def test_what_cannot_be_joined_is_named_and_the_rest_is_joined(
    tool: Tool, folders: list[object], tmp_path: Path
) -> None:
    draw(tmp_path / "A/train/only_a.png", scene(1))
    draw(tmp_path / "B/train/only_b.png", scene(1))
    draw(tmp_path / "B/train/1.png", scene(1, 44))
    (tmp_path / "A/train/2.png").write_bytes(b"no image")
    shutil.rmtree(tmp_path / "B/val")
    (tmp_path / "A/note.txt").touch()
    status, said = tool("combine_A_and_B", *folders)
    assert status == 1
    for part in ("only_a.png has no partner", "only_b.png has no partner", "1.png is 40x40",
                 "train/2.png is not an image", "B/val does not exist", "note.txt",
                 "5 left out"):  # fmt: skip
        assert part in said
    assert os.listdir(tmp_path / "AB/train") == ["0.png"]


def test_images_of_16_bits_are_not_cut_off(
    tool: Tool, folders: list[object], tmp_path: Path
) -> None:
    draw(tmp_path / "B/train/1.png", scene(1).convert("I;16"))
    status, said = tool("combine_A_and_B", *folders)
    assert status == 1
    assert "B/train/1.png has more than 8 bits, of which joined files keep 8." in said
    assert sorted(os.listdir(tmp_path / "AB/train")) == ["0.png", "2.png"]


@pytest.mark.parametrize(("choice", "side"), [("a", 40), ("b", 44)])
def test_unequal_sizes_are_resized_if_asked(
    tool: Tool, folders: list[object], tmp_path: Path, choice: str, side: int
) -> None:
    draw(tmp_path / "B/val/0.png", scene(1, 44))
    assert tool("combine_A_and_B", *folders, "--resize", choice)[0] == 0
    made = pixels(tmp_path / "AB/val/0.png")
    assert made.shape == (side, 2 * side, 3)
    kept, where = ("A", slice(0, side)) if choice == "a" else ("B", slice(side, 2 * side))
    assert np.array_equal(made[:, where], pixels(tmp_path / kept / "val/0.png"))


def test_names_with_the_sides_in_them(tool: Tool, tmp_path: Path) -> None:
    for name in ("A/x_A.png", "A/y_A.png", "B/x_B.jpg", "B/y_B.png"):
        draw(tmp_path / name, scene(1))
    arguments = ["--fold_A", tmp_path / "A", "--fold_B", tmp_path / "B"]
    arguments += ["--fold_AB", tmp_path / "AB", "--use_AB"]
    status, said = tool("combine_A_and_B", *arguments)
    assert (status, f"or give --fold_AB {tmp_path / 'AB' / 'train'}." in said) == (0, True)
    assert sorted(os.listdir(tmp_path / "AB")) == ["x.png", "y.png"]


def test_jpeg_keeps_its_colours(tool: Tool, tmp_path: Path) -> None:
    """With colours at half the resolution the red line would become grey."""
    line = np.full((32, 32, 3), 128, np.uint8)
    line[:, 15] = (255, 0, 0)
    for side in "AB":
        draw(tmp_path / side / "1.bmp", Image.fromarray(line))
        os.rename(tmp_path / side / "1.bmp", tmp_path / side / "1.jpg")  # exact, by its content
    arguments = ["--fold_A", tmp_path / "A", "--fold_B", tmp_path / "B"]
    assert tool("combine_A_and_B", *arguments, "--fold_AB", tmp_path / "AB")[0] == 0
    with Image.open(tmp_path / "AB/1.jpg") as image:
        assert image.format == "JPEG"
    made = pixels(tmp_path / "AB/1.jpg").astype(int)
    assert abs(made[:, 15] - (255, 0, 0)).max() < 16
    assert abs(made[:, 32 + 15] - (255, 0, 0)).max() < 16


def test_nothing_is_replaced_unless_asked(
    tool: Tool, folders: list[object], tmp_path: Path
) -> None:
    assert tool("combine_A_and_B", *folders, "--num_imgs", 1)[0] == 0
    draw(tmp_path / "B/train/0.png", scene(7))
    before = pixels(tmp_path / "AB/train/0.png")
    status, said = tool("combine_A_and_B", *folders)
    assert (status, "train: 2 of 3 pairs joined, 1 were there (--force" in said) == (0, True)
    assert np.array_equal(pixels(tmp_path / "AB/train/0.png"), before)
    assert tool("combine_A_and_B", *folders, "--force")[0] == 0
    assert not np.array_equal(pixels(tmp_path / "AB/train/0.png"), before)


def test_missing_folders_are_one_message(tool: Tool, tmp_path: Path) -> None:
    arguments = ["--fold_A", tmp_path / "no", "--fold_B", tmp_path, "--fold_AB", tmp_path / "AB"]
    status, said = tool("combine_A_and_B", *arguments)
    assert (status, said) == (1, f"error: --fold_A {tmp_path / 'no'} is no folder.\n")
    assert tool("combine_A_and_B", "--fold_A", tmp_path)[0] == 2


# ---- make_dataset_aligned.py --------------------------------------------------------------


def test_images_are_joined_by_their_place(tool: Tool, tmp_path: Path) -> None:
    for phase, count in (("train", 2), ("test", 1)):
        for number in range(count):
            draw(tmp_path / f"{phase}A" / f"a{number}.png", scene(number, outlined=True))
            draw(tmp_path / f"{phase}B" / f"other{number}.jpg", scene(number))
    status, said = tool("make_dataset_aligned", "--dataset-path", tmp_path)
    assert status == 0, said
    assert sorted(os.listdir(tmp_path / "train")) == ["0000.jpg", "0001.jpg"]
    assert os.listdir(tmp_path / "test") == ["0000.jpg"]
    expected = Image.fromarray(beside(tmp_path / "trainA/a1.png", tmp_path / "trainB/other1.jpg"))
    expected.save(tmp_path / "expected.jpg")  # the original takes Pillow's quality
    assert np.array_equal(pixels(tmp_path / "train/0001.jpg"), pixels(tmp_path / "expected.jpg"))

    status, said = tool("make_dataset_aligned", "--dataset-path", tmp_path)
    assert (status, "0000.jpg is there already. --force" in said) == (1, True)
    assert tool("make_dataset_aligned", "--dataset-path", tmp_path, "--force")[0] == 0


def test_what_is_no_pair_by_its_place_is_refused(tool: Tool, tmp_path: Path) -> None:
    assert "trainA is no folder" in tool("make_dataset_aligned", "--dataset-path", tmp_path)[1]
    for name in ("trainA/1.png", "trainA/2.png", "trainB/1.png", "testA/1.png", "testB/1.png"):
        draw(tmp_path / name, scene(1))
    status, said = tool("make_dataset_aligned", "--dataset-path", tmp_path)
    assert (status, "trainA has 2 images, trainB 1" in said) == (1, True)
    draw(tmp_path / "trainB/2.png", scene(1, 44))
    status, said = tool("make_dataset_aligned", "--dataset-path", tmp_path)
    assert (status, "trainA/2.png is 40x40" in said) == (1, True)
    assert not (tmp_path / "train").exists()


# ---- prepare_cityscapes_dataset.py --------------------------------------------------------


def test_cityscapes_become_pairs_and_domains(tool: Tool, tmp_path: Path) -> None:
    """A stand-in: a few images in the folders of the real ones, of which there are 3,475."""
    for phase, count in (("train", 3), ("val", 2)):
        for number in range(count):
            name = f"{phase}/aachen/aachen_{number:06d}_000019"
            draw(tmp_path / f"gtFine/{name}_gtFine_color.png", scene(number, 64, outlined=True))
            draw(tmp_path / f"leftImg8bit/{name}_leftImg8bit.png", scene(number, 64))
            draw(tmp_path / f"gtFine/{name}_gtFine_labelIds.png", scene(9, 64))
    arguments: list[object] = ["--gtFine_dir", tmp_path / "gtFine"]
    arguments += ["--leftImg8bit_dir", tmp_path / "leftImg8bit", "--output_dir", tmp_path / "out"]
    status, said = tool("prepare_cityscapes_dataset", *arguments)
    assert status == 0, said
    made = sorted(path.relative_to(tmp_path / "out").as_posix()
                  for path in (tmp_path / "out").rglob("*.jpg"))  # fmt: skip
    assert made == [
        "test/0.jpg", "test/1.jpg", "testA/0_A.jpg", "testA/1_A.jpg", "testB/0_B.jpg",
        "testB/1_B.jpg", "train/0.jpg", "train/1.jpg", "train/2.jpg", "trainA/0_A.jpg",
        "trainA/1_A.jpg", "trainA/2_A.jpg", "trainB/0_B.jpg", "trainB/1_B.jpg", "trainB/2_B.jpg",
    ]  # fmt: skip
    halves = []
    for kind, end in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_color")):
        path = tmp_path / kind / f"train/aachen/aachen_000002_000019_{end}.png"
        halves.append(scene_of(path))
    both = Image.new("RGB", (512, 256))
    both.paste(halves[0], (0, 0))
    both.paste(halves[1], (256, 0))
    both.save(tmp_path / "both.jpg", quality=100, subsampling=0)
    halves[0].save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert np.array_equal(pixels(tmp_path / "out/train/2.jpg"), pixels(tmp_path / "both.jpg"))
    assert np.array_equal(pixels(tmp_path / "out/trainA/2_A.jpg"), pixels(tmp_path / "a.jpg"))

    (tmp_path / "leftImg8bit/val/aachen/aachen_000001_000019_leftImg8bit.png").unlink()
    status, said = tool("prepare_cityscapes_dataset", *arguments)
    assert (status, "val: 1 images have labels or a photo alone" in said) == (1, True)
    shutil.rmtree(tmp_path / "gtFine")
    status, said = tool("prepare_cityscapes_dataset", *arguments)
    assert (status, "Is gtFine unpacked there?" in said) == (1, True)


def scene_of(path: Path) -> Image.Image:
    """Return an image of 256x256, as Pillow resizes it."""
    with Image.open(path) as image:
        return image.convert("RGB").resize((256, 256), Image.Resampling.BICUBIC)
