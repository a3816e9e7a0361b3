"""`--processes`, `--gpu_ids 0,1` and what torchrun says, as options take it."""

from typing import Any

import pytest
import torch

from options.parsing.several import notes, own_gpus, settle
from options.train_options import TrainOptions
from util.base.errors import UserError
from util.base.new_options import set_new_option
from util.processes import launching


def parsed(*argv: str) -> Any:
    return TrainOptions().parse(["--dataroot", "X", "--gpu_ids", "-1", *argv], quiet=True)


@pytest.mark.parametrize(
    ("argv", "size"),
    [(["--processes", "3"], 3), (["--processes", "3", "--batch_size", "6"], 6), ([], 1)],
)
def test_a_batch_is_of_all_processes(argv: list[str], size: int) -> None:
    assert parsed(*argv).batch_size == size


def test_a_batch_that_nobody_chose_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, told in (([], True), (["--batch_size", "3"], False)):
        options = TrainOptions()
        options.parse(["--dataroot", "X", "--gpu_ids", "-1", "--processes", "3", *argv], quiet=True)
        options.result.tell()
        said = "--batch_size is not given: 3, 1 image in each of 3 processes."
        assert (said in capsys.readouterr().out) == told


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--processes", "3", "--batch_size", "4"], "can be shared by 1, 2, 4 processes"),
        (["--processes", "0"], "--processes 0: give 1 or more"),
        (["--dist_timeout", "0"], "--dist_timeout 0: give seconds"),
        (["--dist_compress", "fp8"], "--dist_compress fp8 is not known"),
    ],
)
def test_what_does_not_fit_is_said(
    argv: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*argv)
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err


def test_torchrun_decides_how_many_processes_share_a_batch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert parsed().batch_size == 4
    assert parsed("--batch_size", "8", "--processes", "4").batch_size == 8
    with pytest.raises(SystemExit):
        parsed("--processes", "2")
    assert "--processes 2, but torchrun has started 4 processes." in capsys.readouterr().err


def test_of_too_few_processes_for_the_gpus_nothing_is_said_of_torchrun() -> None:
    opt = parsed("--processes", "2")
    (problem,) = settle(opt, [0, 1, 2], ("processes",), training=True)
    assert "there is one process for each GPU" in problem


def test_a_run_that_is_continued_keeps_its_batch(capsys: pytest.CaptureFixture[str]) -> None:
    opt = parsed("--batch_size", "6")
    opt.continue_train = True
    assert settle(opt, [], (), training=True) == []
    set_new_option(opt, "processes", 2)
    assert settle(opt, [], (), training=True) == []
    assert [*notes(opt, [], ())] == []
    set_new_option(opt, "processes", 4)
    (problem,) = settle(opt, [], (), training=True)
    assert problem.startswith("--batch_size 6, which the continued run has, is that of all proc")
    assert opt.batch_size == 6


@pytest.mark.parametrize(
    ("variables", "started"),
    [
        ({}, "python"),
        ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, "torchrun --nproc_per_node=2"),
        ({"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, "torchrun ..."),
        ({"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, "python"),
    ],
)
def test_a_command_is_given_as_this_one_was(
    variables: dict[str, str], started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", **variables}.items():
        monkeypatch.setenv(name, value)
    assert launching.starter() == started
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", f"{launching.OWN}x")  # --processes, which is saved
    assert launching.starter() == "python"


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_gpus([0, 1]) == [0, 1]
    for name, value in {"RANK": 5, "WORLD_SIZE": 8, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert own_gpus([]) == []
    assert own_gpus([0]) == [1]  # the default
    assert own_gpus([2, 3]) == [3]
    with pytest.raises(UserError, match="2 processes were started on this machine for 1 GPUs"):
        own_gpus([3])
