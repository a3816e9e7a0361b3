"""Processor cores, and the device to compute on."""

import os

import pytest
import torch

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
