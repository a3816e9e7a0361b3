"""Command lines: for people to copy, whatever their runs are called, and of scripts."""

import shlex
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping
from typing import Any, NoReturn

from util.base import system
from util.base.log import say_held_lines

# What the commands take by themselves.
DEFAULTS = {"checkpoints_dir": "./checkpoints", "epoch": "latest", "load_iter": "0"}


def command(
    script: str, options: Mapping[str, object], *words: str, starter: str = "python"
) -> str:
    """Return the command line that runs a script with these options; a switch is True.

    >>> command("test.py", {"name": "-x", "eval": True, "epoch": "latest", "dataroot": "my images"})
    "python test.py --name=-x --eval --dataroot 'my images'"
    """
    flags = []
    for name, value in options.items():
        text = str(value)
        if value is True:
            flags.append(f"--{name}")
        elif text != DEFAULTS.get(name):
            flags += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
    return f"{starter} {shlex.join([script, *flags, *words])}"


def as_argument(path: str) -> str:
    """Return a path that no command takes for an option."""
    return f"./{path}" if path.startswith("-") else path


class ScriptParser(ArgumentParser):
    """A parser that speaks in one of several processes only."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Say something, and end."""
        say_held_lines()
        super().exit(status, message if system.is_main_process() else None)

    def print_usage(self, file: Any = None) -> None:
        """Say how to use it."""
        if system.is_main_process():
            super().print_usage(file)

    def print_help(self, file: Any = None) -> None:
        """Explain all options."""
        if system.is_main_process():
            super().print_help(file)


def parser_of(docstring: str | None) -> ArgumentParser:
    """Return a parser whose --help begins with a docstring's first line, and ends with the rest."""
    summary, _, more = (docstring or "").partition("\n")
    return ScriptParser(
        description=summary, epilog=more, formatter_class=RawDescriptionHelpFormatter
    )
