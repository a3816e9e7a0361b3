"""Options of test.py: which images, in which order, what is saved, how layers compute."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import commands
from tests.support.commands import ROOT, Page, draw, imported, scene
from tests.support.generators import save_run
from util.images.pixels import stored_values
from util.images.reading import read_image
from util.inference.results import Results, columns_of

# Mean levels; what an untrained network makes is noise.
LOSSES = {("jpg", "real_B"): 3, ("jpg", "fake_B"): 9, ("webp", "real_B"): 6, ("webp", "fake_B"): 99}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run with batch norm and dropout."""
    folder = tmp_path_factory.mktemp("run")
    commands.train(folder, pairs, "pix2pix", "--init_gain", "0.5")
    return folder


def result(run: Path, folder: Path, root: Path, *more: str, model: str = "pix2pix") -> Path:
    """Test the run, and return the folder of results."""
    commands.test(run, root, model, *more, "--results_dir", str(folder))
    return folder / "run" / "test_latest"


def pixels(results: Path) -> dict[str, Any]:
    """Return the images of a test by name."""
    return {path.name: np.asarray(Image.open(path)) for path in results.glob("images/*")}


def test_only_the_images_that_are_asked_for_are_saved_in_their_order(
    run: Path, pairs: Path, tmp_path: Path, capsys: Capture
) -> None:
    whole = result(run, tmp_path / "all", pairs)
    some = result(run, tmp_path / "some", pairs, "--visuals", "fake_B, real_A")
    assert "Score them with" in capsys.readouterr().out
    page = Page(some / "index.html")
    assert page.images == [f"images/p{i}_{v}.png" for i in (0, 1) for v in ("fake_B", "real_A")]
    assert sorted(path.name for path in (some / "images").iterdir()) == [
        Path(image).name for image in sorted(page.images)
    ]
    for name, image in pixels(some).items():
        assert np.array_equal(image, pixels(whole)[name])
    # Scores are those of all images; what is compared later must be there.
    assert "PSNR" in (some / "index.html").read_text()
    assert json.loads((whole / "pairs.json").read_text()) == {"fake_B": "real_B"}
    assert not (some / "pairs.json").exists()
    with imported(ROOT / "scripts" / "evaluate.py") as evaluate:
        assert commands.ended(evaluate.main, [some]) == 1
    assert "only x_fake_B, x_real_A" in capsys.readouterr().err
    one = result(run, tmp_path / "one", pairs, "--visuals", "fake_B")
    assert "Score them with" not in capsys.readouterr().out
    columns = columns_of([Results.of("one", one)], None)
    assert [column.visual for column in columns] == ["fake_B"]  # there is no input to show


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif", "npy"])
def test_results_are_saved_in_the_format_that_is_asked_for(
    kind: str, run: Path, pairs: Path, tmp_path: Path
) -> None:
    options = "--num_test", "1", "--visuals", "fake_B,real_B"
    plain = result(run, tmp_path / "plain", pairs, *options)
    found = result(run, tmp_path / kind, pairs, *options, "--result_format", kind)
    for label in ("fake_B", "real_B"):
        made = read_image(found / "images" / f"p0_{label}.{kind}", 3)
        wanted = stored_values(read_image(plain / "images" / f"p0_{label}.png", 3)).float()
        difference = (stored_values(made).float() - wanted).abs().mean()
        assert difference <= LOSSES.get((kind, label), 0)
    assert len(list((found / "images").iterdir())) == (4 if kind in ("tif", "npy") else 2)
    assert len(Page(found / "index.html").images) == 2  # which are there
    with imported(ROOT / "scripts" / "evaluate.py") as evaluate:
        assert commands.ended(evaluate.main, [found, "--metrics", "L1"]) == 0


def test_files_of_an_earlier_format_are_cleared_away(
    run: Path, pairs: Path, tmp_path: Path
) -> None:
    for kind in ("npy", "jpg"):
        options = "--num_test", "1", "--visuals", "fake_B", "--result_format", kind
        found = result(run, tmp_path, pairs, *options)
    assert commands.names(found / "images") == ["p0_fake_B.jpg"]


def test_what_a_killed_test_had_begun_to_write_is_removed(
    run: Path, pairs: Path, tmp_path: Path
) -> None:
    images = tmp_path / "run" / "test_latest" / "images"
    images.mkdir(parents=True)
    with subprocess.Popen(["true"]) as killed:
        pass
    for pid in (killed.pid, os.getppid()):
        (images / f".{pid}-1.tmp-p0_fake_B.png").write_bytes(b"begun")
    result(run, tmp_path, pairs)
    hidden = [path.name for path in images.iterdir() if path.name.startswith(".")]
    assert hidden == [f".{os.getppid()}-1.tmp-p0_fake_B.png"]  # which is writing it still


