"""Command lines for people to copy."""

import argparse
import shlex

import pytest

from tests.support.corpus import NAMES
from util.base.commands import as_argument, command


@pytest.mark.parametrize("name", [*NAMES, "", "-x", "--name", "-1"])
def test_a_shell_and_the_command_get_what_was_meant(name: str) -> None:
    line = command("train.py", {"name": name, "go_on": True, "dataroot": name})
    python, script, *words = shlex.split(line)
    assert (python, script) == ("python", "train.py")
    parser = argparse.ArgumentParser()
    parser.add_argument("--name")
    parser.add_argument("--dataroot")
    parser.add_argument("--go_on", action="store_true")
    assert vars(parser.parse_args(words)) == {"name": name, "dataroot": name, "go_on": True}


def test_what_commands_take_by_themselves_is_left_out() -> None:
    options = {"checkpoints_dir": "./checkpoints", "epoch": "latest", "load_iter": 0, "name": "x"}
    assert command("test.py", options) == "python test.py --name x"
    elsewhere = {"checkpoints_dir": "/runs", "epoch": 7}
    assert command("test.py", elsewhere) == "python test.py --checkpoints_dir /runs --epoch 7"


def test_a_folder_is_never_taken_for_an_option() -> None:
    words = [as_argument("-my results"), as_argument("results/x")]
    line = command("scripts/evaluate.py", {}, *words)
    assert line == "python scripts/evaluate.py './-my results' results/x"
