"""Command lines with slips: what was probably meant is said."""

from typing import Any

import pytest

from options.base_options import BaseOptions
from options.parsing.misspelt import OF_ANOTHER, near
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.base.new_options import DEFAULTS
from util.storage.old_names import OLD_NAMES

DID_YOU_MEAN = {
    "--continue_tran": "--continue_train",
    "--batch-size 4": "--batch_size",
    "--bath_size 4": "--batch_size",
    "--epochs 5": "--n_epochs",
    "--n_epoch_decay 5": "--n_epochs_decay",
    "--modle pix2pix": "--model",
    "--loadsize 286": "--load_size",
    "--load-size=286": "--load_size",
    "--which_model_netg unet_256": "--netG",
    "--lamda_identity 0": "--lambda_identity",
    "--gpuids 0": "--gpu_ids",
    "--num_workers 2": "--num_threads",
    "--learning_rate 0.1": "--lr",
    "--hepl": "--help",
    "-name run": "--name",
    "-direction=BtoA": "--direction",
    "—model pix2pix": "--model",
    "–gpu-ids 0": "--gpu_ids",
    "--batch_size4": "--batch_size 4",
    "--lr.001": "--lr .001",
    "--gpu_ids-1": "--gpu_ids -1",
    "--checkpoints_dir./here": "--checkpoints_dir ./here",
    "--n_epochs100": "--n_epochs 100",
}


@pytest.mark.parametrize("slip", DID_YOU_MEAN)
def test_an_option_that_does_not_exist_is_answered_with_the_one_that_was_meant(
    parse: Any, slip: str
) -> None:
    message = parse.refused(*slip.split())
    flag = slip.split()[0].partition("=")[0]
    assert message.splitlines()[-1] == f"  {flag}: did you mean {DID_YOU_MEAN[slip]}?"
    assert slip in message


def test_two_options_may_be_near() -> None:
    assert near("--lambda_C", ["--lambda_A", "--lambda_B", "--lr"]) == ["--lambda_B", "--lambda_A"]
    assert near("--n_epoch_cont", ["--epoch_count", "--n_epochs", "--lr"])[0] == "--epoch_count"


def test_what_is_near_to_nothing_gets_no_guess(parse: Any) -> None:
    assert parse.refused("--bogus", "3").endswith("error: unrecognized arguments: --bogus 3\n")


def test_options_of_the_chosen_model_count(parse: Any) -> None:
    assert "did you mean --lambda_L1?" in parse.refused("--model", "pix2pix", "--lambda_l1", "5")
    message = parse.refused("--modelsuffix", "_A", options=TestOptions)
    assert "did you mean --model_suffix?" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (TrainOptions, ["--lambda_L1", "5"]),  # of pix2pix, near to --lambda_A
        (TrainOptions, ["--num_test", "5"]),
        (TestOptions, ["--n_epochs", "5"]),
        (TestOptions, ["--lambda_A", "5"]),  # which pix2pix once had too
        (TestOptions, ["--continue_train", ""]),
        (TrainOptions, ["--eval", ""]),
        (TestOptions, ["--model", "pix2pix", "--save_best", "L1"]),
    ],
)
def test_an_option_of_another_command_or_model_is_no_slip(
    parse: Any, options: type[BaseOptions], words: list[str]
) -> None:
    last = parse.refused(*words, options=options).splitlines()[-1]
    assert last == f"  {words[-2]} belongs to another command, or to another --model."


def test_all_options_of_only_some_commands_and_models_are_known() -> None:
    found: list[set[str]] = []
    for options, models in (
        (TrainOptions, ("cycle_gan", "pix2pix", "colorization", "template")),
        (TestOptions, ("cycle_gan", "pix2pix", "colorization", "template", "test")),
    ):
        for model in models:
            gathered = options()
            gathered.gather_options(["--dataroot", "X", "--model", model])
            found.append({action.dest for action in gathered.parser._actions})
            gathered.gather_options(
                ["--dataroot", "X", "--model", model, "--dataset_mode", "template"]
            )
            found.append({action.dest for action in gathered.parser._actions})
    some = set[str]().union(*found) - found[0].intersection(*found)
    others = {*OLD_NAMES.values(), *DEFAULTS}
    assert some - others <= set(OF_ANOTHER) | {
        "display_id", "display_server", "display_env", "display_port"  # which test.py takes
    }  # fmt: skip
    assert set(OF_ANOTHER) <= some - others


TYPED_BY_PROGRAMS = {
    ("--name", "\u201cmy", "run\u201d"): "\u201cmy: a shell does not know such quotes.",
    ("--batch_size", "\u20184\u2019"): "\u20184\u2019: a shell does not know such quotes.",
    (
        "--batch_size=\u201d4\u201d",
    ): "--batch_size=\u201d4\u201d: a shell does not know such quotes.",
    ("--display_id", "\u20131"): "\u20131: this begins with a dash. Type a hyphen: -1.",
    ("--gpu_ids=\u22121", "--lr", "x"): "--gpu_ids=\u22121: this begins with a dash. Type a hyphen",
    ("--no_flip\r",): "'--no_flip\\r': what this stands in has line ends of Windows.",
    ("--netG", "unet_256\r"): "'unet_256\\r': what this stands in has line ends of Windows.",
    ("--lr", "1", "\r"): "'\\r': what this stands in has line ends of Windows.",
    ("--lr\u00a01",): "--lr\u00a01: there is a no-break space in it.",
}


