"""Names of 2017 to 2019 on today's command lines."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import pytest

from options.base_options import BaseOptions
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.storage.old_names import OLD_NAMES, OLD_SWITCHES, OLD_VALUES

Plugin = Callable[[str, str], None]
Capture = pytest.CaptureFixture[str]
MODEL = """
from models.base_model import BaseModel

class {name}Model(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        {options}
        return parser

    def set_input(self, input): ...
    def forward(self): ...
    def optimize_parameters(self): ...
"""
COMMANDS: dict[str, type[BaseOptions]] = {"train": TrainOptions, "test": TestOptions}

PIX2PIX = ["--model", "pix2pix"]
TAKEN = [
    ("train", ["--which_model_netG", "unet_128"], "netG", "unet_128"),
    ("train", ["--which_model_netD=pixel"], "netD", "pixel"),
    ("train", ["--which_direction", "BtoA"], "direction", "BtoA"),
    ("test", ["--which_direction", "BtoA"], "direction", "BtoA"),
    ("test", ["--which_epoch", "200"], "epoch", "200"),
    ("train", ["--loadSize", "143"], "load_size", 143),
    ("train", ["--fineSize=128"], "crop_size", 128),
    ("test", ["--fineSize", "128"], "load_size", 128),  # as with --crop_size alone
    ("train", ["--batchSize", "4"], "batch_size", 4),
    ("train", ["--nThreads", "0"], "num_threads", 0),
    ("train", ["--device_ids", "-1"], "gpu_ids", []),
    ("train", ["--niter", "3"], "n_epochs", 3),
    ("train", ["--niter", "3", "--niter_decay", "4"], "n_epochs_decay", 4),
    ("test", ["--how_many", "7"], "num_test", 7),
    ("test", ["--ntest", "7"], "num_test", 7),
    ("train", ["--resize_or_crop", "crop"], "preprocess", "crop"),
    ("test", ["--resize_or_crop", ""], "preprocess", "none"),
    ("test", ["--resize_or_crop="], "preprocess", "none"),
    ("train", ["--identity", "0"], "lambda_identity", 0.0),
    ("train", ["--display_single_pane_ncols", "2"], "display_ncols", 2),
    ("train", [*PIX2PIX, "--lambda_A", "10"], "lambda_L1", 10.0),
    ("train", ["--model", "colorization", "--lambda_A", "10"], "lambda_L1", 10.0),
    ("train", ["--no_lsgan"], "gan_mode", "vanilla"),
    ("train", ["--align_data"], "dataset_mode", "aligned"),
    ("test", [*PIX2PIX, "--align_data"], "dataset_mode", "aligned"),
    ("train", ["--use_dropout"], "no_dropout", False),
    ("test", ["--model", "cycle_gan", "--use_dropout"], "no_dropout", False),
    ("train", ["--lr_policy", "lambda"], "lr_policy", "linear"),
    ("test", ["--model", "one_direction_test"], "model", "test"),
    ("test", ["--model=one_direction_test"], "dataset_mode", "single"),
]


@pytest.mark.parametrize(("phase", "argv", "name", "value"), TAKEN, ids=str)
def test_an_old_name_is_taken_and_one_line_names_todays(
    parse: Any, capsys: Capture, phase: str, argv: list[str], name: str, value: object
) -> None:
    opt = getattr(parse, phase)(*argv)
    assert getattr(opt, name) == value
    notes = capsys.readouterr().out.partition("- End -")[2]
    old = next(word for word in argv[::-1] if word.startswith("--")).partition("=")[0]
    assert sum(old in line for line in notes.splitlines()) == 1


def test_every_old_name_is_tried_above() -> None:
    tried = {word.partition("=")[0].removeprefix("--") for case in TAKEN for word in case[1]}
    assert set(OLD_NAMES) | set(OLD_SWITCHES) | set(OLD_VALUES) <= tried


@pytest.mark.parametrize(
    ("argv", "note"),
    [
        (["--loadSize", "143"], "--loadSize is called --load_size now."),
        (["--no_lsgan"], "--no_lsgan is --gan_mode vanilla now."),
        (["--use_dropout"], "--use_dropout is the opposite of --no_dropout now."),
        (["--lr_policy", "lambda"], "--lr_policy lambda is called --lr_policy linear now."),
        (["--loadSize=9", "--fineSize=8", "--loadSize=9"],
         "--loadSize is called --load_size now.\n--fineSize is called --crop_size now."),
    ],
)  # fmt: skip
def test_the_line_says_how_to_write_it_today(
    parse: Any, capsys: Capture, argv: list[str], note: str
) -> None:
    parse.train("--gpu_ids", "-1", *argv)
    assert capsys.readouterr().out.partition("- End -")[2].partition("\n")[2] == f"{note}\n"


def test_values_are_those_of_todays_command_line(parse: Any) -> None:
    old = [*PIX2PIX, "--loadSize", "143", "--which_direction=BtoA", "--no_lsgan", "--seed", "1"]
    new = [*PIX2PIX, "--load_size", "143", "--direction=BtoA", "--gan_mode", "vanilla"]
    assert parse.train(*old) == parse.train(*new, "--seed", "1")


@pytest.mark.parametrize("argv", [
    ["--no_lsgan", "--gan_mode", "wgangp"], ["--gan_mode", "wgangp", "--no_lsgan"],
])  # fmt: skip
def test_what_is_said_outright_wins_over_an_old_switch(parse: Any, argv: list[str]) -> None:
    assert parse.train(*argv).gan_mode == "wgangp"


def test_of_an_option_by_two_names_the_last_one_counts(parse: Any) -> None:
    assert parse.train("--loadSize", "300", "--load_size", "290").load_size == 290
    assert parse.train("--load_size", "300", "--loadSize", "290").load_size == 290


def test_old_names_count_as_given(parse: Any, tmp_path: Any) -> None:
    parse.train("--name", "run", *PIX2PIX, "--which_model_netG", "unet_128", "--no_dropout")
    opt = parse.test("--name", "run", *PIX2PIX)
    assert (opt.netG, opt.no_dropout) == ("unet_128", True)
    opt = parse.test("--name", "run", *PIX2PIX, "--which_model_netG=unet_256", "--use_dropout")
    assert (opt.netG, opt.no_dropout) == ("unet_256", False)


def test_of_cycle_gan_lambda_a_is_what_it_was(parse: Any, capsys: Capture) -> None:
    assert parse.train("--lambda_A", "5").lambda_A == 5.0
    assert "now" not in capsys.readouterr().out


@pytest.mark.parametrize("option", ["display_id", "display_server", "display_env", "display_port"])
@pytest.mark.parametrize("joined", [False, True])
def test_test_py_takes_what_is_for_live_display_and_says_that_it_does_nothing(
    parse: Any, capsys: Capture, option: str, joined: bool
) -> None:
    words = [f"--{option}=-1"] if joined else [f"--{option}", "-1"]
    opt = parse.test(*words, "--num_test", "3")
    assert (opt.num_test, hasattr(opt, option)) == (3, False)
    assert f"--{option} is for train.py: it is not used here." in capsys.readouterr().out


def test_train_py_uses_its_display_id(parse: Any, capsys: Capture) -> None:
    assert parse.train("--display_id", "-1").display_id == -1
    assert "not used" not in capsys.readouterr().out


# ---- whose name it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*OLD_NAMES, *OLD_SWITCHES])
def test_a_plugin_that_defines_an_option_of_such_a_name_owns_it(
    parse: Any, plugin: Plugin, capsys: Capture, name: str
) -> None:
    source = f"parser.add_argument('--{name}', type=str, default='none')"
    plugin("owning_model", MODEL.format(name="Owning", options=source))
    for value in ("theirs", ""):
        opt = parse.train("--model", "owning", f"--{name}", value)
        assert getattr(opt, name) == value
    before = parse.train("--model", "owning")
    new = OLD_NAMES[name] if name in OLD_NAMES else OLD_SWITCHES[name][0]
    assert getattr(opt, new, None) == getattr(before, new, None)
    assert " now." not in capsys.readouterr().out


def test_a_data_set_that_defines_align_data_is_not_replaced_by_another_one(
    parse: Any, plugin: Plugin
) -> None:
    plugin("owning_dataset", """
from data.aligned_dataset import AlignedDataset
class OwningDataset(AlignedDataset):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.add_argument("--align_data", action="store_true")
        return parser
""")  # fmt: skip
    opt = parse.train("--dataset_mode", "owning", "--align_data")
    assert (opt.dataset_mode, opt.align_data) == ("owning", True)


def test_an_abbreviation_of_a_plugins_option_is_that_option(parse: Any, plugin: Plugin) -> None:
    source = "parser.add_argument('--identity_weight', type=float, default=1.0)"
    plugin("owning_model", MODEL.format(name="Owning", options=source))
    assert parse.train("--model", "owning", "--identity", "3").identity_weight == 3.0


def test_a_model_of_yours_may_be_called_as_one_was_then(parse: Any, plugin: Plugin) -> None:
    plugin("one_direction_test_model", MODEL.format(name="OneDirectionTest", options="pass"))
    assert parse.test("--model", "one_direction_test").model == "one_direction_test"


@pytest.mark.parametrize("abbreviation", ["--which_d", "--loadS", "--nit", "--ident", "--how"])
def test_old_names_have_no_abbreviations(parse: Any, abbreviation: str) -> None:
    assert f"unrecognized arguments: {abbreviation} 1" in parse.refused(abbreviation, "1")


def test_abbreviations_of_todays_names_mean_what_they_did(parse: Any) -> None:
    assert parse.train("--gpu", "-1").gpu_ids == []
    assert parse.train("--batch", "3", "--crop", "8", "--num_thr", "0").batch_size == 3


@pytest.mark.parametrize("options", COMMANDS.values())
@pytest.mark.parametrize("model", ["cycle_gan", "pix2pix"])
def test_help_does_not_show_old_names(
    capsys: Capture, options: type[BaseOptions], model: str
) -> None:
    with pytest.raises(SystemExit):
        options().parse(["--model", model, "--help"])
    text = capsys.readouterr().out
    assert "--load_size" in text
    old = {*OLD_NAMES, *OLD_SWITCHES} - {"lambda_A"}
    assert [name for name in old if f"--{name}" in text.split()] == []


@pytest.mark.parametrize(
    ("options", "argv", "message"),
    [
        (TestOptions, ["--niter", "5"],
         "--niter is called --n_epochs now, which is no option here."),
        (TestOptions, [*PIX2PIX, "--lambda_A", "3"], "unrecognized arguments: --lambda_A 3"),
        (TrainOptions, ["--loadSize", "x"], "--loadSize is called --load_size now."),
        (TrainOptions, ["--fineSize", "-8"], "--fineSize is called --crop_size now."),
        (TrainOptions, ["--no_lsgan", "1"], "unrecognized arguments: 1"),
    ],
)  # fmt: skip
def test_errors_name_what_was_written(
    parse: Any, options: type[BaseOptions], argv: list[str], message: str
) -> None:
    assert message in parse.refused(*argv, options=options)


# ---- a run's name -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run", "deep/er/run"])
@pytest.mark.parametrize("phase", COMMANDS)
def test_a_whole_path_below_checkpoints_dir_is_the_runs_name(
    parse: Any, phase: str, name: str
) -> None:
    opt: Namespace = getattr(parse, phase)("--name", str(parse.folder / name))
    assert opt.name == name
    assert (parse.folder / name / f"{phase}_opt.txt").is_file()


@pytest.mark.parametrize("path", ["", "..", "../elsewhere", "run/../../elsewhere"])
def test_a_whole_path_elsewhere_is_refused(parse: Any, path: str) -> None:
    assert "it is a whole path" in parse.refused("--name", f"{parse.folder}/{path}")


def test_the_folders_name_alone_is_not_enough(parse: Any) -> None:
    assert "it is a whole path" in parse.refused("--name", f"{parse.folder}_2/run")


def test_checkpoints_dir_may_be_relative(parse: Any) -> None:
    opt = parse.train("--checkpoints_dir", "here", "--name", str(parse.folder.parent / "here/run"))
    assert opt.name == "run"
