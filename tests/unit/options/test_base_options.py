"""Options of every command: how they come together, what is printed and written."""

import json
import math
import os
import random
import re
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.architectures.initialization import INIT_TYPES
from models.architectures.layers import NORM_LAYERS
from models.architectures.losses import GAN_MODES
from models.architectures.registry import DISCRIMINATORS, GENERATORS
from models.optimization.precision import PRECISIONS
from models.optimization.schedulers import LR_POLICIES
from options.base_options import BaseOptions
from options.parsing.rules import PREPROCESSING
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.support.paths import ROOT
from util.base.system import claim_device

Plugin = Callable[[str, str], None]

MODEL = """
from argparse import Namespace
from models.base_model import BaseModel

class {name}Model(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        {options}
        return parser

    {more}

    def set_input(self, input): ...
    def forward(self): ...
    def optimize_parameters(self): ...
"""


def model(name: str, options: str, more: str = "") -> str:
    return MODEL.format(name=name, options=options, more=more)


def strict_json(path: Path) -> dict[str, Any]:
    """Read JSON as other languages do: Infinity and NaN are no part of it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    values = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert isinstance(values, dict)
    return values


# ---- parsing -----------------------------------------------------------------------------------


def test_parse_works_repeatedly(parse: Any) -> None:
    options = TrainOptions()
    folder = ["--dataroot", "X", "--checkpoints_dir", str(parse.folder), "--seed", "1"]
    first = options.parse([*folder, "--model", "pix2pix", "--lambda_L1", "5"])
    second = options.parse([*folder, "--model", "cycle_gan"])
    third = options.parse([*folder, "--model", "pix2pix", "--lambda_L1", "5"])
    assert first == third
    assert (first.norm, first.netG, first.dataset_mode) == ("batch", "unet_256", "aligned")
    assert (second.norm, second.netG, second.dataset_mode) == (
        "instance",
        "resnet_9blocks",
        "unaligned",
    )
    assert not hasattr(second, "lambda_L1")
    assert second.no_dropout
    assert not third.no_dropout


def test_without_arguments_the_command_line_is_parsed(
    parse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["train.py", "--dataroot", "Y", "--checkpoints_dir", str(parse.folder), "--lr", "0.5"]
    monkeypatch.setattr(sys, "argv", argv)
    opt = TrainOptions().parse()
    assert (opt.dataroot, opt.lr) == ("Y", 0.5)


def test_a_string_may_stand_in_for_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["notebook", "--not", "ours"])
    argv = ["--dataroot", "X", "--checkpoints_dir", "here", "--n_epochs", "3", "--seed", "1"]
    opt = TrainOptions(" ".join(argv)).parse()
    assert opt == TrainOptions().parse(argv)
    assert opt.n_epochs == 3
    opt = TestOptions(cmd_line="--dataroot X  --checkpoints_dir here --eval").parse()
    assert opt.eval


def test_nothing_happens_before_parse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def generators() -> list[Any]:
        return [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]

    before = generators()
    for options in (TrainOptions(), TestOptions(), TrainOptions("--dataroot X")):
        options.gather_options(["--dataroot", "X", "--gpu_ids", "0"])
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert generators() == before


def test_parse_does_not_look_at_what_the_options_refer_to(parse: Any) -> None:
    opt = parse.test("--dataroot", "/no/such/folder", "--name", "no_such_run", "--epoch", "99")
    assert opt.dataroot == "/no/such/folder"


def test_the_phase_of_the_command_is_told(parse: Any) -> None:
    assert parse.train().isTrain is True
    assert parse.test().isTrain is False


def test_a_missing_dataroot_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        TrainOptions().parse([])
    assert caught.value.code == 2
    assert "--dataroot" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["--no_such_option"], ["--lambda_L1", "5"], ["--lr", "fast"], ["stray"]]
)
def test_what_nobody_defined_is_an_error(parse: Any, argv: list[str]) -> None:
    assert argv[0] in parse.refused(*argv)  # cycle_gan has no lambda_L1


# ---- help --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "shown", "hidden"),
    [
        (["--model", "cycle_gan"], ["--lambda_A", "--lambda_identity", "--netG"], ["--lambda_L1"]),
        (["--model", "pix2pix"], ["--lambda_L1", "--lambda_gp"], ["--lambda_A"]),
        (["--dataset_mode", "template"], ["--new_dataset_option", "--lambda_A"], []),
        (["--model=template", "--dataset_mode=template"],
         ["--lambda_regression", "--new_dataset_option"], ["--lambda_A"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_the_options_of_the_chosen_model_and_data_set(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    shown: list[str],
    hidden: list[str],
    flag: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        TrainOptions().parse([flag, *argv])  # --dataroot is not needed
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n  {option} " in text for option in [*shown, "--dataroot", "--lr"])
    assert not any(option in text for option in hidden)
    assert list(tmp_path.iterdir()) == []


def test_help_of_test_py_shows_its_own_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        TestOptions().parse(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--model_suffix" in text
    assert "--lambda_A" not in text
    assert "(default: single)" in text  # of --dataset_mode, as --model test sets it


def help_of(options: BaseOptions, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return the help, in lines as wide as they need to be."""
    with pytest.raises(SystemExit):
        options.parse([*argv, "--help"])
    return capsys.readouterr().out


