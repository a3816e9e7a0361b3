"""Several processes train what one does: the same weights, optimisers, pools, random numbers."""

import re
import sys
from pathlib import Path

import pytest
import torch

from tests.processes.cases import CASES
from tests.processes.comparing import largest_difference, results
from tests.support.commands import draw, draw_pairs, draw_unpaired, scene
from tests.support.launched import run, torchrun
from tests.support.paths import ROOT
from tests.support.tiers import EVERY_LAUNCH

pytestmark = [pytest.mark.slow, pytest.mark.dist]

WORKER = str(ROOT / "tests" / "processes" / "worker.py")
EXACT = 1e-12
FOR_THREE = ("cycle_gan in half", "fp16")
# Before an instance norm a bias has no effect, so its gradient is rounding noise, which Adam
# makes as large as any other.
BEFORE_INSTANCE_NORM = {"stargan_v2": ["G.from_rgb.bias", "G.encode", "G.decode"]}
# Half precision: weights after the steps of a case.
ROUNDED = {"fp16": 5e-3, "fp16, batch norm": 5e-3, "compressed": 5e-3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw data sets of which no number of images is a multiple of the batch."""
    root = tmp_path_factory.mktemp("data")
    draw_pairs(root, "train", 11)
    draw_unpaired(root, "train", 11, 5)
    for number in range(8):
        domain = ("cat", "dog", "wild")[number % 3]
        draw(root / "domains" / "train" / domain / f"{number}.png", scene(number))
    return root


@pytest.fixture(scope="module")
def by_one(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where one process left its results."""
    folder = tmp_path_factory.mktemp("by_one")
    status, said = run([sys.executable, WORKER, str(folder), str(data)], folder)
    assert status == 0, said[-4000:]
    return folder


@pytest.fixture(scope="module", params=[2, 3])
def by_several(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Path]:
    """Return where several processes left their results, which trained all cases in one go."""
    folder = tmp_path_factory.mktemp(f"by_{request.param}")
    cases = CASES if request.param == 2 or EVERY_LAUNCH else FOR_THREE
    command = [*torchrun(request.param), WORKER, str(folder), str(data), *cases]
    status, said = run(command, folder)
    assert status == 0, said[-4000:]
    created = re.findall(r"^model \[\w+\] was created$", said, re.MULTILINE)
    assert len(created) == len(cases)  # one of them speaks
    return request.param, folder


@pytest.mark.parametrize("case", CASES)
def test_results_do_not_depend_on_the_number_of_processes(
    case: str, by_one: Path, by_several: tuple[int, Path]
) -> None:
    count, folder = by_several
    if count == 3 and not EVERY_LAUNCH and case not in FOR_THREE:
        pytest.skip("DIST=all")
    (one,), several = results(by_one, case), results(folder, case)
    assert len(several) == count
    for other in several[1:]:
        assert largest_difference(several[0], other, [])[0] == 0  # bit by bit
    without = [*one["without effect"], *BEFORE_INSTANCE_NORM.get(case, [])]
    for part in ("networks", "random"):
        ours, theirs = {part: one[part]}, {part: several[0][part]}
        assert largest_difference(ours, theirs, without)[0] < ROUNDED.get(case, EXACT)
    weights = [key for key in one["networks"] if key not in without]
    assert weights
    pool, theirs = (each["state"]["image_pools"] for each in (one, several[0]))
    assert largest_difference(pool, theirs, [])[0] < max(1e-10, 100 * ROUNDED.get(case, 0))
    first = [each["losses"][0] for each in (one, several[0])]
    torch.testing.assert_close(*first, rtol=1e-2 if case in ROUNDED else 1e-10, atol=1e-10)


def test_the_scale_of_losses_is_the_same(by_one: Path, by_several: tuple[int, Path]) -> None:
    (one,), several = results(by_one, "fp16"), results(by_several[1], "fp16")
    assert one["state"]["steps"]["scales"] == several[0]["state"]["steps"]["scales"] != []
