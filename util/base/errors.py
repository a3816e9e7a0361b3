"""Errors meant for the person at the keyboard, and how the command line shows them."""

import os
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user can put right: says what was given, why it fails, and what to do."""


class LoadError(UserError):
    """Images cannot be loaded any more.

    Attributes:
        hint: what to do about it.
    """

    hint = ""


class ChoiceError(UserError, NotImplementedError):
    """A name that none of the built-in tables knows (netG, norm, init_type, gan_mode, ...)."""


def suggest(given: str, known: Iterable[str]) -> str:
    """Say which known names there are, and which of them was probably meant.

    >>> suggest("unet_265", ["unet_128", "unet_256"])
    "Did you mean 'unet_256'? Available: unet_128, unet_256."
    """
    names = list(known)
    lower = {name.lower(): name for name in names}
    close = get_close_matches(given.lower(), lower, n=1)
    hint = f"Did you mean {lower[close[0]]!r}? " if close else ""
    return f"{hint}Available: {', '.join(names)}."


def run_command(main: Callable[[], None]) -> int:
    """Run a command's `main` and return its exit status; a user's mistake prints no traceback.

    `--verbose` on the command line adds the traceback.
    """
    try:
        main()
    except BrokenPipeError:  # the reader of our output has gone, as in: train.py | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UserError, OSError) as error:
        message = _message(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)  # noqa: T201 - the one place errors are shown
        if "--verbose" in sys.argv:
            raise
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _message(error: Exception) -> str | None:
    """Return what to tell the user; None for an error of the system that names no file."""
    if not isinstance(error, OSError):
        return str(error)
    if error.filename is None:
        return None
    return (
        f"{error.filename}: {error.strerror or error}. Check the path, your rights there, and the "
        "space on the disk."
    )