def explained(text: str, option: str) -> str:
    """Return what a help text says of an option."""
    after = text.split(f"\n  {option} ")[1]
    return " ".join(re.split(r"\n(?:  -|\n)", after)[0].split())


@pytest.mark.parametrize(
    ("options", "script"), [(TrainOptions(), "train"), (TestOptions(), "test")]
)
def test_help_begins_with_a_line_of_usage_and_two_examples(
    options: BaseOptions,
    script: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py"])
    lines = help_of(options, capsys).splitlines()
    assert lines[:3] == [f"usage: {script}.py --dataroot DIR [options]", "", "examples:"]
    assert [line.split("--")[0] for line in lines[3:5]] == [f"  python {script}.py "] * 2
    for line in lines[3:5]:
        options.gather_options(["--dataroot", "X", *line.split()[2:]])


def test_titles_say_whose_the_options_are(
    capsys: pytest.CaptureFixture[str], plugin: Plugin
) -> None:
    plugin("sharp_model", model("Sharp", "parser.add_argument('--edge', help='weight of edges')"))
    argv = ["--model", "sharp", "--dataset_mode", "template"]
    text = help_of(TrainOptions(), capsys, *argv)
    titles = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    for title in ("run", "networks", "data", "training", "model sharp", "data set template"):
        assert titles.count(title) == 1
    assert text.partition("\nmodel sharp:\n  --edge ")[1]
    assert text.partition("\ndata set template:\n  --new_dataset_option ")[1]
    assert text.partition("\ntraining:\n")[2].startswith("  --n_epochs ")
    assert "data set unaligned" not in help_of(TrainOptions(), capsys)  # which has no options


def test_help_names_the_choices_that_there_are(
    capsys: pytest.CaptureFixture[str], plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin("sharp_model", model("Sharp", "pass"))
    monkeypatch.setitem(GENERATORS, "my_generator", GENERATORS["unet_128"])
    monkeypatch.setitem(GAN_MODES, "hinge", None)
    text = help_of(TrainOptions(), capsys)
    for option, known in {
        "--model": ("colorization, cycle_gan, pix2pix, sharp, stargan_v2 or template;",),
        "--dataset_mode": (
            "aligned, colorization, domains, single, template, unaligned or webdataset",
        ),
        "--netG": (*GENERATORS, "unet_256 or my_generator"),
        "--netD": DISCRIMINATORS,
        "--norm": NORM_LAYERS,
        "--init_type": INIT_TYPES,
        "--gan_mode": (*GAN_MODES, "hinge"),
        "--lr_policy": LR_POLICIES,
        "--preprocess": PREPROCESSING,
        "--precision": PRECISIONS,
        "--direction": ("AtoB", "BtoA"),
        "--epoch": ("latest", "best"),
        "--speed": ("faithful", "max"),
        "--on_nan": ("stop", "rollback"),
        "--cache": ("none", "decoded", "resized"),
    }.items():
        assert [name for name in known if name not in explained(text, option)] == [], option


def test_help_prints_the_defaults_that_the_model_sets(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(TrainOptions(), capsys, "--model", "pix2pix")
    for option, default in {
        "--netG": "unet_256", "--norm": "batch", "--gan_mode": "vanilla", "--pool_size": "0",
        "--dataset_mode": "aligned", "--lambda_L1": "100.0", "--max_dataset_size": "inf",
    }.items():  # fmt: skip
        assert explained(text, option).endswith(f"(default: {default})")
    for option in ("--no_flip", "--suffix", "--seed", "--dataroot"):  # nothing to tell
        assert "default:" not in explained(text, option)
    dropout = explained(help_of(TrainOptions(), capsys), "--no_dropout")
    assert dropout.endswith("without dropout (as it is with this --model)")


def test_help_tells_each_command_what_concerns_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    train, test = (help_of(options, capsys) for options in (TrainOptions(), TestOptions()))
    assert "trainA and trainB" in explained(train, "--dataroot")
    assert "testA and testB" in explained(test, "--dataroot")
    assert "template or test;" in explained(test, "--model")
    assert "--load_size N " in train
    assert "--lr X " in train
    assert "--results_dir DIR " in test
    assert max(map(len, f"{train}{test}".splitlines())) <= 80


def test_every_option_of_every_model_is_explained() -> None:
    for options, names in (
        (TrainOptions(), ("cycle_gan", "pix2pix", "colorization", "template")),
        (TestOptions(), ("cycle_gan", "pix2pix", "colorization", "template", "test")),
    ):
        for name in names:
            options.gather_options(["--dataroot", "X", "--model", name])
            unexplained = [a.option_strings for a in options.parser._actions if not a.help]
            assert unexplained == []


def test_help_is_quick_because_it_does_not_import_what_it_does_not_need() -> None:
    script = """if True:
        import json, sys
        import test, train
        for main, argv in ((train.main, ["--help", "--model", "pix2pix"]), (test.main, ["-h"])):
            try:
                main(argv)
            except SystemExit as status:
                assert status.code == 0
        heavy = ["torchvision", "visdom", "dominate", "wandb", "scipy", "skimage", "matplotlib"]
        others = [f"{kind}_model" for kind in ("cycle_gan", "colorization", "template")]
        heavy += [f"models.{name}" for name in others] + ["data.unaligned_dataset"]
        print(json.dumps([name for name in heavy if name in sys.modules]))
    """
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--lambda_L1" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []


# ---- wrong values ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [TrainOptions, TestOptions])
@pytest.mark.parametrize(
    ("argv", "near", "others"),
    [
        (["--model", "pixpix"], "pix2pix",
         "colorization, cycle_gan, pix2pix, stargan_v2, template, test"),
        (["--dataset_mode", "alined"], "aligned",
         "aligned, colorization, domains, single, template, unaligned, webdataset"),
    ],
)  # fmt: skip
def test_an_unknown_plugin_is_answered_with_the_near_miss_and_all_others(
    parse: Any, options: type[BaseOptions], argv: list[str], near: str, others: str
) -> None:
    message = parse.refused(*argv, options=options)
    assert repr(argv[1]) in message
    assert f"Did you mean {near!r}?" in message
    assert f"Available: {others}." in message


@pytest.mark.parametrize("name", ["base", "a.b", "../x", ""])
def test_a_name_that_is_no_model_is_refused(parse: Any, name: str) -> None:
    parse.refused("--model", name)


def test_a_models_own_missing_import_surfaces(parse: Any, plugin: Plugin) -> None:
    plugin("needy_model", "import no_such_package_here")
    with pytest.raises(ModuleNotFoundError, match="no_such_package_here"):
        parse.train("--model", "needy")


def test_the_test_model_cannot_train(parse: Any) -> None:
    assert "cannot be used during training" in parse.refused("--model", "test")


def test_all_problems_are_reported_at_once(parse: Any) -> None:
    message = parse.refused(
        *["--direction", "Atob", "--preprocess", "rezise", "--lr_policy", "cosin"],
        *["--netG", "unet_265", "--norm", "bach", "--init_type", "norml", "--gan_mode", "lsgann"],
        *["--gpu_ids", "a", "--suffix", "{nothing}", "--netD", "basik"],
    )
    for option in (
        *("--direction Atob", "--preprocess rezise", "--lr_policy cosin", "--netG unet_265"),
        *("--norm bach", "--init_type norml", "--gan_mode lsgann", "--gpu_ids a"),
        *("--suffix {nothing}", "--netD basik"),
    ):
        assert message.count(option) == 1
    for near in ("AtoB", "cosine", "unet_256", "batch", "normal", "lsgan", "basic"):
        assert f"Did you mean {near!r}?" in message
    assert message.count("error:") == 1


# ---- the files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["train", "test"])
def test_what_is_printed_is_also_written(
    parse: Any, capsys: pytest.CaptureFixture[str], phase: str
) -> None:
    getattr(parse, phase)("--name", "run", "--gpu_ids", "-1")
    text = (parse.folder / "run" / f"{phase}_opt.txt").read_text()
    assert capsys.readouterr().out == text
    assert sorted(os.listdir(parse.folder / "run")) == [f"{phase}_opt.json", f"{phase}_opt.txt"]


def test_the_text_file_has_the_references_format(parse: Any) -> None:
    opt = parse.train("--name", "run", "--gpu_ids", "-1", "--lr", "0.1", "--model", "pix2pix")
    lines = (parse.folder / "run" / "train_opt.txt").read_text().split("\n")
    assert lines[0] == "----------------- Options ---------------"
    assert lines[-2:] == ["----------------- End -------------------", ""]
    names = [line.split(":")[0].strip() for line in lines[1:-2]]
    assert names == sorted(vars(opt))
    for line in (
        "                       lr: 0.1                           \t[default: 0.0002]",
        "                     norm: batch                         ",  # the model's own default
        "                  isTrain: True                          \t[default: None]",
        "                load_iter: 0                             \t[default: 0]",
        "                  gpu_ids: -1                            \t[default: 0]",
        "                   suffix:                               ",
        "         max_dataset_size: inf                           ",
    ):
        assert line in lines


@pytest.mark.parametrize("phase", ["train", "test"])
@pytest.mark.parametrize("name", ["cycle_gan", "pix2pix", "colorization", "template"])
def test_the_json_file_equals_the_options(parse: Any, phase: str, name: str) -> None:
    opt = getattr(parse, phase)("--name", "run", "--gpu_ids", "-1", "--model", name)
    values = strict_json(parse.folder / "run" / f"{phase}_opt.json")
    expected = vars(opt) | {"max_dataset_size": None, "gpu_ids": "-1"}
    assert values == expected
    assert {key: type(value) for key, value in values.items()} == {
        key: type(value) for key, value in expected.items()
    }
    assert math.isinf(opt.max_dataset_size)


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "lr": st.floats(1e-9, 1e9),
            "batch_size": st.integers(1, 10**9),
            "max_dataset_size": st.integers(1, 10**18),
            "epoch": st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1)
            .filter(lambda text: not text.startswith("-") and not set(text) & set("/\\.")),
        },
    )
)  # fmt: skip
def test_every_given_value_reaches_namespace_text_and_json(
    parse: Any, values: dict[str, Any]
) -> None:
    argv = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    opt = parse.train("--name", "run", *argv)
    saved = strict_json(parse.folder / "run" / "train_opt.json")
    text = (parse.folder / "run" / "train_opt.txt").read_text(encoding="utf-8")
    for name, value in values.items():
        assert getattr(opt, name) == value
        assert saved[name] == value
        assert f"{name:>25}: {value!s:<30}" in text


