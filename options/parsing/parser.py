"""A parser for options that are gathered in stages, and questions, which never change a parser."""

import argparse
import copy
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch

from options.parsing.misspelt import advice
from options.parsing.old_names import translate
from options.parsing.pieces import allow_negative_ranges, pieces
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


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Lines of examples stay as they are; a default is shown if it tells something."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        if action.type in (int, float):
            return "N" if action.type is int else "X"
        return action.dest.rpartition("_")[2].upper()

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        if action.nargs == 0 and default is True:
            return f"{text} (as it is with this --model)"
        tells = default is not False and default not in (None, "", argparse.SUPPRESS)
        return f"{text} (default: %(default)s)" if tells and "%(default)" not in text else text


class OptionParser(argparse.ArgumentParser):
    """Argument parser of train.py and test.py, whose later definitions replace earlier ones."""

    def __init__(self) -> None:
        super().__init__(
            usage="%(prog)s --dataroot DIR [options]", formatter_class=HelpFormatter,
            add_help=False, conflict_handler="resolve",
        )  # fmt: skip
        allow_negative_ranges(self)
        self.is_complete = False
        self.words: Sequence[str] = ()  # what was parsed last, in the names of today
        self.old_names: Sequence[str] = ()  # a line for each older one in it

    @contextmanager
    def titled(self, title: str) -> Iterator[None]:
        """Let the options that others add meanwhile stand under a title of their own."""
        before = self._optionals
        self._optionals = self.add_argument_group(title)
        try:
            yield
        finally:
            self._optionals = before

    def complete(self) -> None:
        """Add `--help`; let options of ours give way to others that set the same value."""
        _remove_new_options(self, taken_names(self))
        add = self.add_argument
        add("-h", "--help", action="help", default=argparse.SUPPRESS, help="show this message")
        self.is_complete = True

    def meanings(self, flag: str) -> list[argparse.Action]:
        """Return the options that a flag may mean: itself, or those that it abbreviates."""
        if flag in self._option_string_actions:
            return [self._option_string_actions[flag]]
        is_flag = len(flag) > 1 and flag.startswith("-")
        return [match[0] for match in self._get_option_tuples(flag)] if is_flag else []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse a command line, in names of today or older ones."""
        told = translate(
            sys.argv[1:] if args is None else args,
            has=self._may_have_been_called_otherwise,
            understands=lambda flag: bool(self.meanings(flag)),
        )
        self.words, self.old_names = told.words, told.notes
        namespace = argparse.Namespace() if namespace is None else namespace
        for name, value in told.values.items():
            setattr(namespace, name, value)
        return super().parse_known_args(told.words, namespace)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2; the message is not buried under a page of usage."""
        flags = self._option_string_actions if self.is_complete else ()
        lines = [message, *self.old_names, *advice(self.words, flags, self.meanings)]
        usage = self.format_usage().rstrip()
        text = "\n  ".join(lines)
        self.exit(2, f"{usage}   (--help explains them all)\n{self.prog}: error: {text}\n")

    def _may_have_been_called_otherwise(self, flag: str) -> bool:
        action = self._option_string_actions.get(flag)
        # As long as a plugin may still own the old name, its values may be of any other type.
        return action is not None and (self.is_complete or action.type in (None, str))

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        """Return what an abbreviation may mean; `--lam 5` still means --lambda_L1 in pix2pix."""
        name = option_string.removeprefix("--").partition("=")[0]
        if name in DEFAULTS and not self.is_complete:
            return []  # ours, or a plugin's of that very name: not short for a longer one
        matches = super()._get_option_tuples(option_string)
        # argparse calls more than one ambiguous, which options of ours must not make it.
        return [match for match in matches if not isinstance(match[0], NewOption)] or matches


def either(names: Iterable[str]) -> str:
    """Join names for a help text: a, b or c."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def names(parser: argparse.ArgumentParser) -> frozenset[str]:
    """Return the names of all options that have been added, and have a value."""
    return frozenset(action.dest for action in parser._actions if action.dest != "help")


def taken_names(parser: argparse.ArgumentParser) -> frozenset[str]:
    """Return the names of options of ours by which others have called options of theirs."""
    others = (action for action in parser._actions if not isinstance(action, NewOption))
    return frozenset(action.dest for action in others if action.dest in DEFAULTS)


def old_names_in(parser: argparse.ArgumentParser) -> Sequence[str]:
    """Return a line for each old name in what was parsed last; a parser of a fork knows none."""
    return parser.old_names if isinstance(parser, OptionParser) else ()


def known(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse what is known so far, without what is required, and what a plugin may still replace."""
    lenient = _lenient(parser, with_new_options=False)
    return lenient.parse_known_args(_without_doubtful(lenient, argv))[0]


def _without_doubtful(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """Leave out what abbreviates an option that is there in full: it may be one of a plugin.

    With `--model NAME --mode X` the model NAME may have an option `--mode`.
    """
    parts, flags = pieces(argv), parser._option_string_actions
    full = [flags[part.flag] for part in parts if part.flag in flags]
    doubtful = [
        part.flag not in flags
        and isinstance(parser, OptionParser)
        and any(meant is there for meant in parser.meanings(part.flag) for there in full)
        for part in parts
    ]
    kept = [part for part, is_one in zip(parts, doubtful, strict=True) if not is_one]
    return [word for part in kept for word in part.words()]


def given(
    parser: argparse.ArgumentParser, argv: Sequence[str], *, so_far: bool = False
) -> frozenset[str]:
    """Return the names of the options that are on the command line, whatever their values.

    Of a parser that plugins may add to, those `so_far` that they cannot replace.
    """
    silent = _lenient(parser, with_new_options=not so_far)
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


def _lenient(
    parser: argparse.ArgumentParser, *, with_new_options: bool = True
) -> argparse.ArgumentParser:
    """Return a parser that requires nothing, to be changed and asked in the place of the other."""
    lenient, copies = copy.copy(parser), {}
    for action in parser._actions:
        if with_new_options or not isinstance(action, NewOption):
            copies[action] = copied = copy.copy(action)
            copied.required = False
            copied.default = copy.deepcopy(action.default)  # an action of others may add to a list
    flags = parser._option_string_actions.items()
    lenient._actions = list(copies.values())
    lenient._option_string_actions = {
        flag: copies[action] for flag, action in flags if action in copies
    }
    lenient._defaults = dict(parser._defaults)
    lenient._mutually_exclusive_groups = []  # they may be required too
    return lenient
