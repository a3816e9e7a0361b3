"""Every documented option with values that cannot work, through the whole commands.

RELIABILITY=long tries all values of all options with all models; otherwise some options get one.
"""

import argparse
import runpy
import shutil
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from options.base_options import BaseOptions
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.reliability.conftest import Count
from tests.support.commands import ROOT, draw, draw_pairs, draw_unpaired, scene
from tests.support.forked import IN_ORDER, Ended, Main, run_forked
from tests.support.paths import needs_any_name
from tests.support.tiers import LONG

pytestmark = needs_any_name

HUGE = ("99999999999", f"1{'0' * 22}")
VALUES: dict[object, Sequence[str]] = {
    int: ("0", "-1", "1.5", "abc", "", *HUGE),
    float: ("nan", "inf", "-inf", "-1", "0", "abc", "", "1e308", f"1{'0' * 400}"),
    str: ("", " ", "-1", "0", "nosuch", "{", "%s", "é\u2028", "\udc80", "/dev/null", "a" * 300,
          "run\r", "\u201crun\u201d", "..", *HUGE),
}  # fmt: skip
OTHERS = ("colorization", "template", "stargan_v2")
LONG_RUNS = ("n_epochs", "n_epochs_decay")  # what is huge there takes long


class Case(NamedTuple):
    """One option with one value."""

    script: str
    model: str
    word: str
    name: str
    may_run_on: bool = False

    def __str__(self) -> str:
        return f"{self.script}-{self.model}-{self.word[:40]!a}"


def parser_of(options: type[BaseOptions], model: str) -> argparse.ArgumentParser:
    """Return the parser that a command makes for a model."""
    gathered = options()
    gathered.gather_options(["--dataroot", "X", "--model", model])
    return gathered.parser


def words_of(action: argparse.Action) -> Iterator[str]:
    """Yield an option with each odd value; a switch alone, and with a value."""
    name = action.option_strings[-1]
    if action.nargs == 0:
        yield from (name, f"{name}=1")
    else:
        for value in VALUES[action.type or str]:
            yield f"{name}={value}"


def every_case() -> Iterator[Case]:
    """Yield all options of both commands; of other models only those that the first lacks."""
    seen: set[tuple[str, str]] = set()
    for script, options, models in (
        ("train", TrainOptions, ("pix2pix", "cycle_gan", *OTHERS)),
        ("test", TestOptions, ("pix2pix", "cycle_gan", "test", *OTHERS)),
    ):
        for model in models:
            for action in parser_of(options, model)._actions:
                if action.dest in ("compile", "use_wandb"):  # takes a minute; asks the network
                    continue
                if (script, action.dest) in seen and not LONG:
                    continue
                seen.add((script, action.dest))
                words = list(words_of(action))
                if not LONG:  # the same ones every time
                    number = zlib.crc32(f"{script} {action.dest}".encode())
                    words = [] if number % 8 else [words[number // 8 % len(words)]]
                for word in words:
                    runs_on = action.dest in LONG_RUNS and word.endswith(HUGE)
                    yield Case(script, model, word, action.dest, runs_on)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, and a run of each model."""
    root = tmp_path_factory.mktemp("odd")
    for phase in ("train", "test", "val"):
        draw_pairs(root / "d", phase, 2)
        draw_unpaired(root / "d", phase, 2, 2)
        for domain in ("cat", "dog"):
            draw(root / "d" / "domains" / phase / domain / "1.png", scene(1))
    for model in ("pix2pix", "cycle_gan", "stargan_v2", *(OTHERS[:2] if LONG else ())):
        ended = run_forked(main_of("train"), arguments(root, "train", model, model), script="x")
        assert ended.status == 0, ended.said
    shutil.copytree(root / "c" / "cycle_gan", root / "c" / "test")
    shutil.copytree(root / "c", root / "kept")
    return root


@cache
def main_of(script: str) -> Main:
    """Return the `main` of a command, with all that it imports."""
    main: Main = runpy.run_path(str(ROOT / f"{script}.py"))["main"]
    return main


def arguments(root: Path, script: str, model: str, name: str) -> list[str]:
    """Return the words of a small run."""
    argv = ["--dataroot", str(root / "d"), "--checkpoints_dir", str(root / "c"), "--name", name]
    argv[1] += {"test": "/testA", "stargan_v2": "/domains"}.get(model, "")
    argv += ["--gpu_ids", "-1", "--num_threads", "0", "--crop_size", "32", "--model", model]
    if model != "template":
        argv += ["--netG", "resnet_6blocks", "--ngf", "1" if model == "stargan_v2" else "2"]
    if script == "test":
        return [*argv, "--results_dir", str(root / "results")]
    argv += ["--load_size", "36", "--ndf", "2", "--display_id", "-1"]
    return [*argv, "--n_epochs", "1", "--n_epochs_decay", "0"]


def outcome(root: Path, case: Case) -> Ended:
    """Run a command with one more option, with the folders as they were."""
    shutil.rmtree(root / "c")
    shutil.copytree(root / "kept", root / "c")
    argv = arguments(root, case.script, case.model, case.model)
    limit = 2.0 if case.may_run_on else 20.0
    return run_forked(
        main_of(case.script), [*argv, case.word], script=f"{case.script}.py", seconds=limit
    )


@pytest.mark.parametrize("case", list(every_case()), ids=str)
def test_an_odd_value_is_taken_or_refused_in_one_message(
    trained: Path, count: Count, case: Case
) -> None:
    ended = outcome(trained, case)
    count(f"odd values: {'taken' if ended.status == 0 else 'refused'}")
    if case.may_run_on and ended.status == IN_ORDER:
        return
    assert not ended.fault(), ended.said[-2000:]
