"""Test without guessing: what training decided is taken from beside the checkpoint."""

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_script
import train as train_script
from options.test_options import TestOptions
from tests.support.checkpoints import save_state
from util.storage.checkpoint import load_state

RUN = (
    "--gpu_ids -1 --num_threads 0 --display_id -1 --ndf 4 --n_epochs 1 --n_epochs_decay 0 "
    "--load_size 40 --crop_size 32 --no_html"
)
CYCLE_GAN = "--model cycle_gan --netG resnet_6blocks --ngf 3 --norm batch"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, unpaired: Path, pairs: Path) -> Path:
    """Train small networks whose options are none of the defaults."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, arguments in (
        ("cycle", f"--dataroot '{unpaired}' {CYCLE_GAN}"),
        (
            "channels",
            f"--dataroot '{unpaired}' {CYCLE_GAN} --input_nc 1 --output_nc 3 --lambda_identity 0",
        ),
        (
            "pairs",
            f"--dataroot '{pairs}' --model pix2pix --netG resnet_6blocks --ngf 3 --norm instance "
            "--direction BtoA",
        ),
    ):
        argv = shlex.split(f"{arguments} {RUN} --name {name} --checkpoints_dir '{folder}'")
        train_script.main(argv)
    return folder


def parsed(folder: Path, arguments: str) -> object:
    argv = shlex.split(f"--dataroot X --gpu_ids -1 --checkpoints_dir '{folder}' {arguments}")
    return TestOptions().parse(argv)


def values(opt: object, names: str) -> list[object]:
    return [getattr(opt, name) for name in names.split()]


def images(folder: Path) -> dict[str, np.ndarray]:
    found = {file.name: np.asarray(Image.open(file)) for file in sorted(folder.rglob("*.png"))}
    assert found
    return found


def results(tmp_path: Path, checkpoints: Path, arguments: str) -> dict[str, np.ndarray]:
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
    argv = f"--gpu_ids -1 --checkpoints_dir '{checkpoints}' --results_dir '{tmp_path}/results' "
    test_script.main(shlex.split(f"{argv} {arguments}"))
    return images(tmp_path / "results")


NETWORK = "netG norm ngf input_nc output_nc no_dropout"


def test_values_that_were_tampered_with_are_taken_as_the_command_line_would(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    saved = '{"ngf": "many", "norm": "batch", "input_nc": 1.5, "output_nc": null, "netG": 5}'
    (tmp_path / "run/train_opt.json").write_text(saved)
    with pytest.raises(SystemExit):
        parsed(tmp_path, "--name run")
    said = capsys.readouterr()
    assert "netG 5, norm batch" in said.out
    assert "--netG 5 is not known" in said.err
    opt = parsed(tmp_path, "--name run --netG unet_128")
    assert values(opt, "ngf norm input_nc output_nc") == [64, "batch", 3, 3]


@pytest.mark.parametrize("source", ["json", "text", "damaged json", "checkpoint"])
def test_network_options_come_from_the_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    folder = tmp_path / "cycle"
    shutil.copytree(trained / "cycle", folder)
    if source == "damaged json":
        (folder / "train_opt.json").write_text('{"netG": "res')
    elif source != "json":
        (folder / "train_opt.json").unlink()
    if source == "checkpoint":
        (folder / "train_opt.txt").unlink()
    for model in ("test", "cycle_gan"):
        opt = parsed(tmp_path, f"--name cycle --model {model}")
        assert values(opt, NETWORK) == ["resnet_6blocks", "batch", 3, 3, 3, True]
    file = {"json": "train_opt.json", "checkpoint": "latest_net_G_A.pth"}
    said = capsys.readouterr().out
    assert f"Taken from {folder / file.get(source, 'train_opt.txt')}: netG resnet_6blocks" in said


def test_what_is_given_wins(trained: Path) -> None:
    opt = parsed(trained, "--name cycle --netG unet_128 --ngf 7 --norm none")
    assert values(opt, "netG ngf norm") == ["unet_128", 7, "none"]


def test_sizes_of_images_are_not_taken_over(trained: Path) -> None:
    opt = parsed(trained, "--name cycle")
    assert values(opt, "load_size crop_size preprocess batch_size num_threads") == [
        256, 256, "resize_and_crop", 1, 4
    ]  # fmt: skip


def test_direction_is_taken_over_by_models_that_have_two_sides(trained: Path) -> None:
    assert values(parsed(trained, "--name pairs --model pix2pix"), "direction") == ["BtoA"]
    assert values(
        parsed(trained, "--name pairs --model pix2pix --direction AtoB"), "direction"
    ) == ["AtoB"]


@pytest.mark.parametrize(
    ("arguments", "suffix"),
    [
        ("--name pairs", ""),
        ("--name pairs --direction AtoB", ""),
        ("--name cycle", "_A"),
        ("--name cycle --direction AtoB", "_A"),
        ("--name cycle --direction BtoA", "_B"),
        ("--name cycle --model_suffix _B", "_B"),
        ("--name cycle --model_suffix _A --direction BtoA", "_A"),
    ],
)
def test_model_test_finds_its_generator(trained: Path, arguments: str, suffix: str) -> None:
    assert values(parsed(trained, arguments), "model model_suffix") == ["test", suffix]


@pytest.mark.parametrize("with_options", [True, False])
@pytest.mark.parametrize(
    ("arguments", "channels"),
    [("", [1, 3]), ("--direction BtoA", [3, 1]), ("--model_suffix _B", [3, 1])],
)
def test_channels_are_those_of_the_generator(
    trained: Path,
    tmp_path: Path,
    unpaired: Path,
    arguments: str,
    channels: list[int],
    with_options: bool,
) -> None:
    shutil.copytree(trained / "channels", tmp_path / "run")
    if not with_options:
        for file in (tmp_path / "run").glob("train_opt.*"):
            file.unlink()
    opt = parsed(tmp_path, f"--name run {arguments}")
    assert values(opt, "input_nc output_nc") == channels
    made = results(tmp_path, tmp_path, f"--dataroot '{unpaired}/testA' --name run {arguments}")
    grey = {name: np.ptp(image, axis=2).max() == 0 for name, image in made.items()}
    assert all(grey[name] == (channels[0] == 1) for name in grey if "_real" in name)
    assert all(grey[name] == (channels[1] == 1) for name in grey if "_fake" in name)


def test_images_equal_those_with_every_option_repeated(
    trained: Path, tmp_path: Path, unpaired: Path
) -> None:
    data = f"--dataroot '{unpaired}/testA' --name cycle"
    short = results(tmp_path, trained, data)
    long = results(
        tmp_path, trained,
        f"{data} --model test --model_suffix _A --no_dropout --netG resnet_6blocks --ngf 3 "
        "--norm batch --input_nc 3 --output_nc 3",
    )  # fmt: skip
    assert short.keys() == long.keys()
    for name, image in short.items():
        assert np.array_equal(image, long[name]), name


def test_a_checkpoint_inside_another_dict_is_taken_and_described(
    trained: Path, tmp_path: Path, pairs: Path
) -> None:
    plain, wrapped = trained / "pairs" / "latest_net_G.pth", tmp_path / "made" / "latest_net_G.pth"
    wrapped.parent.mkdir()
    save_state({"epoch": 7, "state_dict": load_state(plain)}, wrapped)
    sizes = f"--dataroot '{pairs}/test' --load_size 32 --crop_size 32"  # no options of training
    expected = results(tmp_path, trained, f"--name pairs --model test {sizes}")
    found = results(tmp_path, tmp_path, f"--name made --model test {sizes}")
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in found)


def test_dropout_is_the_same_in_two_runs(trained: Path, tmp_path: Path, pairs: Path) -> None:
    data = f"--dataroot '{pairs}' --name pairs --model pix2pix"  # trained with dropout
    first, second = (results(tmp_path, trained, data) for _ in range(2))
    for name, image in first.items():
        assert np.array_equal(image, second[name]), name


def test_images_left_out_are_mentioned(
    trained: Path, tmp_path: Path, unpaired: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"--dataroot '{unpaired}/testA' --name cycle"
    results(tmp_path, trained, f"{data} --num_test 1")
    assert "1 of 2 images were translated; --num_test 2" in capsys.readouterr().err
    results(tmp_path, trained, data)
    assert "images were translated" not in capsys.readouterr().err


def test_a_unet_without_options_says_what_it_cannot_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from models.networks import define_G

    (tmp_path / "run").mkdir()
    torch.save(define_G(3, 3, 2, "unet_128", "batch").state_dict(),  # noqa: TID251
               tmp_path / "run/latest_net_G.pth")  # fmt: skip
    opt = parsed(tmp_path, "--name run")
    assert values(opt, "netG norm ngf no_dropout") == ["unet_128", "batch", 2, False]
    assert "--no_dropout decides" in capsys.readouterr().out


def test_options_of_a_plugin_are_taken_over(trained: Path, tmp_path: Path) -> None:
    """`new_dataset_option` is declared by the template data set, for training and testing."""
    (tmp_path / "run").mkdir()
    for file in ("train_opt.txt", "train_opt.json"):
        (tmp_path / "run" / file).unlink(missing_ok=True)
        (tmp_path / "run" / file).write_text(
            "       new_dataset_option: 7.5                           \t[default: 2.0]\n"
            if file.endswith("txt")
            else '{"new_dataset_option": 7.5}'
        )
        opt = parsed(tmp_path, "--name run --model template --dataset_mode template")
        assert values(opt, "new_dataset_option") == [7.5]


# ---- --pretrained -------------------------------------------------------------------------


def start(tmp_path: Path, trained: Path, unpaired: Path, pretrained: str, extra: str = "") -> str:
    """Train nothing (one image, rate 0) from other networks; return the new run's folder."""
    argv = (
        f"--dataroot '{unpaired}' {CYCLE_GAN} {RUN} --max_dataset_size 1 --lr 0 --name new "
        f"--pretrained '{pretrained}' --checkpoints_dir '{tmp_path}' {extra}"
    )
    train_script.main(shlex.split(argv))
    return str(tmp_path / "new")


