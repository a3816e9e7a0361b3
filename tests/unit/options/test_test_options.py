"""Options of test.py."""

from typing import Any

import pytest

from options.test_options import TestOptions


def test_the_defaults_are_those_of_testing(parse: Any) -> None:
    opt = parse.test()
    assert (opt.model, opt.dataset_mode, opt.phase) == ("test", "single", "test")
    assert (opt.load_size, opt.crop_size) == (256, 256)  # no random crop
    assert (opt.num_test, opt.results_dir, opt.model_suffix) == (50, "./results/", "")
    assert not opt.isTrain
    assert not opt.eval


@pytest.mark.parametrize(
    ("argv", "load_size", "crop_size"),
    [
        (["--crop_size", "512"], 512, 512),
        (["--crop_size=128"], 128, 128),
        (["--crop", "128"], 128, 128),
        (["--crop_size", "256"], 256, 256),
        (["--crop_size", "128", "--load_size", "200"], 200, 128),
        (["--crop_size", "128", "--load_size", "256"], 256, 128),  # the default, but given
        (["--load_s", "300", "--crop_size", "128"], 300, 128),
        (["--load_size", "300"], 300, 256),
    ],
)
@pytest.mark.parametrize("model", ["test", "pix2pix"])
def test_load_size_follows_a_given_crop_size_unless_it_is_given_itself(
    parse: Any, argv: list[str], load_size: int, crop_size: int, model: str
) -> None:
    opt = parse.test(*argv, "--model", model)
    assert (opt.load_size, opt.crop_size) == (load_size, crop_size)


def test_the_size_that_followed_is_in_the_option_file(parse: Any) -> None:
    parse.test("--crop_size", "512", "--name", "run")
    text = (parse.folder / "run" / "test_opt.txt").read_text()
    assert "                load_size: 512" in text


@pytest.mark.parametrize("argv", [["--lr", "0.1"], ["--lambda_A", "1"], ["--pool_size", "1"]])
def test_training_options_are_unknown(parse: Any, argv: list[str]) -> None:
    message = parse.refused(*argv, "--model", "cycle_gan", options=TestOptions)
    assert argv[0] in message


@pytest.mark.parametrize(
    "argv", [["--direction", "Atob"], ["--netG", "unet_265"], ["--preprocess", "rezise"]]
)
def test_values_are_checked_as_in_training(parse: Any, argv: list[str]) -> None:
    message = parse.refused(*argv, options=TestOptions)
    assert f"{argv[0]} {argv[1]} is not known. Did you mean" in message