@pytest.mark.parametrize(
    ("definition", "given_value"),
    [
        ("parser.add_argument('--mine', type=__import__('pathlib').Path)", ["--mine", "a/b"]),
        ("parser.add_argument('--mine', type=complex)", ["--mine", "1j"]),
        ("parser.add_argument('--mine', default=frozenset({'x'}))", []),
        ("parser.add_argument('--mine', type=lambda text: set(text.split(',')))", ["--mine", "x"]),
    ],
    ids=["Path", "complex", "frozenset as default", "set"],
)
def test_a_plugins_option_may_have_any_type(
    parse: Any, plugin: Plugin, definition: str, given_value: list[str]
) -> None:
    plugin("typed_model", model("Typed", definition))
    opt = parse.train("--name", "run", "--model", "typed", *given_value)
    text = (parse.folder / "run" / "train_opt.txt").read_text()
    assert f"                     mine: {opt.mine!s:<30}" in text
    assert "mine" in strict_json(parse.folder / "run" / "train_opt.json")


def test_no_value_whatever_makes_the_json_file_unreadable(parse: Any, plugin: Plugin) -> None:
    option = "parser.add_argument('--mine', type=float, nargs='+')"
    plugin("lists_model", model("Lists", option))
    parse.train(
        "--name", "run", "--model", "lists", "--mine", "inf", "1", "nan", "--init_gain", "nan"
    )
    saved = strict_json(parse.folder / "run" / "train_opt.json")
    assert saved["mine"] == [None, 1, None]
    assert saved["init_gain"] is None


