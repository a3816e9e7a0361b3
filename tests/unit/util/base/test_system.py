"""Processor cores, memory, and the device to compute on."""

import errno
import os
from pathlib import Path

import pytest
import torch

from util.base import system
from util.base.system import claim_device, usable_cores


def test_the_cores_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # Windows, macOS
    assert usable_cores() == (os.cpu_count() or 1)


@pytest.mark.parametrize(("gpu_ids", "index"), [([0], 0), ([1], 1), ([1, 0], 1)])
def test_the_first_gpu_becomes_the_current_one(
    monkeypatch: pytest.MonkeyPatch, gpu_ids: list[int], index: int
) -> None:
    claimed: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", claimed.append)
    assert claim_device(gpu_ids) == torch.device("cuda", index)
    assert claimed == [index]


def test_without_gpus_it_is_the_cpu() -> None:
    assert claim_device([]) == torch.device("cpu")


def test_free_memory_follows_the_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(system, "CONTROL_GROUP", tmp_path)
    without = system.free_memory()
    assert without is None or without > 10**6
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("2500\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 400\n")
    assert system.free_memory() in (900, None)
    (tmp_path / "memory.max").write_text("max\n")
    assert system.free_memory() is None or system.free_memory() > 10**6  # type: ignore[operator]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't "
                     "allocate memory: you tried to allocate 4096 bytes."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_tell_that_memory_has_run_out(error: Exception) -> None:
    assert system.is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), OSError(errno.ENOSPC, "disk"), ValueError("out of memory")]
)
def test_other_errors_do_not(error: Exception) -> None:
    assert not system.is_out_of_memory(error)


def test_torch_says_so_in_these_words() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert system.is_out_of_memory(caught.value)


def test_processes_that_were_started_together_are_counted() -> None:
    assert system.processes_started({}) == 1
    assert system.processes_started({"WORLD_SIZE": "2"}) == 1  # that alone says nothing of this one
    assert system.processes_started({"WORLD_SIZE": "2", "RANK": "0"}) == 2
    assert system.processes_started({"WORLD_SIZE": "x", "RANK": "0"}) == 1
