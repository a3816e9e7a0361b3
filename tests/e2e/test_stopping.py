"""What a run shows while it trains, after it was stopped, and once it goes on."""

import html
import re
import shlex
from pathlib import Path

import pytest

from tests.support.runs import command, draw_data, resume, run, run_until
from tests.support.terminal import on_terminal
from util.base.errors import UserError
from util.training.progress import Progress


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data(tmp_path_factory.mktemp("data"))


def page(checkpoints: Path) -> str:
    return (checkpoints / "run" / "web" / "index.html").read_text(encoding="utf-8")


def test_the_page_tells_that_training_was_stopped_until_it_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_until(command(root, tmp_path, "cycle_gan"), 7)
    text = page(tmp_path)
    folder = html.escape(shlex.quote(str(tmp_path)))
    assert "Training was stopped by SIGTERM. Written " in text
    assert f"python train.py --name run --continue_train --checkpoints_dir {folder}</pre>" in text
    assert 'data-refresh="0"' in text

    seen: list[str] = []
    advance = Progress.advance

    def look(self: Progress, images: int) -> None:
        seen.append(page(tmp_path))
        advance(self, images)

    monkeypatch.setattr(Progress, "advance", look)
    run(resume(tmp_path))
    assert "Training goes on" in seen[0]  # before it has shown anything
    assert 'data-refresh="1"' in seen[0]
    assert "<pre>" not in seen[0]
    text = page(tmp_path)
    assert "Training has ended." in text
    assert "<pre>" not in text


def test_the_page_tells_of_an_error(root: Path, tmp_path: Path) -> None:
    argv = command(root, tmp_path, "cycle_gan", "--lr", "1e30", "--n_epochs", "3")
    with pytest.raises(UserError) as caught:
        run(argv)
    text = page(tmp_path)
    assert "Training was stopped by an error. " in text
    assert str(caught.value).split(" ")[0] in text
    assert 'data-refresh="0"' in text


@pytest.mark.slow
def test_one_line_tells_how_far_training_is(root: Path, tmp_path: Path) -> None:
    with on_terminal() as terminal:
        run(command(root, tmp_path, "cycle_gan", "--num_threads", "0"))
    lines = re.findall(
        r"epoch (\d)/3: +\d+%\|[^|]*\| (\d)/(\d), +(\?|[\d.]+)img/s, "
        r"left: epoch (\?|[\d:]+), run (\?|[\d:]+)",
        terminal.output,
    )
    assert {epoch for epoch, *_ in lines} == {"1", "2", "3"}
    assert lines[0][-1] == "?"  # nobody knows yet
    assert all(line[-1] != "?" for line in lines if line[0] != "1")