def test_the_phase_names_the_files(parse: Any) -> None:
    parse.test("--phase", "val", "--name", "run")
    assert sorted(os.listdir(parse.folder / "run")) == ["val_opt.json", "val_opt.txt"]


def test_a_second_run_replaces_the_files(parse: Any) -> None:
    parse.train("--name", "run", "--lr", "0.1")
    parse.train("--name", "run")
    assert strict_json(parse.folder / "run" / "train_opt.json")["lr"] == 0.0002
    assert len(os.listdir(parse.folder / "run")) == 2


# ---- suffix ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        ("{model}_{netG}_size{load_size}", "run_pix2pix_unet_256_size286"),
        ("v2", "run_v2"),
        ("lr{lr:.0e}", "run_lr2e-04"),
        ("{{literal}}", "run_{literal}"),
        ("", "run"),
    ],
)
def test_a_suffix_is_filled_in_and_added_to_the_name(parse: Any, suffix: str, name: str) -> None:
    opt = parse.train("--model", "pix2pix", "--name", "run", "--suffix", suffix)
    assert opt.name == name
    assert os.listdir(parse.folder) == [name]
    assert strict_json(parse.folder / name / "train_opt.json")["name"] == name


@pytest.mark.parametrize(
    "suffix",
    ["{nothing}", "{", "}", "{}", "{0}", "{lr:q}", "{model.nothing}", "{lr[0]}", "{model[x]}"],
)
def test_a_suffix_that_cannot_be_filled_in_is_an_error(parse: Any, suffix: str) -> None:
    message = parse.refused("--suffix", suffix)
    assert f"--suffix {suffix} cannot be filled in" in message
    assert "{model}_{netG}" in message


