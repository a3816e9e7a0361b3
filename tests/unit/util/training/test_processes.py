"""Of several processes that train together one talks, shows and saves."""

from argparse import Namespace
from pathlib import Path

import pytest

from tests.unit.util.training.test_saver import names, new_saver
from util.base import system
from util.base.log import say, warn
from util.display.create import create_sinks


@pytest.fixture(autouse=True)
def _other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "is_main_process", lambda: False)


def test_the_others_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    say("a line")
    warn("advice")
    assert capsys.readouterr() == ("", "")


def test_the_others_show_nothing(tmp_path: Path) -> None:
    opt = Namespace(isTrain=True, no_html=False, checkpoints_dir=str(tmp_path), name="run")
    assert create_sinks(opt) == []
    assert names(tmp_path) == []


def test_the_others_save_nothing(tmp_path: Path) -> None:
    with new_saver(tmp_path) as saver:
        saver.save("latest", 1)
    assert names(tmp_path) == []
