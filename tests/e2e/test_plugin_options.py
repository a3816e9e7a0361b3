"""Models and data sets whose own options have the names of ours: they train, continue and test."""

import json
from collections.abc import Callable, Sequence
from itertools import cycle, product
from pathlib import Path

import pytest

from tests.support import commands
from tests.support.commands import draw_pairs, names
from tests.support.tiers import LONG
from util.base.new_options import DEFAULTS
from util.storage import checkpoint

AddPlugins = Callable[[Path], None]

MODEL = """
from models.{base}_model import {kind}

class TakingModel({kind}):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        {kind}.modify_commandline_options(parser, is_train)
        for name in {names}:
            parser.add_argument("--" + name, {definition})
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        for name in {names}:
            print("theirs:", name, repr(getattr(opt, name)))
"""
DATASET = """
from data.aligned_dataset import AlignedDataset

class TakingDataset(AlignedDataset):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        for name in {names}:
            parser.add_argument("--" + name, {definition})
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        for name in {names}:
            print("theirs:", name, repr(getattr(opt, name)))
"""
# How options are defined, what is given on the command line, what the plugin then has.
DEFINITIONS = {
    "switch": ("action='store_true'", "--{}", "True"),
    "int": ("type=int, default=-1", "", "-1"),
    "float": ("type=float, default=0.5", "--{}=0.25", "0.25"),
    "text": ("type=str, default='theirs'", "", "'theirs'"),
}
# Which built-in code is at work around the plugin, and reads options.
BASES = {"pix2pix": "Pix2PixModel", "cycle_gan": "CycleGANModel", "template": "TemplateModel"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of pairs with some to validate on."""
    root = tmp_path_factory.mktemp("pairs")
    for phase in ("train", "val", "test"):
        draw_pairs(root, phase, 2)
    return root


def run_with(
    taken: Sequence[str],
    definition: str,
    as_dataset: bool,
    base: str,
    pairs: Path,
    folder: Path,
    add_plugins: AddPlugins,
) -> tuple[Path, list[str]]:
    """Train with a plugin that takes these names, continue and test; return the run's folder.

    Also what the plugin must say of its options each time.
    """
    text, word, theirs = DEFINITIONS[definition]
    kind = "data" if as_dataset else "models"
    file = folder / kind / ("taking_dataset.py" if as_dataset else "taking_model.py")
    file.parent.mkdir()
    source = DATASET if as_dataset else MODEL
    file.write_text(source.format(names=list(taken), definition=text, base=base, kind=BASES[base]))
    add_plugins(folder)
    given = [word.format(name) for name in taken if word]
    mode = ["--dataset_mode", "taking" if as_dataset else "aligned"]
    argv = [*mode, *given]
    model = base if as_dataset else "taking"
    gan = [] if base == "template" else ["--gan_mode", "wgangp"]  # which has --lambda_gp
    folder = folder / "runs"
    run = commands.train(folder, pairs, model, *argv, *gan, "--max_dataset_size", "1")
    commands.train(folder, pairs, model, *argv, *gan, "--continue_train", "--n_epochs", "2")
    commands.test(folder, pairs, model, *argv)
    return run, [f"theirs: {name} {theirs}" for name in taken]


def check(run: Path, said: str, expected: Sequence[str], taken: Sequence[str]) -> None:
    """Make sure that the plugin got its values, and that ours had their defaults."""
    for line in expected:
        assert said.count(f"{line}\n") >= 3, line
    assert said.count(": the model or data set has its own") == 3
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(record["epoch"], record["val_images"]) for record in records] == [(1, 1), (2, 1)]
    assert all("best" not in record for record in records)
    assert not (run / "tensorboard").exists()
    assert {"1_net_G.pth", "2_net_G.pth"} <= set(names(run)) or "2_net_G_A.pth" in names(run)
    saved = json.loads((run / "train_opt.json").read_text())
    ours = {name: value for name, value in saved["framework_options"].items() if name != "seed"}
    assert ours == {name: DEFAULTS[name] for name in taken if name != "seed"}
    state = checkpoint.load_state(run / "latest_state.pth")
    assert state["options"]["framework_options"] == saved["framework_options"]
    if "seed" in taken:
        assert type(saved["framework_options"]["seed"]) is int


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize(
    ("base", "as_dataset"), [*((base, False) for base in BASES), ("pix2pix", True)]
)
def test_a_plugin_may_take_all_names_at_once(
    base: str,
    definition: str,
    as_dataset: bool,
    pairs: Path,
    tmp_path: Path,
    add_plugins: AddPlugins,
    capsys: pytest.CaptureFixture[str],
) -> None:
    taken = list(DEFAULTS)
    run, expected = run_with(taken, definition, as_dataset, base, pairs, tmp_path, add_plugins)
    check(run, capsys.readouterr().out, expected, taken)


def one_by_one() -> list[tuple[str, str]]:
    """Return names with definitions: all, or one of each name in turn if time is short."""
    if LONG:
        return list(product(DEFINITIONS, DEFAULTS))
    return list(zip(cycle(DEFINITIONS), DEFAULTS, strict=False))


@pytest.mark.slow
@pytest.mark.parametrize(("definition", "name"), one_by_one())
def test_a_plugin_may_take_one_name(
    definition: str,
    name: str,
    pairs: Path,
    tmp_path: Path,
    add_plugins: AddPlugins,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, expected = run_with([name], definition, False, "pix2pix", pairs, tmp_path, add_plugins)
    check(run, capsys.readouterr().out, expected, [name])
