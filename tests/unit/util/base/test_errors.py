"""Errors for the person at the keyboard."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import ROOT
from util.base.errors import (
    MAKE_ROOM,
    ChoiceError,
    UserError,
    WriteError,
    run_command,
    suggest,
    system_error,
    writing,
)


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.fixture(autouse=True)
def _plain_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])


def test_a_command_that_works_has_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    calls = []
    assert run_command(lambda: calls.append("main")) == 0
    assert calls == ["main"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [UserError, ChoiceError])
def test_a_users_mistake_has_status_1_and_a_message_without_traceback(
    capsys: pytest.CaptureFixture[str], kind: type[UserError]
) -> None:
    assert run_command(raising(kind("There are no images in X. Check --dataroot."))) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: There are no images in X. Check --dataroot.\n"


def test_verbose_adds_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--verbose"])
    with pytest.raises(UserError, match="wrong"):
        run_command(raising(UserError("wrong")))
    assert capsys.readouterr().err == "error: wrong\n"


def test_an_interruption_has_status_130_and_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("error", [ValueError("bug"), RuntimeError("bug"), ImportError("bug")])
def test_any_other_error_surfaces_as_itself(error: Exception) -> None:
    with pytest.raises(type(error), match="bug"):
        run_command(raising(error))


def test_an_exit_status_is_passed_on() -> None:
    with pytest.raises(SystemExit) as caught:  # argparse's 2, or 0 of --help
        run_command(raising(SystemExit(2)))
    assert caught.value.code == 2


def test_a_wrong_choice_is_also_what_the_reference_raised() -> None:
    assert issubclass(ChoiceError, NotImplementedError)
    assert issubclass(UserError, ValueError)


def test_a_near_miss_is_suggested() -> None:
    assert (
        suggest("unet_265", ["unet_128", "unet_256"])
        == "Did you mean 'unet_256'? Available: unet_128, unet_256."
    )


def test_without_a_near_miss_only_the_choices_are_listed() -> None:
    assert suggest("xyz", {"lsgan": 1, "vanilla": 2}) == "Available: lsgan, vanilla."


@given(given_name=st.text(), known=st.lists(st.text(), max_size=5))
def test_all_choices_are_always_listed(given_name: str, known: list[str]) -> None:
    message = suggest(given_name, iter(known))
    assert message.endswith(f"Available: {', '.join(known)}.")
    if given_name in known:
        assert message.startswith(f"Did you mean {given_name!r}? ")


# ---- files that cannot be written ---------------------------------------------------------------


def refused(number: int, *more: str) -> OSError:
    return OSError(number, os.strerror(number), *more)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Make room on that disk"),
        (errno.EDQUOT, "Make room on that disk"),
        (errno.EROFS, "can only be read"),
        (errno.EIO, "look at the system's log"),
        (errno.EACCES, "your rights there"),
    ],
)
def test_what_the_system_refuses_names_the_file_the_reason_and_what_to_do(
    number: int, advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write() -> None:
        with writing(tmp_path / "file.txt"):
            raise refused(number, "something else")

    assert run_command(write) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / 'file.txt'}: {os.strerror(number)}. ")
    assert advice in said
    assert said.count("\n") == 1


def test_the_innermost_name_stays() -> None:
    with pytest.raises(WriteError, match=r"^inner: "), writing("outer"), writing("inner"):
        raise refused(errno.ENOSPC)


def test_a_write_error_is_the_users_and_the_systems() -> None:
    error = WriteError("a.pth", refused(errno.ENOSPC))
    assert isinstance(error, UserError)
    assert (error.errno, error.filename) == (errno.ENOSPC, "a.pth")


@pytest.mark.parametrize("error", [OSError("cannot write mode CMYK"), RuntimeError("a bug")])
def test_what_the_system_has_not_said_is_passed_on(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, writing("a.png"):
        raise error
    assert caught.value is error


def test_the_reason_is_the_deepest_the_system_gave() -> None:
    assert system_error(ValueError("plain")) is None
    assert system_error(OSError("no number")) is None
    outer, full = RuntimeError("outer"), refused(errno.ENOSPC)
    outer.__cause__ = RuntimeError("inner")
    outer.__cause__.__context__ = full
    assert system_error(outer) is full
    with pytest.raises(WriteError, match=r"a\.pth: No space left on device"), writing("a.pth"):
        raise outer


def test_a_full_disk_without_a_name_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command(raising(refused(errno.ENOSPC))) == 1
    said = capsys.readouterr().err
    assert said == f"error: The output, or a file: {os.strerror(errno.ENOSPC)}. {MAKE_ROOM}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_the_disk_does_not_take_ends_the_command_with_one_message() -> None:
    program = (
        "import sys; from util.base.errors import run_command; from util.base.log import say; "
        "sys.exit(run_command(lambda: say('text')))"
    )
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: The output, or a file: ")
    assert ended.stderr.count("\n") == 1