# ---- GPUs --------------------------------------------------------------------------------------


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pretend that there are two GPUs; return the list of those claimed."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


@pytest.mark.parametrize("given_ids", ["-1", "", "-1,-1"])
def test_minus_1_is_the_cpu(
    parse: Any, two_gpus: list[int], capsys: pytest.CaptureFixture[str], given_ids: str
) -> None:
    assert parse.train(f"--gpu_ids={given_ids}").gpu_ids == []
    assert two_gpus == []
    assert "CPU" not in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["--gpu_ids", "0"], ["--gpu_ids", "0,"]])
def test_the_default_falls_back_to_the_cpu_with_one_line(
    parse: Any, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert parse.train(*argv).gpu_ids == []
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "CUDA" in line] == [
        "No CUDA device was found: running on the CPU (--gpu_ids -1 asks for that)."
    ]


@pytest.mark.parametrize("given_ids", ["7", "0,1", "1"])
def test_an_explicit_gpu_that_does_not_exist_is_an_error(parse: Any, given_ids: str) -> None:
    message = parse.refused("--gpu_ids", given_ids)
    assert f"--gpu_ids {given_ids}" in message
    assert "0 CUDA devices" in message
    assert "-1 means the CPU" in message


def test_of_several_gpus_the_missing_ones_are_named(parse: Any, two_gpus: list[int]) -> None:
    message = parse.refused("--gpu_ids", "1,2,7")
    assert "2 CUDA devices" in message
    assert "no GPU 2, 7." in message
    assert two_gpus == []


