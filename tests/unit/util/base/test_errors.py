"""Errors for the person at the keyboard."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from util.base.errors import ChoiceError, UserError, run_command, suggest


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
