"""Errors meant for the person at the keyboard, and how the command line shows them."""

import errno
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from sysconfig import get_paths
from traceback import extract_tb

from util.base import system
from util.base.log import flush_or_mute, mute, note, note_of_process, open_missing_streams
from util.base.stop_signals import end_in_order, raise_at_ctrl_c

OUT_OF_MEMORY = (
    "Out of memory. Less is needed with smaller images (--crop_size, --load_size), a smaller "
    "--batch_size (--accumulate makes up for that in training), --precision bf16, and in training "
    "--grad_checkpoint."
)
CHECK_ALL = "Check the path, your rights there, and the space on the disk."
MAKE_ROOM = "Make room on that disk, or write to another one."
ADVICE = {  # by what the system says
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EROFS: "That disk can only be read: write to another one.",
    errno.EIO: "The disk itself has failed: look at the system's log, and write to another one.",
}


class UserError(ValueError):
    """Something the user can put right: says what was given, why it fails, and what to do."""

    is_said = False  # by another process, which fails for the same reason
    is_shared = False  # all processes have this very error, and may act together still


class LoadError(UserError):
    """Images cannot be loaded any more; `hint` says what to do about it."""

    hint = ""


class ChoiceError(UserError, NotImplementedError):
    """A name that none of the built-in tables knows (netG, norm, init_type, gan_mode, ...)."""


class WriteError(OSError, UserError):
    """A file that could not be written: says which, why, and what to do."""

    def __init__(self, path: str | Path, error: OSError) -> None:
        super().__init__(error.errno, error.strerror, str(path))

    def __str__(self) -> str:
        return describe(self)


@contextmanager
def about(what: object) -> Iterator[None]:
    """Let a UserError that is raised inside begin with what it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}") from error


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Let an error of the system name the file that is written inside: many name none."""
    try:
        yield
    except WriteError:
        raise
    except (OSError, RuntimeError) as error:  # torch's writer turns some into the latter
        if cause := system_error(error):
            raise WriteError(path, cause) from error
        raise  # an encoder's, say


def system_error(error: BaseException) -> OSError | None:
    """Return what the system said, if anything: torch's writer hides it behind its own errors."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def describe(error: OSError) -> str:
    """Say which file the system refused, as far as it is known, why, and what to do."""
    file = "The output, or a file" if error.filename is None else error.filename
    return f"{file}: {error.strerror or error}. {ADVICE.get(error.errno or 0, CHECK_ALL)}"


def suggest(given: str, known: Iterable[str], heading: str = "Available") -> str:
    """Say which known names there are, and which of them was probably meant.

    >>> suggest("unet_265", ["unet_128", "unet_256"])
    "Did you mean 'unet_256'? Available: unet_128, unet_256."
    """
    names = list(known)
    lower = {name.lower(): name for name in names}
    close = get_close_matches(given.lower(), lower, n=1)
    hint = f"Did you mean {lower[close[0]]!r}? " if close else ""
    return f"{hint}{heading}: {', '.join(names)}."


def run_command(main: Callable[[], None], *, several: bool = False) -> int:
    """Run a command's `main` and return its exit status; mistakes show a traceback if --verbose.

    Signals that would kill the process end it in order, together with what it has started. Only
    one that can work in `several` processes may be started by torchrun.
    """
    open_missing_streams()
    raise_at_ctrl_c()
    try:
        with end_in_order():
            if not several:
                _refuse_several_processes()
            main()
    except BrokenPipeError:  # who read what a script prints has gone, as in: plot_losses.py | head
        mute(sys.stdout)
        return 1
    except KeyboardInterrupt:
        note("interrupted")
        return 130
    except Exception as error:
        text = _message_of(error)
        if text is None:  # a bug, perhaps
            raise
        if not getattr(error, "is_said", False):
            note_of_process(f"error: {text}")
        if "--verbose" in sys.argv:
            raise
        return 1
    return 0


def _refuse_several_processes() -> None:
    if (count := system.processes_started()) > 1:
        raise UserError(
            f"{count} processes were started, as by torchrun (WORLD_SIZE={count}), but this "
            f"command runs as one. Start it by itself: python {shlex.join(sys.argv)}"
        )


def in_words(error: Exception) -> str:
    """Say what an error is, where work goes on: one that is none for users with its place."""
    if (text := _message_of(error)) is not None:
        return text
    frames = extract_tb(error.__traceback__)
    libraries = tuple(get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
    frame = ([f for f in frames if not f.filename.startswith(libraries)] or frames)[-1]
    line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {line} ({frame.filename}, line {frame.lineno})"


def _message_of(error: Exception) -> str | None:
    """Return what a user should read about an error; None if it is none for users."""
    if system.is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, OSError):
        if error.filename is None:
            if error.errno not in ADVICE:
                return None
            flush_or_mute(sys.stdout)  # it may be our output that the disk does not take
        return describe(error)
    return str(error) if isinstance(error, UserError) else None
