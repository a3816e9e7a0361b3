"""Runs whose command lines are of 2017, or name the run by its whole path."""

import json
from pathlib import Path

import pytest

from tests.support import commands
from tests.support.commands import draw, draw_pairs, names, scene, size


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of pairs."""
    root = tmp_path_factory.mktemp("pairs")
    for phase in ("train", "test"):
        draw_pairs(root, phase, 2)
    return root


def test_a_run_of_2017_trains_and_tests(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = ["--which_direction", "BtoA", "--align_data", "--use_dropout", "--nThreads=0"]
    old += ["--fineSize", "32", "--which_model_netG", "resnet_6blocks", "--device_ids", "-1"]
    old += ["--resize_or_crop", "resize_and_crop", "--which_epoch", "latest"]
    training = ["--no_lsgan", "--lambda_A", "7", "--niter", "1", "--niter_decay", "1"]
    training += ["--batchSize", "2", "--which_model_netD", "basic", "--loadSize", "36"]
    training += ["--display_single_pane_ncols", "2"]
    run = commands.train(tmp_path, pairs, "pix2pix", *old, *training)
    saved = json.loads((run / "train_opt.json").read_text())
    meant = {
        "direction": "BtoA", "dataset_mode": "aligned", "no_dropout": False, "gan_mode": "vanilla",
        "lambda_L1": 7.0, "n_epochs": 1, "n_epochs_decay": 1, "batch_size": 2,
    }  # fmt: skip
    assert {name: saved[name] for name in meant} == meant
    said = capsys.readouterr().out
    assert "--lambda_A is called --lambda_L1 now." in said
    assert_each_is_told_once([*old, *training], said)
    tested = [*old, "--how_many=1", "--display_id", "0"]
    results = commands.test(tmp_path, pairs, "pix2pix", *tested)
    assert names(results / "images") == ["p0_fake_B.png", "p0_real_A.png", "p0_real_B.png"]
    said = capsys.readouterr().out
    assert "--how_many is called --num_test now." in said
    assert "--display_id is for train.py: it is not used here." in said
    assert_each_is_told_once(tested, said)
    single = ["--model", "one_direction_test", "--ntest", "1", "--which_model_netG=resnet_6blocks"]
    results = commands.test(tmp_path, pairs / "test", "test", *single)
    assert names(results / "images", "p0_fake.png") == ["p0_fake.png"]
    assert_each_is_told_once(single, capsys.readouterr().out)


def assert_each_is_told_once(words: list[str], said: str) -> None:
    """Look for one line for each option, which begins with it."""
    lines = said.partition("- End -")[2].splitlines()
    for flag in {word.partition("=")[0] for word in words if word.startswith("--")}:
        assert sum(line.startswith(f"{flag} ") for line in lines) == 1, flag


def test_a_run_may_be_named_by_its_whole_path(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "checkpoints" / "by_path"
    named = ["--name", str(path)]
    commands.train(tmp_path, pairs, "pix2pix", *named)
    assert names(tmp_path / "checkpoints", "*/latest_net_G.pth") == ["latest_net_G.pth"]
    commands.script("train", [*named, "--checkpoints_dir", str(path.parent), "--continue_train",
                              "--n_epochs", "2"])  # fmt: skip
    assert "2_net_G.pth" in names(path)
    commands.test(tmp_path, pairs, "pix2pix", *named)
    assert names(tmp_path / "results" / "by_path" / "test_latest" / "images")
    said = capsys.readouterr().err.splitlines()
    assert not [line for line in said if "--name" in line and "python test.py" not in line]


def test_oblong_images_keep_their_shape_by_their_shorter_side(tmp_path: Path) -> None:
    for folder, (width, height) in {
        "trainA": (80, 40),
        "trainB": (40, 80),
        "testA": (80, 40),
    }.items():
        draw(tmp_path / folder / "a.png", scene(1, 80).resize((width, height)))
    scaled = ("--preprocess", "scale_shortside_and_crop", "--load_size", "36")
    run = commands.train(tmp_path, tmp_path, "cycle_gan", *scaled)
    assert "latest_net_G_A.pth" in names(run)
    results = commands.test(
        tmp_path, tmp_path / "testA", "test", "--preprocess", "scale_shortside", "--load_size", "32"
    )
    assert size(results / "images" / "a_fake.png") == (64, 32)
