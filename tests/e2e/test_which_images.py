"""Which images a test translates, as what, and what becomes of the results: the right ones."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.pix2pix_model import Pix2PixModel
from tests.support import commands
from tests.support.commands import Page, draw, draw_pairs, draw_unpaired, names, scene, small

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def trained(
    pairs: Path, unpaired: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Return folders with a run of each model."""
    found = {}
    for model, root, more in (
        ("pix2pix", pairs, ("--norm", "instance")),  # with dropout
        ("cycle_gan", unpaired, ()),
        ("colorization", pairs, ()),
    ):
        found[model] = tmp_path_factory.mktemp(model)
        commands.train(found[model], root, model, *more)
    return found


def images(folder: Path) -> dict[str, Any]:
    """Return the images of a test by their names."""
    found = {}
    for file in sorted((folder / "images").rglob("*.png")):
        with Image.open(file) as image:
            found[file.relative_to(folder / "images").as_posix()] = np.asarray(image).astype(int)
    return found


def run_test(run: Path, folder: Path, dataroot: Path, *more: str) -> Path:
    """Test a run, without --model unless it is among the rest; return the folder of results."""
    words = small(run, dataroot, "pix2pix", "--results_dir", str(folder / "results"), *more)
    at = words.index("--model")
    commands.script("test", words[:at] + words[at + 2 :])
    phase = more[more.index("--phase") + 1] if "--phase" in more else "test"
    return folder / "results" / "run" / f"{phase}_latest"


# ---- as what they are translated ----------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "mode", "labels"),
    [
        ("pix2pix", "aligned", ["fake_B", "real_A", "real_B"]),
        ("colorization", "colorization", ["fake_B_rgb", "real_A", "real_B_rgb"]),
        ("cycle_gan", "unaligned", ["fake_A", "fake_B", "real_A", "real_B", "rec_A", "rec_B"]),
    ],
)
def test_the_folder_of_a_data_set_is_tested_with_the_model_of_the_run(
    model: str, mode: str, labels: list[str], trained: dict[str, Path], pairs: Path,
    unpaired: Path, tmp_path: Path, capsys: Capture,
) -> None:  # fmt: skip
    root = unpaired if model == "cycle_gan" else pairs
    found = images(run_test(trained[model], tmp_path, root))
    assert sorted({name.partition("_")[2] for name in found}) == [f"{each}.png" for each in labels]
    assert len(found) == 2 * len(labels)
    (line,) = re.findall(r"^--model .*", capsys.readouterr().out, re.MULTILINE)
    assert line.startswith(f"--model {model} --dataset_mode {mode}, as in training")


def test_a_folder_of_images_is_translated_one_by_one(
    trained: dict[str, Path], unpaired: Path, tmp_path: Path, capsys: Capture
) -> None:
    found = images(run_test(trained["cycle_gan"], tmp_path, unpaired / "testA"))
    assert list(found) == ["a0_fake.png", "a0_real.png", "a1_fake.png", "a1_real.png"]
    said = capsys.readouterr()
    assert f"--model test, since {unpaired / 'testA'} is taken as a folder of images." in said.out
    assert "warning" not in said.err


@pytest.mark.parametrize("more", [("--model", "test"), ("--model_suffix", "_A"), ("--model=test",)])
def test_model_test_translates_all_images_when_it_is_asked_for(
    more: tuple[str, ...], trained: dict[str, Path], unpaired: Path, tmp_path: Path
) -> None:
    found = images(run_test(trained["cycle_gan"], tmp_path, unpaired, *more))
    assert len(found) == 2 * len(list(unpaired.rglob("*.png")))


