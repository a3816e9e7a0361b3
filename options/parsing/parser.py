"""An argument parser for options that are gathered in stages."""

import argparse
import copy
from collections.abc import Sequence
from typing import Any, NoReturn

# Long options that the reference does not have. They can be abbreviated too, but never make an
# abbreviation of a reference option ambiguous: `--lam 5` still means --lambda_L1 in pix2pix.
NEW_OPTIONS = frozenset({
    "--lambda_gp", "--pretrained", "--start_visdom", "--seed", "--deterministic", "--keep_last",
    "--on_nan", "--skip_bad_images", "--lr_gamma", "--lr_G", "--lr_D", "--val_freq", "--num_val",
    "--val_eval", "--save_best", "--early_stop", "--tensorboard",
    "--lpips_weights", "--inception_weights", "--cache", "--cache_gb",
    "--speed", "--precision", "--compile", "--grad_checkpoint", "--accumulate",
})  # fmt: skip


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show defaults, and leave room for long option names."""

    def __init__(self, prog: str, **keywords: Any) -> None:
        super().__init__(prog, **(keywords | {"max_help_position": 32}))


class OptionParser(argparse.ArgumentParser):
    """Argument parser of train.py and test.py.

    A plugin may define an option that exists already; its definition replaces the other one.
    `--help` is added by `add_help_option` when all options are known.
    """

    def __init__(self) -> None:
        super().__init__(formatter_class=HelpFormatter, add_help=False, conflict_handler="resolve")

    def add_help_option(self) -> None:
        """Add `-h` and `--help`, which show every option that has been added."""
        self.add_argument(
            "-h", "--help", action="help", default=argparse.SUPPRESS, help="show this message"
        )

    def error(self, message: str) -> NoReturn:
        """Exit with status 2; the message is not buried under a page of usage."""
        self.exit(
            2,
            f"usage: {self.prog} --dataroot DIR [options]   (--help explains them all)\n"
            f"{self.prog}: error: {message}\n",
        )

    def peek(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Parse what is known so far, without demanding what is required."""
        required = [action for action in self._actions if action.required]
        for action in required:
            action.required = False
        try:
            return self.parse_known_args(argv)[0]
        finally:
            for action in required:
                action.required = True

    def make_optional(self, name: str) -> None:
        """Demand an option no longer."""
        for action in self._actions:
            if action.dest == name:
                action.required = False

    def given(self, argv: Sequence[str] | None) -> frozenset[str]:
        """Return the names of the options that are on the command line, whatever their values."""
        silent = copy.deepcopy(self)
        silent._defaults.clear()
        for action in silent._actions:
            action.default = argparse.SUPPRESS
            action.required = False
        return frozenset(vars(silent.parse_known_args(argv)[0]))

    def names(self) -> frozenset[str]:
        """Return the names of all options that have been added, and have a value."""
        return frozenset(action.dest for action in self._actions if action.dest != "help")

    def value_from_file(self, name: str, saved: Any) -> Any:
        """Convert what an option file says of an option, as the command line would.

        Args:
            name: the option.
            saved: text, or what JSON gives.

        Raises:
            ValueError: it is no value of the option's type.
        """
        action = next(action for action in self._actions if action.dest == name)
        if action.nargs == 0:  # a switch
            if str(saved) not in ("True", "False"):
                raise ValueError(f"{name} is a switch, not {saved!r}")
            return str(saved) == "True"
        several = action.nargs not in (None, argparse.OPTIONAL)
        if isinstance(saved, dict) or isinstance(saved, list) != several:
            raise ValueError(f"{name} takes {'several values' if several else 'one value'}")
        try:
            if several:
                return [self._get_value(action, str(value)) for value in saved]
            return self._get_value(action, str(saved))
        except argparse.ArgumentError as error:
            raise ValueError(str(error)) from error

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        """Return what an abbreviation may mean; argparse calls a longer list ambiguous."""
        matches = super()._get_option_tuples(option_string)
        of_reference = [match for match in matches if match[1] not in NEW_OPTIONS]
        return of_reference or matches
