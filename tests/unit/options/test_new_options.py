"""New options: what the documents say of them, and plugins that use their names."""

import ast
import json
import re
import sys
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

import pytest

import data
import models
from options.base_options import BaseOptions
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.golden.formulas import load
from tests.support.paths import ROOT
from tests.support.tiers import LONG
from util.base.new_options import DEFAULTS, OURS, NewOption, new_option

Plugin = Callable[[str, str], None]
Capture = pytest.CaptureFixture[str]

MODELS = ("cycle_gan", "pix2pix", "colorization", "template")
DATASETS = ("aligned", "unaligned", "single", "colorization", "template")


def all_actions(kind: type[BaseOptions]) -> list[Action]:
    """Return every option of a command, with each model and each data set."""
    found: list[Action] = []
    for name in (*MODELS, *(["test"] if kind is TestOptions else [])):
        for dataset in DATASETS:
            options = kind()
            options.gather_options(["--dataroot", "X", "--model", name, "--dataset_mode", dataset])
            found += options.parser._actions
    return [action for action in found if action.dest != "help"]


def flags_of_original() -> set[str]:
    """Return the flags in the recorded table: of commands, models and data sets."""
    flags = load("options")["flags"]
    plugins = [phase for kind in ("model", "dataset_mode") for phase in flags[kind].values()]
    groups = [flags["base"], flags["train"]["added"], flags["test"]["added"]]
    groups += [phases[phase].get("added", []) for phases in plugins for phase in phases]
    return {flag for group in groups for record in group for flag in record["flag"]}


def test_the_list_of_new_options_is_what_the_parsers_have_beyond_the_original() -> None:
    actions = all_actions(TrainOptions) + all_actions(TestOptions)
    new = {flag for action in actions for flag in action.option_strings} - flags_of_original()
    text = (ROOT / "docs/differences.md").read_text(encoding="utf-8")
    section = text.partition("\n## New options\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(--\w+)` \| .+ \|$", section, re.MULTILINE)
    assert listed == sorted(new)
    assert {flag.removeprefix("--") for flag in new} == set(DEFAULTS)


@pytest.mark.parametrize("kind", [TrainOptions, TestOptions])
def test_each_new_option_takes_its_default_from_the_table(kind: type[BaseOptions]) -> None:
    for action in all_actions(kind):
        assert (action.dest in DEFAULTS) == isinstance(action, NewOption), action.dest
        if isinstance(action, NewOption):
            assert action.default == DEFAULTS[action.dest]
            assert (action.type is None) == (action.default is False), "only switches have no type"


# ---- plugins with options of these names -----------------------------------------------------

# How a plugin may define such an option, what is given on the command line, and what it then gets.
DEFINITIONS = {
    "switch": ("action='store_true'", [], False),
    "switch, given": ("action='store_true'", [""], True),
    "int": ("type=int, default=-1", [], -1),
    "float, given": ("type=float, default=0.5", ["0.25"], 0.25),
    "text": ("type=str, default='theirs'", [], "theirs"),
}

MODEL = """
from models.base_model import BaseModel

class TakingModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        {definition}
        return parser

    def set_input(self, input): ...
    def forward(self): ...
    def optimize_parameters(self): ...
"""
DATASET = """
from data.aligned_dataset import AlignedDataset

class TakingDataset(AlignedDataset):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        {definition}
        return parser
"""
PLUGINS = {"model": MODEL, "dataset": DATASET}
CHOOSE = {"model": ["--model", "taking"], "dataset": ["--dataset_mode", "taking"]}


def expected(name: str, phase: str) -> object:
    """Return what ours must be; None for a seed, which is drawn."""
    return 0 if (name, phase) == ("seed", "test") else DEFAULTS[name]


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("kind", PLUGINS)
@pytest.mark.parametrize("phase", ["train", "test"])
def test_a_plugins_option_of_the_same_name_is_the_plugins(
    phase: str, kind: str, definition: str, parse: Any, plugin: Plugin, capsys: Capture
) -> None:
    arguments, words, theirs = DEFINITIONS[definition]
    every, turn = [*DEFAULTS], [*DEFINITIONS].index(definition)
    for name in every if LONG else every[turn :: len(DEFINITIONS)]:
        source = f"parser.add_argument('--{name}', {arguments}, help='theirs')"
        plugin(f"taking_{kind}", PLUGINS[kind].format(definition=source))
        given = [f"--{name}={word}" if word else f"--{name}" for word in words]
        opt = getattr(parse, phase)("--name", "run", *CHOOSE[kind], *given)
        assert getattr(opt, name) == theirs, name
        ours = new_option(opt, name)
        assert ours == expected(name, phase) or (name == "seed" and type(ours) is int), name
        assert f"\n--{name}: the model or data set has its own" in capsys.readouterr().out
        saved = (parse.folder / "run" / f"{phase}_opt.json").read_text()
        assert json.loads(saved)[name] == theirs, name