def test_one_channel_is_one_in_the_format_that_is_asked_for(tmp_path: Path) -> None:
    for number in range(2):
        draw(tmp_path / "in" / f"{number}.png", scene(number))
    save_run(tmp_path / "checkpoints" / "run", "cycle_gan", "G_A", input_nc=3, output_nc=1)
    found = result(tmp_path, tmp_path / "results", tmp_path / "in", "--no_dropout",
                   "--result_format", "png", "--output_nc", "1", "--norm", "instance",
                   model="test")  # fmt: skip
    with Image.open(found / "images" / "0_fake.png") as made:
        assert made.mode == "L"
    with Image.open(found / "images" / "0_real.png") as real:
        assert real.mode == "RGB"


def test_all_images_are_translated_with_minus_one(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    for number in range(3):
        draw(tmp_path / "in" / f"{number}.png", scene(number))
    result(run, tmp_path, tmp_path / "in", "--num_test", "-1", "--visuals", "fake", model="test")
    found = capsys.readouterr()
    assert "warning" not in found.err
    assert len(pixels(tmp_path / "run" / "test_latest")) == 3


def test_frames_are_in_natural_order_when_asked(run: Path, tmp_path: Path) -> None:
    for number in (1, 2, 10):
        draw(tmp_path / "in" / f"frame{number}.png", scene(number))
    arguments = run, tmp_path, tmp_path / "in", "--num_test", "2"
    plain = Page(result(*arguments, model="test") / "index.html")
    assert plain.headings == ["frame1", "frame10"]
    natural = Page(result(*arguments, "--natural_order", model="test") / "index.html")
    assert natural.headings == ["frame1", "frame2"]


def test_one_image_and_a_list_give_what_their_folder_gives(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number in range(3):
        draw(folder / f"{number}.png", scene(number))
    (tmp_path / "list.txt").write_text("# the last first\nin/2.png\n\nin/0.png\n")
    (folder / "list.txt").write_text("2.png\n0.png\n")
    whole = pixels(result(run, tmp_path / "folder", folder, model="test"))
    one = pixels(result(run, tmp_path / "one", folder / "2.png", model="test"))
    assert one.keys() == {"2_fake.png", "2_real.png"}
    listed = result(run, tmp_path / "list", folder / "list.txt", model="test")
    assert Page(listed / "index.html").headings == ["2", "0"]
    for name, image in (one | pixels(listed)).items():
        assert np.array_equal(image, whole[name]), name
    elsewhere = result(run, tmp_path / "elsewhere", tmp_path / "list.txt", model="test")
    assert Page(elsewhere / "index.html").headings == ["2", "0"]


def test_pairs_in_a_list_are_trained_on_and_tested(pairs: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(2):
        draw(root / "A" / f"{number}.png", scene(number, outlined=True))
        draw(root / "B" / f"other{number}.png", scene(number))
    (root / "train.txt").write_text("A/0.png\tB/other0.png\nA/1.png\tB/other1.png\n")
    (root / "test.txt").write_text("A/1.png\tB/other1.png\n")
    commands.train(tmp_path, root, "pix2pix")
    found = pixels(commands.test(tmp_path, root, "pix2pix"))
    assert found.keys() == {"1_fake_B.png", "1_real_A.png", "1_real_B.png"}
    again = pixels(commands.test(tmp_path, root / "test.txt", "pix2pix"))
    assert all(np.array_equal(found[name], again[name]) for name in found)


@pytest.mark.parametrize(
    ("like", "options"),
    [
        ((), ("--test_norm", "batch", "--test_dropout", "on", "--eval")),
        (("--eval",), ("--test_norm", "running", "--test_dropout", "off")),
    ],
)
def test_norms_and_dropout_are_what_their_options_say(
    like: tuple[str, ...], options: tuple[str, ...], run: Path, pairs: Path, tmp_path: Path
) -> None:
    one = {"--visuals": "fake_B", "--num_test": "1"}
    words = [word for item in one.items() for word in item]
    wanted, found, mixed = (
        pixels(result(run, tmp_path / str(i), pairs, *words, *more))["p0_fake_B.png"]
        for i, more in enumerate((like, options, ("--test_norm", "running")))
    )
    assert np.array_equal(found, wanted)
    assert not np.array_equal(mixed, wanted)


def test_options_for_layers_that_are_not_there_are_told(
    unpaired: Path, tmp_path: Path, capsys: Capture
) -> None:
    commands.train(tmp_path, unpaired, "cycle_gan", "--max_dataset_size", "1")
    options = "--test_norm", "running", "--test_dropout", "on", "--num_test", "1"
    commands.test(tmp_path, unpaired, "cycle_gan", *options)
    told = capsys.readouterr().err
    assert "--test_norm running does nothing: the networks have no batch norm" in told
    assert "--test_dropout on does nothing: the networks have no dropout" in told