def test_without_the_phase_the_data_set_says_which_there_are(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    draw_pairs(tmp_path / "data", "val", 1)
    with pytest.raises(ValueError, match=r"(?s)data/test is not a valid directory.*with val/"):
        run_test(trained["pix2pix"], tmp_path, tmp_path / "data")
    assert len(images(run_test(trained["pix2pix"], tmp_path, tmp_path / "data", "--phase", "val")))


def test_a_run_of_which_nothing_is_known_is_tested_as_before_with_a_warning(
    trained: dict[str, Path], unpaired: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(trained["cycle_gan"] / "checkpoints", tmp_path / "checkpoints")
    for file in (tmp_path / "checkpoints" / "run").glob("train_opt.*"):
        file.unlink()
    found = images(run_test(tmp_path, tmp_path, unpaired))
    assert len(found) == 2 * len(list(unpaired.rglob("*.png")))
    assert "nothing tells what run was trained as. Give --model" in capsys.readouterr().err
    with pytest.raises(ValueError, match="folder .*run_best"):
        run_test(trained["cycle_gan"], tmp_path, unpaired, "--suffix", "best")
    assert "nothing tells what run was trained as. Give --model" in capsys.readouterr().err


def test_single_images_that_look_like_pairs_are_warned_of(
    trained: dict[str, Path], pairs: Path, unpaired: Path, tmp_path: Path, capsys: Capture
) -> None:
    run_test(trained["pix2pix"], tmp_path, pairs / "test")
    said = capsys.readouterr().err
    assert said.count("twice as wide as high") == 1
    assert f"test.py --dataroot {pairs} --name run --model pix2pix" in said
    run_test(trained["pix2pix"], tmp_path, unpaired / "testA")
    run_test(trained["pix2pix"], tmp_path, pairs)
    run_test(trained["cycle_gan"], tmp_path, pairs / "test")
    assert "twice as wide" not in capsys.readouterr().err


def test_images_that_hardly_are_pairs_are_not_cut_in_silence(
    trained: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    draw(tmp_path / "photos" / "test" / "x.png", scene(1))
    run_test(trained["pix2pix"], tmp_path, tmp_path / "photos")
    said = capsys.readouterr().err
    assert said.count("but these are hardly wider than high. If they are no pairs") == 1


def test_a_generator_that_makes_no_images_is_refused_with_the_right_command(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    draw(tmp_path / "photos" / "x.png", scene(1))
    with pytest.raises(ValueError, match="the 2 channels that it makes in run are none") as raised:
        run_test(trained["colorization"], tmp_path, tmp_path / "photos", "--model", "test")
    command = f"--dataroot {tmp_path} --name run --model colorization --phase photos"
    assert f"\n  python test.py {command}" in str(raised.value)
    more = ("--model", "colorization", "--phase", "photos")
    assert "x_fake_B_rgb.png" in images(
        run_test(trained["colorization"], tmp_path, tmp_path, *more)
    )


def test_images_are_read_with_the_channels_that_the_generator_takes(
    unpaired: Path, tmp_path: Path
) -> None:
    draw_pairs(tmp_path / "data", "train", 1)
    more = ("--input_nc", "1", "--output_nc", "3")
    commands.train(tmp_path, tmp_path / "data", "pix2pix", *more)
    backwards = ("--model", "test", "--direction", "BtoA")
    found = images(run_test(tmp_path, tmp_path, unpaired / "testA", *backwards))
    assert np.ptp(found["a0_real.png"], axis=2).max() == 0  # gray
    assert np.ptp(found["a0_fake.png"], axis=2).max() > 0


# ---- one image among others ---------------------------------------------------------------


def test_dropout_and_crops_of_an_image_are_the_same_alone_and_among_others(
    trained: dict[str, Path], pairs: Path, tmp_path: Path
) -> None:
    (tmp_path / "alone" / "test").mkdir(parents=True)
    shutil.copy(pairs / "test" / "p1.png", tmp_path / "alone" / "test")
    draw_pairs(tmp_path / "more", "test", 4)
    more = ("--load_size", "40", "--crop_size", "32")  # random crops
    found = [
        images(run_test(trained["pix2pix"], tmp_path, root, *more))
        for root in (tmp_path / "alone", pairs, tmp_path / "more")
    ]
    for label in ("real_A", "fake_B"):
        alone, *others = (each[f"p1_{label}.png"] for each in found)
        assert all(np.array_equal(alone, other) for other in others), label
    seeded = images(
        run_test(trained["pix2pix"], tmp_path, tmp_path / "alone", *more, "--seed", "1")
    )
    assert not np.array_equal(seeded["p1_fake_B.png"], found[0]["p1_fake_B.png"])


@pytest.mark.parametrize(
    ("a", "b", "direction", "mode"),
    [
        (2, 5, "AtoB", "unaligned"),
        (5, 2, "AtoB", "unaligned"),
        (2, 5, "BtoA", "unaligned"),
        (2, 5, "AtoB", "copied"),
    ],
)
def test_each_image_of_two_domains_is_shown_once(
    a: int, b: int, direction: str, mode: str, trained: dict[str, Path], tmp_path: Path,
    add_plugins: Callable[[Path], None],
) -> None:  # fmt: skip
    root = tmp_path / "images"
    commands.copy_unaligned(tmp_path)
    add_plugins(tmp_path)
    for side, count in (("A", a), ("B", b)):
        for number in range(count):
            name = f"{number + 3 * (side == 'A')}.png"  # as some of the other side
            draw(root / f"test{side}" / name, scene(10 * number, outlined=side == "A"))
    more = ("--direction", direction, "--model", "cycle_gan", "--dataset_mode", mode)
    results = run_test(trained["cycle_gan"], tmp_path, root, *more)
    found = images(results)
    counts = {"A": a, "B": b} if direction == "AtoB" else {"A": b, "B": a}
    for label, side in (
        ("real_A", "A"), ("fake_B", "A"), ("rec_A", "A"),
        ("real_B", "B"), ("fake_A", "B"), ("rec_B", "B"),
    ):  # fmt: skip
        shown = [image for name, image in found.items() if name.endswith(f"_{label}.png")]
        assert len({image.tobytes() for image in shown}) == len(shown) == counts[side], label
    assert len(Page(results / "index.html").images) == 3 * (a + b)
    assert 'data-score="L1"' not in (results / "index.html").read_text()  # they are no pairs
    assert ("testB/3_real_B.png" in found) == (b > a and direction == "AtoB")


# ---- what is left in the folder of results ------------------------------------------------


def test_images_of_an_earlier_test_go_and_what_nobody_listed_is_named(
    trained: dict[str, Path], unpaired: Path, tmp_path: Path, capsys: Capture
) -> None:
    draw_unpaired(tmp_path / "data", "test", 4, 1)
    results = run_test(trained["cycle_gan"], tmp_path, tmp_path / "data" / "testA")
    mine = results / "images" / "mine.png"
    draw(mine, scene(1))
    capsys.readouterr()
    run_test(trained["cycle_gan"], tmp_path, unpaired / "testA")
    assert names(results / "images") == [
        *["a0_fake.png", "a0_real.png", "a1_fake.png", "a1_real.png", "mine.png"]
    ]
    said = capsys.readouterr().out
    assert re.search("4 images of an earlier test were removed from .*: a2_fake.png, a2_real", said)
    assert re.search(r"1 files in .*images are not of this test: mine\.png", said)


def test_results_that_are_the_input_of_the_next_test_stay(
    trained: dict[str, Path], unpaired: Path, tmp_path: Path
) -> None:
    results = run_test(trained["cycle_gan"], tmp_path, unpaired / "testA")
    inputs = names(results / "images")
    run_test(trained["cycle_gan"], tmp_path, results / "images")
    assert set(inputs) < set(names(results / "images"))


# ---- sizes and scores ---------------------------------------------------------------------


def test_another_size_than_in_training_is_printed(
    trained: dict[str, Path], unpaired: Path, tmp_path: Path, capsys: Capture
) -> None:
    run_test(trained["cycle_gan"], tmp_path, unpaired, "--crop_size", "32")
    assert "in training" not in capsys.readouterr().err
    run_test(trained["cycle_gan"], tmp_path, unpaired, "--crop_size", "64")
    said = capsys.readouterr().err
    assert "Images are 64x64 here; in training they were 32x32." in said
    assert "--preprocess resize_and_crop --load_size 32 --crop_size 32" in said


@pytest.mark.parametrize("more", [(), ("--aspect_ratio", "1.5")], ids=str)
def test_the_page_and_evaluate_give_the_scores_of_the_files(
    more: tuple[str, ...], trained: dict[str, Path], pairs: Path, tmp_path: Path, capsys: Capture
) -> None:
    results = run_test(trained["pix2pix"], tmp_path, pairs, *more)
    page = (results / "index.html").read_text()
    with commands.imported(commands.ROOT / "scripts" / "evaluate.py") as evaluate:
        report = tmp_path / "scores.json"
        argv = [str(results), "--paired", "--metrics", "L1,PSNR,SSIM", "--json", str(report)]
        evaluate.main(argv)
    found = json.loads(report.read_text())["comparisons"][0]["images"]
    for name in ("L1", "PSNR", "SSIM"):
        shown = re.findall(rf'data-score="{name}" data-value="([^"]+)"', page)
        assert [float(value) for value in shown] == pytest.approx([one[name] for one in found])


# ---- what is in them ----------------------------------------------------------------------


def test_what_reading_loses_is_counted_once_at_the_start(tmp_path: Path, capsys: Capture) -> None:
    draw_unpaired(tmp_path / "data", "train", 2, 1)
    draw_unpaired(tmp_path / "data", "test", 1, 1)
    for name, mode in (("deep", "I;16"), ("deeper", "I;16"), ("clear", "RGBA")):
        for phase in ("train", "test"):
            draw(tmp_path / "data" / f"{phase}A" / f"{name}.png", scene(1).convert(mode))
    for command, phase in ((commands.train, "train"), (commands.test, "test")):
        command(tmp_path, tmp_path / "data", "cycle_gan")
        said = capsys.readouterr()
        assert said.err.count("lose a part") == 1
        assert f"  1 with transparency: it is dropped ({phase}A/clear.png)\n" in said.err
        assert said.out.count("2 images of more than 8 bits are read at that depth") == 1


def test_results_of_many_channels_are_shown_by_their_first_three(
    trained: dict[str, Path], pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Pix2PixModel.forward

    def forward(model: Pix2PixModel) -> None:
        original(model)
        model.fake_B = torch.cat([model.fake_B, model.fake_B], dim=1)

    plain = images(run_test(trained["pix2pix"], tmp_path / "plain", pairs))
    monkeypatch.setattr(Pix2PixModel, "forward", forward)
    results = run_test(trained["pix2pix"], tmp_path / "many", pairs)
    found = images(results)
    assert found.keys() == plain.keys()
    assert all(np.array_equal(found[name], plain[name]) for name in found)
    assert "images/p0_fake_B.png" in Page(results / "index.html").images