def weights(folder: str | Path, name: str) -> dict[str, torch.Tensor]:
    path = Path(folder, f"latest_net_{name}.pth")
    return dict(torch.load(path, weights_only=True))  # noqa: TID251


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    keys = [key for key in a if key.endswith((".weight", ".bias"))]
    return all(a[key].shape == b[key].shape and torch.equal(a[key], b[key]) for key in keys)


@pytest.mark.parametrize("as_name", [True, False])
def test_pretrained_run_is_taken_over(
    trained: Path, tmp_path: Path, unpaired: Path, as_name: bool
) -> None:
    shutil.copytree(trained / "cycle", tmp_path / "cycle")
    source = "cycle" if as_name else str(tmp_path / "cycle")
    new = start(tmp_path, trained, unpaired, source)
    for name in ("G_A", "G_B", "D_A", "D_B"):
        assert equal(weights(new, name), weights(trained / "cycle", name)), name


def test_pretrained_epoch_is_the_one_that_was_asked_for(
    trained: Path, tmp_path: Path, unpaired: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "released").mkdir()
    for label, source in (("latest", "G_A"), ("7", "G_B")):
        file = trained / f"cycle/latest_net_{source}.pth"
        shutil.copy(file, tmp_path / "released" / f"{label}_net_G_A.pth")
    new = start(tmp_path, trained, unpaired, "released", "--epoch 7")
    assert equal(weights(new, "G_A"), weights(trained / "cycle", "G_B"))
    with pytest.raises(ValueError, match="no checkpoint of 8 of the net"):
        start(tmp_path, trained, unpaired, "released", "--epoch 8")
    capsys.readouterr()
    start(tmp_path, trained, unpaired, str(tmp_path / "released/7_net_G_A.pth"), "--epoch 8")
    assert "is one file: which epoch to take (8) means nothing" in capsys.readouterr().out


