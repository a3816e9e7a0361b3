"""What a run shows while it trains, after it was stopped, and once it goes on."""

import html
import os
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import draw_unpaired
from tests.support.runs import (
    command,
    differences,
    draw_data,
    outcome,
    resume,
    run,
    run_until,
)
from tests.support.terminal import on_terminal
from util.base.errors import UserError
from util.display.sinks.epochs import read_metrics
from util.training.progress import Progress
from util.training.run import Run
from util.training.validation import Validator


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

    def look(self: Progress, *images: int) -> None:
        seen.append(page(tmp_path))
        advance(self, *images)

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
        r"epoch (\d)/3 +\d+%\|[^|]*\| +(\?|[\d.]+)img/s, "
        r"left (\?|[\d:]+), run (\?|[\d:]+)",
        terminal.output,
    )
    assert {epoch for epoch, *_ in lines} == {"1", "2", "3"}
    assert lines[0][-1] == "?"  # nobody knows yet
    assert all(line[-1] != "?" for line in lines if line[0] != "1")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_signal_during_validation_gives_it_up_until_the_run_goes_on(
    workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw_data(tmp_path / "data")
    draw_unpaired(root, "val", 3, 3)
    argv = ["--num_threads", workers, "--save_best", "cycle_L1", "--display_freq", "2"]
    run(command(root, tmp_path / "whole", "cycle_gan", *argv))
    measured = []
    count_images = Validator._features

    def ask_to_stop(self: Validator, *arguments: Any) -> Iterator[Any]:
        measured.append(1)
        yield from count_images(self, *arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "measure", after_trial(patch, ask_to_stop))
        with pytest.raises(SystemExit) as ended:
            run(command(root, tmp_path / "parts", "cycle_gan", *argv))
    assert ended.value.code == 143
    assert len(measured) == 1
    run(resume(tmp_path / "parts"))
    whole, parts = (tmp_path / name / "run" for name in ("whole", "parts"))
    assert differences(outcome(whole), outcome(parts)) == []
    assert differences(outcome(whole, "best"), outcome(parts, "best")) == []
    validations = [
        [(record["epoch"], record["val"]) for record in read_metrics(folder / "metrics.jsonl")]
        for folder in (whole, parts)
    ]
    assert validations[0] == validations[1]
    assert len(validations[0]) == 3


def after_trial(patch: pytest.MonkeyPatch, replacement: Any) -> Any:
    """Return `Run.measure`, which lets validation be another one from its first call on."""
    measure = Run.measure

    def replace_and_measure(self: Run) -> Any:
        patch.setattr(Validator, "_features", replacement)
        return measure(self)

    return replace_and_measure