@pytest.mark.parametrize("words", TYPED_BY_PROGRAMS, ids=ascii)
def test_what_programs_for_texts_have_changed_is_told(parse: Any, words: tuple[str, ...]) -> None:
    lines = parse.refused(*words).splitlines()
    told = [line for line in lines if line.startswith(f"  {TYPED_BY_PROGRAMS[words]}")]
    assert len(told) == 1, lines
    assert "\r" not in "".join(lines)
    assert "put it in quotes" not in lines[-1]


@pytest.mark.parametrize("name", ["\u201crun\u201d", "run\r", "\u20131"])
def test_what_they_have_changed_is_told_where_it_works_too(
    parse: Any, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert parse.train("--display_env", name).display_env == name
    told = capsys.readouterr().out.partition("- End -")[2]
    assert sum(name in line or repr(name) in line for line in told.split("\n")) == 1


@pytest.mark.parametrize("words", [["--lambda_identity", "-1"], ["--lambda_A=-0.5"]])
def test_a_weight_below_zero_is_taken_but_not_in_silence(
    parse: Any, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    parse.train(*words)
    flag = words[0].partition("=")[0]
    notes = capsys.readouterr().out.partition("- End -")[2].splitlines()
    assert sum(line.startswith(f"{flag} -") and "is negative" in line for line in notes) == 1


WORDS_THAT_NO_OPTION_TAKES = {
    ("--", "model", "pix2pix"): "-- model: no blank belongs behind the hyphens.",
    ("--dataroot", "./my", "nice", "data"): (
        "--dataroot takes one value: if it has blanks in it, put it in quotes: --dataroot "
        '"./my nice data".'
    ),
    ("--name=my", "run"): (
        '--name takes one value: if it has blanks in it, put it in quotes: --name "my run".'
    ),
    ("--name=", "run"): "--name takes one value: write --name run.",
    ("--gpu_ids", "0", "1"): "--gpu_ids takes one value: write --gpu_ids 0,1, without blanks.",
    ("--gpu_ids", "0,", "1"): "--gpu_ids takes one value: write --gpu_ids 0,1, without blanks.",
    ("--batch_size", "4", "8"): "--batch_size takes one value: leave out 8.",
    ("--no_flip", "True"): "--no_flip takes no value: leave out True.",
    ("--continue_train", "1"): "--continue_train takes no value: leave out 1.",
    ("--name", "run", "\\", "--lr", "1"): "'\\\\': what continues a line must be its very last",
    ("--name", "run", " --lr", "1"): "' --lr': what continues a line must be its very last",
}


@pytest.mark.parametrize("words", WORDS_THAT_NO_OPTION_TAKES, ids=" ".join)
def test_words_that_no_option_takes_are_explained(parse: Any, words: tuple[str, ...]) -> None:
    message = parse.refused(*words)
    assert "unrecognized arguments" in message
    assert message.splitlines()[-1].startswith(f"  {WORDS_THAT_NO_OPTION_TAKES[words]}")


def test_a_folder_alone_belongs_to_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        TestOptions().parse(["./datasets/maps"])
    message = capsys.readouterr().err
    assert "the following arguments are required: --dataroot" in message
    assert message.endswith("\n  ./datasets/maps belongs to no option.\n")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["--name", "--model", "pix2pix"], "--name takes a value, but --model follows."),
        (["--model", "pix2pix", "--name"], "--name takes a value, but nothing follows."),
        (["--gpu_ids", "-all"],
         "--gpu_ids takes a value, but -all follows. If that is the value, write --gpu_ids=-all."),
    ],
)  # fmt: skip
def test_a_value_that_is_missing_is_missed(parse: Any, words: list[str], advice: str) -> None:
    message = parse.refused(*words)
    assert f"argument {advice.partition(' ')[0]}: expected one argument" in message
    assert message.splitlines()[-1] == f"  {advice}"


def test_several_numbers_of_which_the_first_is_negative_are_values(parse: Any) -> None:
    opt = parse.train("--value_range", "-1000,3000", "-1e3,.5", "--gpu_ids", "-1,-2", "--no_flip")
    assert (opt.value_range, opt.gpu_ids, opt.no_flip) == (["-1000,3000", "-1e3,.5"], [], True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["3,1"], "--value_range 3,1: 3,1 is no range. Give LO,HI with LO below HI"),
        (["0", "4095"], "--value_range 0 4095: 0 is no range"),
        (["0,1"] * 3, "gives 3 ranges. There may be two: of what goes in and comes out."),
    ],
)
def test_a_range_that_is_none_is_refused(parse: Any, words: list[str], said: str) -> None:
    assert said in parse.refused("--value_range", *words)


def test_nothing_is_guessed_before_all_options_are_known(parse: Any) -> None:
    message = parse.refused("--model", "pix2pix", "--lambda_L1", "5", "--batch_size", "many")
    assert message.splitlines()[-1].endswith("invalid int value: 'many'")


def test_every_slip_is_reported(parse: Any) -> None:
    lines = parse.refused("--bath_size", "4", "--epochs", "2", "--no_flip", "1").splitlines()
    assert lines[-4].endswith("unrecognized arguments: --bath_size 4 --epochs 2 1")
    assert [line.strip() for line in lines[-3:]] == [
        "--bath_size: did you mean --batch_size?",
        "--epochs: did you mean --n_epochs?",
        "--no_flip takes no value: leave out 1.",
    ]


def test_a_slip_in_what_is_required_is_reported_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        TrainOptions().parse(["--data-root", "X"])
    message = capsys.readouterr().err
    assert "the following arguments are required: --dataroot" in message
    assert message.endswith("\n  --data-root: did you mean --dataroot?\n")