@pytest.mark.parametrize("given_ids", ["a", "0,b", "0;1", "1.5", "cuda:0"])
def test_gpus_that_are_no_numbers_are_an_error(parse: Any, given_ids: str) -> None:
    message = parse.refused("--gpu_ids", given_ids)
    assert f"--gpu_ids {given_ids} is no list of numbers" in message


@pytest.mark.parametrize(
    ("given_ids", "ids", "device"), [("0", [0], 0), ("1", [1], 1), ("1,0", [1, 0], 1)]
)
def test_gpus_that_exist_are_a_list_and_the_first_one_is_claimed_where_it_is_used(
    parse: Any, two_gpus: list[int], given_ids: str, ids: list[int], device: int
) -> None:
    assert parse.train("--gpu_ids", given_ids, "--name", "run").gpu_ids == ids
    assert two_gpus == []
    assert claim_device(ids) == torch.device("cuda", device)
    assert two_gpus == [device]
    saved = strict_json(parse.folder / "run" / "train_opt.json")
    assert saved["gpu_ids"] == given_ids


# ---- plugins -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("default", "training", "testing"),
    [
        ("load_size=256", (256, 128), (128, 128)),  # as large as the crop, by chance
        ("load_size=300", (300, 128), (128, 128)),
        ("crop_size=512", (286, 128), (128, 128)),
    ],
)
def test_only_a_test_translates_whole_images_whatever_the_defaults_of_a_plugin(
    parse: Any, plugin: Plugin, default: str, training: tuple[int, int], testing: tuple[int, int]
) -> None:
    plugin("mine_model", model("Mine", f"parser.set_defaults({default})"))
    for options, wanted in ((parse.train, training), (parse.test, testing)):
        opt = options("--model", "mine", "--crop_size", "128")
        assert (opt.load_size, opt.crop_size) == wanted


def test_a_plugin_adds_options_and_changes_defaults(parse: Any, plugin: Plugin) -> None:
    plugin(
        "mine_model",
        model("Mine", "parser.set_defaults(dataset_mode='mine', lr=0.5)\n"
              "        parser.add_argument('--depth', type=int, default=3)"),
    )  # fmt: skip
    plugin(
        "mine_dataset",
        "from data.base_dataset import BaseDataset\n"
        "class MineDataset(BaseDataset):\n"
        "    @staticmethod\n"
        "    def modify_commandline_options(parser, is_train):\n"
        "        parser.set_defaults(input_nc=1 if is_train else 2)\n"
        "        parser.add_argument('--pace', type=int, default=4)\n"
        "        return parser\n"
        "    def __len__(self): return 0\n"
        "    def __getitem__(self, index): return {}\n",
    )
    opt = parse.train("--model", "mine", "--depth", "7")
    assert (opt.dataset_mode, opt.lr, opt.depth, opt.pace, opt.input_nc) == (
        *("mine", 0.5, 7, 4, 1),
    )
    assert parse.train("--model", "mine", "--lr", "0.1", "--input_nc", "5").lr == 0.1
    opt = parse.train("--model", "mine", "--dataset_mode", "aligned")
    assert opt.dataset_mode == "aligned"
    assert not hasattr(opt, "pace")


