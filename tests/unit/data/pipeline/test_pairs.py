"""Pairs whose images lie in two folders, against the same pairs side by side in one file."""

import random
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from PIL import Image

from data import create_dataset, find_dataset_using_name
from data.aligned_dataset import AlignedDataset
from data.pipeline.pairs import match_folders
from tests.support.commands import draw, draw_pairs, scene
from tests.unit.data.test_base_dataset import options
from util.base.errors import UserError


def aligned(root: Path, **changes: object) -> AlignedDataset:
    dataset = find_dataset_using_name("aligned")(options(root, dataset_mode="aligned", **changes))
    assert isinstance(dataset, AlignedDataset)
    return dataset


def split(root: Path, to: Path, names: tuple[str, str]) -> None:
    """Write the halves of pairs into two folders."""
    for path in sorted((root / "train").iterdir()):
        with Image.open(path) as both:
            draw(to / names[0] / path.name, both.crop((0, 0, 40, 40)))
            draw(to / names[1] / f"{path.stem}.bmp", both.crop((40, 0, 80, 40)))


@pytest.mark.parametrize("names", [("A/train", "B/train"), ("trainA", "trainB")])
@pytest.mark.parametrize("cache", ["none", "decoded", "resized"])
def test_pairs_in_two_folders_give_the_bits_of_pairs_in_one_file(
    names: tuple[str, str], cache: str, tmp_path: Path
) -> None:
    draw_pairs(tmp_path / "one", "train", 5)
    split(tmp_path / "one", tmp_path / "two", names)
    more = {"cache": cache, "cache_gb": 0.01, "isTrain": True, "load_size": 36, "crop_size": 32}
    one, two = (aligned(tmp_path / which, **more) for which in ("one", "two"))
    assert len(one) == len(two) == 5
    for _ in range(2):  # the second time from the cache
        for index in (3, 0, 4):
            items = []
            for dataset in (one, two):
                random.seed(index)
                items.append(dataset[index])
            assert torch.equal(items[0]["A"], items[1]["A"])
            assert torch.equal(items[0]["B"], items[1]["B"])
            assert items[1]["A_paths"].endswith(f"{names[0]}/p{index}.png")
            assert items[1]["B_paths"].endswith(f"{names[1]}/p{index}.bmp")


def test_pairs_in_one_file_come_first(tmp_path: Path) -> None:
    draw_pairs(tmp_path, "train", 2)
    split(tmp_path, tmp_path, ("trainA", "trainB"))
    assert aligned(tmp_path).AB_paths == [str(tmp_path / "train" / f"p{n}.png") for n in range(2)]


def test_a_subclass_may_drop_pairs(tmp_path: Path) -> None:
    draw_pairs(tmp_path / "one", "train", 3)
    split(tmp_path / "one", tmp_path, ("trainA", "trainB"))
    dataset = aligned(tmp_path)
    del dataset.AB_paths[0]
    assert len(dataset) == 2
    assert dataset[0]["B_paths"].endswith("trainB/p1.bmp")


def test_images_without_a_partner_are_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("trainA/1.png", "trainA/2.png", "trainB/2.png", "trainB/3.png"):
        draw(tmp_path / name, scene(1))
    assert [Path(path).name for path in aligned(tmp_path).AB_paths] == ["2.png"]
    out, said = capsys.readouterr()
    assert out == f"1 pairs: images of the same name in {tmp_path}/trainA and {tmp_path}/trainB.\n"
    assert "2 images have no partner and are left out" in said
    assert "trainA/1.png" in said
    assert "trainB/3.png" in said


def test_domains_without_pairs_are_refused(tmp_path: Path) -> None:
    for name in ("trainA/horse.png", "trainB/zebra.png"):
        draw(tmp_path / name, scene(1))
    with pytest.raises(UserError, match="No image in .*trainA has a partner.*unaligned"):
        aligned(tmp_path)


def test_unequal_sizes_are_refused_by_name(tmp_path: Path) -> None:
    draw(tmp_path / "trainA/1.png", scene(1, 40))
    draw(tmp_path / "trainB/1.png", scene(1, 44))
    with pytest.raises(UserError, match=r"trainA/1\.png is 40x40, but its partner .* is 44x44"):
        aligned(tmp_path)[0]


def test_the_look_at_images_does_not_take_them_for_halves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("trainA/1.png", "trainB/1.png"):
        draw(tmp_path / name, scene(1, 41))
    opt: Namespace = options(tmp_path, dataset_mode="aligned", crop_size=36, preprocess="crop")
    create_dataset(opt).warn_of_bad_images()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("A", "B", "pairs", "alone"),
    [
        (["1.png", "2.png"], ["1.png", "2.png"], ["1.png 1.png", "2.png 2.png"], []),
        (["1.png", "2.jpg"], ["1.jpg", "2.png"], ["1.png 1.jpg", "2.jpg 2.png"], []),
        (["1.png", "1.jpg"], ["1.png"], ["1.png 1.png"], ["1.jpg"]),
        (["1.png", "1.jpg"], ["1.bmp"], [], ["1.bmp", "1.jpg", "1.png"]),
        (["s/1.png", "1.png"], ["1.png", "s/1.bmp"], ["1.png 1.png", "s/1.png s/1.bmp"], []),
        (["b.png", "a.png"], ["c.png"], [], ["a.png", "b.png", "c.png"]),
        (["1.a.png"], ["1.b.png"], [], ["1.a.png", "1.b.png"]),
    ],
)
def test_partners_have_the_same_path_or_differ_in_the_ending(
    A: list[str], B: list[str], pairs: list[str], alone: list[str], tmp_path: Path
) -> None:
    for side, names in (("A", A), ("B", B)):
        (tmp_path / side).mkdir()
        for name in names:
            draw(tmp_path / side / name, scene(0))
    found = match_folders(tmp_path / "A", tmp_path / "B")

    def short(path: str) -> str:
        return Path(path).relative_to(tmp_path).as_posix().partition("/")[2]

    assert [f"{short(a)} {short(b)}" for a, b in found.pairs.items()] == pairs
    assert sorted(map(short, found.alone)) == alone