@pytest.mark.parametrize(
    "source",
    [
        "parser.add_argument('--no_cache', dest='cache', action='store_false')",
        "parser.add_argument('--use-cache', dest='cache', type=float, default=True)",
    ],
)
def test_another_flag_that_sets_the_same_value_takes_it_too(
    source: str, parse: Any, plugin: Plugin
) -> None:
    plugin("taking_model", MODEL.format(definition=source))
    opt = parse.train("--model", "taking")
    assert (opt.cache, new_option(opt, "cache")) == (True, "none")
    assert "--cache" in parse.refused("--model", "taking", "--cache", "decoded")


def test_a_plugins_option_is_abbreviated_as_on_the_original(parse: Any, plugin: Plugin) -> None:
    plugin("taking_model", MODEL.format(definition="parser.add_argument('--precision', type=int)"))
    assert parse.train("--model", "taking", "--preci", "3").precision == 3
    assert "ambiguous" in parse.refused("--model", "taking", "--pre", "3")  # or --preprocess


@pytest.mark.parametrize(
    ("given", "value"),
    [(["--ema", "0.9"], 0.9), (["--ema=0.9"], 0.9), (["--speed", "max"], "max"),
     (["--seed", "3"], 3), (["--deterministic"], True)],
)  # fmt: skip
def test_a_whole_name_of_ours_is_no_abbreviation_of_a_plugins(
    given: list[str], value: object, parse: Any, plugin: Plugin
) -> None:
    name = given[0].removeprefix("--").partition("=")[0]
    longer = f"parser.add_argument('--{name}_of_mine', default='a', choices=['a', 'b'])"
    plugin("taking_model", MODEL.format(definition=longer))
    opt = parse.train("--model", "taking", *given)
    assert new_option(opt, name) == value
    assert getattr(opt, f"{name}_of_mine") == "a"


def test_nothing_is_said_where_no_name_is_taken(parse: Any, capsys: Capture) -> None:
    opt = parse.train("--seed", "3", "--cache", "decoded")
    assert not hasattr(opt, OURS)
    assert "has its own" not in capsys.readouterr().out


class OriginalStyle(BaseOptions):
    """As forks override it: no command line, a plain parser, another option of a name of ours."""

    def initialize(self, parser: ArgumentParser) -> ArgumentParser:
        parser = BaseOptions.initialize(self, parser)
        parser.add_argument("--phase", type=str, default="train")
        parser.add_argument("--seed", type=float, default=-1.0)
        self.isTrain = True
        return parser

    def gather_options(self) -> Namespace:  # type: ignore[override]
        parser = self.initialize(ArgumentParser())
        opt, _ = parser.parse_known_args()
        parser = models.get_option_setter(opt.model)(parser, self.isTrain)
        parser = data.get_option_setter(opt.dataset_mode)(parser, self.isTrain)
        self.parser = parser
        return parser.parse_args()


def test_a_fork_may_gather_options_in_its_own_way(
    parse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--dataroot", "X", "--checkpoints_dir", str(parse.folder), "--model", "pix2pix"]
    monkeypatch.setattr(sys, "argv", ["train.py", *argv, "--ngf", "8"])
    options = OriginalStyle()
    opt = options.parse()
    assert (opt.seed, opt.ngf, opt.lambda_L1, opt.isTrain) == (-1.0, 8, 100.0, True)
    assert type(new_option(opt, "seed")) is int
    assert options.result.given == {"dataroot", "checkpoints_dir", "model", "ngf"}
    assert (parse.folder / "experiment_name" / "train_opt.txt").is_file()


# ---- readers ---------------------------------------------------------------------------------


def is_opt(node: ast.expr) -> bool:
    """Tell whether an expression is `opt` or `something.opt`."""
    return getattr(node, "id", getattr(node, "attr", "")) == "opt"


def direct_readers(source: str) -> list[str]:
    """Return where a file reads `opt.seed` or the like itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name: object = None
        if isinstance(node, ast.Attribute) and is_opt(node.value):
            name = node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            name = getattr(node.args[1], "value", None) if is_opt(node.args[0]) else None
        if name in DEFAULTS:
            found.append(f"line {getattr(node, 'lineno', 0)}: {name}")
    return found


def test_nothing_of_ours_reads_a_value_that_may_be_a_plugins() -> None:
    assert direct_readers("x = self.opt.seed\ny = getattr(opt, 'cache', 1)") == [
        *["line 1: seed", "line 2: cache"]
    ]
    files = [
        *[ROOT / "train.py", ROOT / "test.py", *(ROOT / "scripts").glob("*.py")],
        *(
            path
            for room in ("options", "models", "data", "util")
            for path in (ROOT / room).rglob("*.py")
        ),
    ]
    assert len(files) > 100
    found = {str(file.relative_to(ROOT)): direct_readers(file.read_text("utf-8")) for file in files}
    assert {name: lines for name, lines in found.items() if lines} == {}