def test_a_plugin_that_defines_one_of_our_new_options_itself_wins(
    parse: Any, plugin: Plugin
) -> None:
    base = "from models.pix2pix_model import Pix2PixModel\n"
    plugin(
        "penalty_model",
        f"{base}class PenaltyModel(Pix2PixModel):\n"
        "    @staticmethod\n"
        "    def modify_commandline_options(parser, is_train):\n"
        "        parser = Pix2PixModel.modify_commandline_options(parser, is_train)\n"
        "        parser.add_argument('--lambda_gp', type=str, default='mine', help='my weight')\n"
        "        return parser\n",
    )
    assert parse.train("--model", "penalty").lambda_gp == "mine"
    assert parse.train("--model", "penalty", "--lambda_gp", "7").lambda_gp == "7"
    assert parse.train("--model", "pix2pix").lambda_gp == 10.0


def test_a_plugin_may_give_an_option_another_default_or_type(parse: Any, plugin: Plugin) -> None:
    options = "parser.add_argument('--lr', type=float, nargs='+', default=[0.1, 0.2])"
    plugin("rates_model", model("Rates", options))
    assert parse.train("--model", "rates").lr == [0.1, 0.2]
    assert parse.train("--model", "rates", "--lr", "1", "2").lr == [1.0, 2.0]


def test_what_a_plugin_completes_is_saved_and_what_it_converts_is_not(
    plugin: Plugin, tmp_path: Path
) -> None:
    """A command line could not give back what has another type; what was given stays given."""
    options = "[parser.add_argument(f'--{name}', default='') for name in ('found', 'list', 'said')]"
    plugin("completing_model", model("Completing", options))
    gathered = TrainOptions()
    argv = ["--dataroot", "X", "--model", "completing", "--list", "1,2", "--said", "this"]
    argv += ["--checkpoints_dir", str(tmp_path), "--gpu_ids", "-1"]
    opt = gathered.parse(argv, quiet=True)
    vars(opt).update(found="cat,dog", list=[1, 2], said="that", lr=7.0)
    gathered.result.save(opt)
    folder = tmp_path / "experiment_name"
    saved = json.loads((folder / "train_opt.json").read_text())
    assert [saved[name] for name in ("found", "list", "said")] == ["cat,dog", "1,2", "this"]
    assert saved["lr"] == 2e-4
    assert "found: cat,dog" in (folder / "train_opt.txt").read_text()
    assert gathered.result.values["found"] == ""