def test_missing_discriminators_start_fresh(
    trained: Path, tmp_path: Path, unpaired: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "released").mkdir()
    for name in ("G_A", "G_B"):
        shutil.copy(trained / f"cycle/latest_net_{name}.pth", tmp_path / "released")
    new = start(tmp_path, trained, unpaired, "released")
    assert equal(weights(new, "G_B"), weights(trained / "cycle", "G_B"))
    assert not equal(weights(new, "D_A"), weights(trained / "cycle", "D_A"))
    assert "has no network D_A: it starts fresh" in capsys.readouterr().out


def test_one_file_goes_into_the_network_it_is_named_after(
    trained: Path, tmp_path: Path, unpaired: Path
) -> None:
    new = start(tmp_path, trained, unpaired, str(trained / "cycle/latest_net_G_B.pth"))
    assert equal(weights(new, "G_B"), weights(trained / "cycle", "G_B"))
    assert not equal(weights(new, "G_A"), weights(trained / "cycle", "G_A"))


def test_what_does_not_fit_is_listed_and_left_out(
    trained: Path, tmp_path: Path, unpaired: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained / "channels/latest_net_G_A.pth"  # its first convolution takes one channel
    new = start(tmp_path, trained, unpaired, str(file))
    said = capsys.readouterr().out
    assert f"without 1 of {len(weights(new, 'G_A'))} tensors" in said
    assert "model.1.weight has the shape (3, 1, 7, 7) instead of (3, 3, 7, 7)" in said
    old, now = weights(trained / "channels", "G_A"), weights(new, "G_A")
    assert torch.equal(old["model.4.weight"], now["model.4.weight"])
