"""Command lines from the first ten years of the framework: they mean what they meant then."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from util.storage.old_names import OLD_NAMES, OLD_SWITCHES

LINES = Path(__file__).with_name("published_commands.txt").read_text("utf-8").splitlines()
COMMANDS = [line.split(" => ") for line in LINES if line and not line.startswith("#")]


def test_there_are_many_with_old_names() -> None:
    old = {f"--{name}" for name in (*OLD_NAMES, *OLD_SWITCHES)}
    assert len(COMMANDS) >= 139
    assert sum(bool(old & set(command.split())) for command, _ in COMMANDS) > 60


@pytest.mark.parametrize(("command", "meaning"), COMMANDS, ids=[line[0] for line in COMMANDS])
def test_a_published_command_line_means_what_it_meant(
    parse: Any, monkeypatch: pytest.MonkeyPatch, command: str, meaning: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    script, *argv = shlex.split(command)
    opt = getattr(parse, script.removesuffix(".py"))(*argv)
    for expected in meaning.split():
        name, _, value = expected.partition("=")
        assert str(getattr(opt, name)) == value
