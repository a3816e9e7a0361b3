"""Small helpers: images, folders, statistics."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from util import util
from util.util import diagnose_network, mkdir, mkdirs, print_numpy

Say = Callable[[], list[str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    """Return a function that gives the lines printed so far."""
    return lambda: capsys.readouterr().out.splitlines()


# ---- statistics --------------------------------------------------------------------------------


def test_diagnose_network_prints_the_mean_absolute_gradient(said: Say) -> None:
    net = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1))
    for parameter, value in zip(net.parameters(), (1.0, -2.0, 3.0, -6.0), strict=True):
        parameter.grad = torch.full_like(parameter, value)
    diagnose_network(net, "my net")
    assert said() == ["my net", "3.0"]  # of the parameters' means, not of all numbers


def test_diagnose_network_passes_over_frozen_parameters(said: Say) -> None:
    net = nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    net(torch.tensor([[3.0, -5.0]])).sum().backward()
    diagnose_network(net)
    assert said() == ["network", "4.0"]


def test_diagnose_network_before_the_first_backward_pass_prints_0(said: Say) -> None:
    diagnose_network(nn.Linear(2, 1))
    assert said() == ["network", "0.0"]


def test_print_numpy_prints_the_statistics(said: Say) -> None:
    print_numpy(np.array([[1, 2], [3, 10]], dtype=np.uint8))
    assert said() == ["mean = 4.000, min = 1.000, max = 10.000, median = 2.500, std=3.536"]


def test_print_numpy_prints_what_is_asked_for(said: Say) -> None:
    array = np.zeros((2, 3))
    print_numpy(array, val=False, shp=True)
    assert said() == ["shape, (2, 3)"]
    print_numpy(array, True, True)
    assert [re.split("[,=]", line)[0].strip() for line in said()] == ["shape", "mean"]
    print_numpy(array, False)
    assert said() == []


# ---- folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [mkdir, mkdirs])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_is_made_with_its_parents_and_may_exist(
    tmp_path: Path, make: Callable[[object], None], kind: Callable[[Path], object]
) -> None:
    path = tmp_path / "a" / "b"
    make(kind(path))
    (path / "file").touch()
    make(kind(path))
    assert (path / "file").exists()


@pytest.mark.parametrize("collect", [list, tuple, iter])
def test_several_folders_are_made_at_once(
    tmp_path: Path, collect: Callable[[list[object]], object]
) -> None:
    mkdirs(collect([str(tmp_path / "a"), tmp_path / "b"]))  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(FileExistsError):
        util.mkdirs(tmp_path / "a")
