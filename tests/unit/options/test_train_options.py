"""Options of train.py."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "cycle_gan",
            {"no_dropout": True, "dataset_mode": "unaligned", "norm": "instance", "pool_size": 50,
             "netG": "resnet_9blocks", "gan_mode": "lsgan", "lambda_A": 10.0, "lambda_B": 10.0,
             "lambda_identity": 0.5, "lambda_gp": 10.0},
        ),
        (
            "pix2pix",
            {"no_dropout": False, "dataset_mode": "aligned", "norm": "batch", "pool_size": 0,
             "netG": "unet_256", "gan_mode": "vanilla", "lambda_L1": 100.0, "lambda_gp": 10.0},
        ),
        (
            "colorization",
            {"dataset_mode": "colorization", "input_nc": 1, "output_nc": 2, "direction": "AtoB",
             "norm": "batch", "netG": "unet_256", "pool_size": 0, "lambda_L1": 100.0,
             "lambda_gp": 10.0},
        ),
        ("template", {"dataset_mode": "aligned", "lambda_regression": 1.0, "pool_size": 50}),
    ],
)  # fmt: skip
def test_a_model_sets_its_defaults(parse: Any, model: str, expected: dict[str, Any]) -> None:
    opt = vars(parse.train("--model", model))
    assert {name: opt[name] for name in expected} == expected
    assert (opt["phase"], opt["isTrain"]) == ("train", True)


def test_what_is_given_goes_before_a_models_default(parse: Any) -> None:
    opt = parse.train("--model", "pix2pix", "--norm", "instance", "--pool_size", "50")
    assert (opt.norm, opt.pool_size, opt.netG) == ("instance", 50, "unet_256")


def test_a_data_set_may_be_chosen_against_the_models_default(parse: Any) -> None:
    opt = parse.train("--model", "pix2pix", "--dataset_mode", "template")
    assert (opt.dataset_mode, opt.new_dataset_option, opt.max_dataset_size) == ("template", 2.0, 10)


def test_load_size_does_not_follow_crop_size(parse: Any) -> None:
    assert parse.train("--crop_size", "128").load_size == 286


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (["--lr_policy", "liner"], "linear"),
        (["--gan_mode", "wgan-gp"], "wgangp"),
        (["--direction", "Btoa"], "BtoA"),
        (["--preprocess", "noen"], "none"),
        (["--init_type", "xavir"], "xavier"),
        (["--netG", "resnet_9block"], "resnet_9blocks"),
        (["--netD", "n_layer"], "n_layers"),
        (["--norm", "instanse"], "instance"),
        (["--cache", "resize"], "resized"),
    ],
)
@pytest.mark.parametrize("model", ["cycle_gan", "pix2pix", "colorization"])
def test_an_unknown_value_is_answered_with_the_near_miss(
    parse: Any, argv: list[str], near: str, model: str
) -> None:
    message = parse.refused(*argv, "--model", model)
    assert f"{argv[0]} {argv[1]} is not known. Did you mean {near!r}? Available: " in message


@pytest.mark.parametrize("norm", ["batch", "instance", "syncbatch", "none"])
def test_every_norm_is_accepted(parse: Any, norm: str) -> None:
    assert parse.train("--norm", norm).norm == norm