def test_an_option_of_a_plugin_may_be_what_abbreviates_one_of_ours(
    parse: Any, plugin: Plugin, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin("modal_model", model("Modal", "parser.add_argument('--mode', default='fast')"))
    opt = parse.train("--model", "modal", "--mode", "slow")
    assert (opt.model, opt.mode) == ("modal", "slow")
    assert parse.train("--mode", "pix2pix").model == "pix2pix"  # nobody has defined it
    with pytest.raises(SystemExit):
        parse.train("--model", "pix2pix", "--mode", "cycle_gan")
    assert "--model is given twice, as pix2pix and cycle_gan" in capsys.readouterr().err


def test_a_plugin_may_have_checks_of_its_own(parse: Any, plugin: Plugin) -> None:
    plugin(
        "careful_model",
        model(
            "Careful",
            "parser.add_argument('--depth', type=int, default=3)",
            "@staticmethod\n"
            "    def option_problems(opt):\n"
            "        if opt.depth < 1:\n"
            "            yield f'--depth {opt.depth} is too small. Give 1 or more.'\n"
            "        if opt.isTrain and opt.depth % 2 == 0:\n"
            "            yield f'--depth {opt.depth} is even.'",
        ),
    )
    assert parse.train("--model", "careful").depth == 3
    message = parse.refused("--model", "careful", "--depth", "-2", "--direction", "up")
    assert "--depth -2 is too small. Give 1 or more." in message
    assert "--depth -2 is even." in message
    assert "--direction up" in message
    assert parse.test("--model", "careful", "--depth", "4").depth == 4


def test_a_data_set_may_have_checks_of_its_own(parse: Any, plugin: Plugin) -> None:
    plugin(
        "careful_dataset",
        "from data.aligned_dataset import AlignedDataset\n"
        "class CarefulDataset(AlignedDataset):\n"
        "    @staticmethod\n"
        "    def option_problems(opt):\n"
        "        return ['this data set needs --serial_batches']\n",
    )
    message = parse.refused("--dataset_mode", "careful")
    assert "this data set needs --serial_batches" in message


def test_names_of_a_plugins_own_networks_are_not_checked(parse: Any, plugin: Plugin) -> None:
    plugin("mine_model", model("Mine", "pass"))
    opt = parse.train("--model", "mine", "--netG", "my_net", "--netD", "my_critic", "--norm", "my")
    assert (opt.netG, opt.netD, opt.norm) == ("my_net", "my_critic", "my")


# ---- forks -------------------------------------------------------------------------------------


def test_a_fork_may_add_options_in_a_subclass_of_train_options(parse: Any) -> None:
    class ForkOptions(TrainOptions):
        def initialize(self, parser: ArgumentParser) -> ArgumentParser:
            parser = TrainOptions.initialize(self, parser)
            parser.add_argument("--val_freq", type=int, default=5, help="validate so often")
            parser.set_defaults(lr=0.5)
            self.isTrain = True
            return parser

    folder = ["--dataroot", "X", "--checkpoints_dir", str(parse.folder)]
    opt = ForkOptions().parse([*folder, "--val_freq", "7"])
    assert (opt.val_freq, opt.lr, opt.isTrain, opt.lambda_A) == (7, 0.5, True, 10.0)
    assert "--lr_policy up" in parse.refused("--lr_policy", "up", options=ForkOptions)


def test_a_fork_may_derive_from_base_options_and_set_is_train_while_initializing(
    parse: Any,
) -> None:
    class ForkOptions(BaseOptions):
        def initialize(self, parser: ArgumentParser) -> ArgumentParser:
            parser = BaseOptions.initialize(self, parser)
            parser.add_argument("--phase", type=str, default="tune")
            parser.add_argument("--pool_size", type=int, default=50)
            self.isTrain = True
            return parser

    opt = ForkOptions().parse(["--dataroot", "X", "--checkpoints_dir", str(parse.folder)])
    assert opt.isTrain
    assert opt.lambda_A == 10.0  # the model was told that this is training
    assert (parse.folder / "experiment_name" / "tune_opt.txt").is_file()


def test_a_fork_may_ask_for_the_options_without_parse(parse: Any) -> None:
    options = TrainOptions("--dataroot X --model pix2pix")
    opt = options.gather_options()
    assert isinstance(opt, Namespace)
    assert opt.lambda_L1 == 100.0
    opt.checkpoints_dir = str(parse.folder)
    options.print_options(opt)
    assert (parse.folder / "experiment_name" / "train_opt.txt").is_file()


# ---- what differs --------------------------------------------------------------------------------


def differing(folder: Path, *argv: str) -> dict[str, str]:
    options = TrainOptions()
    given = ["--dataroot", "X", "--checkpoints_dir", str(folder), *argv]
    options.parse(given, quiet=True)
    return dict(options.result.not_default)


ALWAYS = {"dataroot", "checkpoints_dir", "seed"}  # a seed is drawn


def test_options_that_nobody_gave_do_not_differ(tmp_path: Path) -> None:
    assert set(differing(tmp_path)) == ALWAYS
    assert set(differing(tmp_path, "--gpu_ids", "0", "--load_iter", "0", "--lr", "2e-4")) == ALWAYS


def test_options_that_differ_are_told_as_they_were_given(tmp_path: Path) -> None:
    found = differing(tmp_path, "--gpu_ids", "-1", "--lr", "0.001", "--max_dataset_size", "5")
    assert set(found) == ALWAYS | {"gpu_ids", "lr", "max_dataset_size"}
    assert (found["gpu_ids"], found["lr"], found["max_dataset_size"]) == ("-1", "0.001", "5")


def test_a_default_of_the_model_is_a_default(tmp_path: Path) -> None:
    assert "norm" not in differing(tmp_path, "--model", "pix2pix")
    assert differing(tmp_path, "--model", "pix2pix", "--norm", "none")["norm"] == "none"
