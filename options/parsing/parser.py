"""A parser for options that are gathered in stages, and questions, which never change a parser."""

import argparse
import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import torch

from util.base.new_options import DEFAULTS, NewOption
from util.base.system import device_of


class ParsedOptions(argparse.Namespace):
    """Options, with the device that `gpu_ids` means, as models and scripts of 2025 ask for it.

    A script may set it: then `gpu_ids` follows. What gpu_ids cannot mean (mps) is kept beside it,
    and so is an option of that name that a plugin has.
    """

    @property
    def device(self) -> Any:
        """Return where networks and batches are to be."""
        return vars(self).get("device", device_of(self.gpu_ids))

    @device.setter
    def device(self, device: Any) -> None:
        if isinstance(device, torch.device) and device.type in ("cpu", "cuda"):
            self.gpu_ids = [device.index or 0] if device.type == "cuda" else []
            vars(self).pop("device", None)
        else:
            vars(self)["device"] = device


class OptionParser(argparse.ArgumentParser):
    """Argument parser of train.py and test.py, whose later definitions replace earlier ones."""

    def __init__(self) -> None:
        formatter = partial(argparse.ArgumentDefaultsHelpFormatter, max_help_position=32)
        super().__init__(formatter_class=formatter, add_help=False, conflict_handler="resolve")

    def complete(self) -> None:
        """Add `--help`; let options of ours give way to others that set the same value."""
        _remove_new_options(self, taken_names(self))
        add = self.add_argument
        add("-h", "--help", action="help", default=argparse.SUPPRESS, help="show this message")

    def error(self, message: str) -> NoReturn:
        """Exit with status 2; the message is not buried under a page of usage."""
        self.exit(
            2,
            f"usage: {self.prog} --dataroot DIR [options]   (--help explains them all)\n"
            f"{self.prog}: error: {message}\n",
        )

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        """Return what an abbreviation may mean; `--lam 5` still means --lambda_L1 in pix2pix."""
        matches = super()._get_option_tuples(option_string)
        # argparse calls more than one ambiguous, which options of ours must not make it.
        return [match for match in matches if not isinstance(match[0], NewOption)] or matches


def names(parser: argparse.ArgumentParser) -> frozenset[str]:
    """Return the names of all options that have been added, and have a value."""
    return frozenset(action.dest for action in parser._actions if action.dest != "help")


def taken_names(parser: argparse.ArgumentParser) -> frozenset[str]:
    """Return the names of options of ours by which others have called options of theirs."""
    others = (action for action in parser._actions if not isinstance(action, NewOption))
    return frozenset(action.dest for action in others if action.dest in DEFAULTS)


def known(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse what is known so far, without what is required, and what a plugin may still replace."""
    lenient = _lenient(parser)
    _remove_new_options(lenient, names(parser))
    return lenient.parse_known_args(argv)[0]


def given(parser: argparse.ArgumentParser, argv: Sequence[str]) -> frozenset[str]:
    """Return the names of the options that are on the command line, whatever their values."""
    silent = _lenient(parser)
    silent._defaults.clear()
    for action in silent._actions:
        action.default = argparse.SUPPRESS
    return frozenset(vars(silent.parse_known_args(argv)[0]))


def value_from_file(parser: argparse.ArgumentParser, name: str, saved: Any) -> Any:
    """Convert what an option file says, as the command line would, with an error if that fails."""
    action = next(action for action in parser._actions if action.dest == name)
    if action.nargs == 0:  # a switch
        if str(saved) not in ("True", "False"):
            raise ValueError(f"{name} is a switch, not {saved!r}")
        return str(saved) == "True"
    several = action.nargs not in (None, argparse.OPTIONAL)
    if isinstance(saved, dict) or isinstance(saved, list) != several:
        raise ValueError(f"{name} takes {'several values' if several else 'one value'}")
    values = saved if several else [saved]
    values = [parser._get_value(action, str(value)) for value in values]
    return values if several else values[0]


def _remove_new_options(parser: argparse.ArgumentParser, of_these: frozenset[str]) -> None:
    for action in [action for action in parser._actions if isinstance(action, NewOption)]:
        if action.dest in of_these:
            flags = [(flag, action) for flag in action.option_strings]
            parser._handle_conflict_resolve(action, flags)


def _lenient(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    lenient = copy.deepcopy(parser)
    for action in lenient._actions:
        action.required = False
    return lenient
