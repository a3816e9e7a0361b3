"""test.py and translate.py when one of several processes is gone, or machines share no files."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.processes.test_inference import CASES, DRIVER, SMALL, TESTED, make_images_and_runs
from tests.support.commands import draw, scene
from tests.support.launched import launched, run, torchrun
from tests.support.paths import ROOT
from tests.support.tiers import EVERY_LAUNCH

pytestmark = [pytest.mark.slow, pytest.mark.dist]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of images and runs."""
    folder = tmp_path_factory.mktemp("data")
    make_images_and_runs(folder)
    return folder


# ---- one of them is gone -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, *([signal.SIGSTOP] if EVERY_LAUNCH else [])])
def test_when_one_process_is_gone_all_end_and_nothing_half_is_left(
    data: Path, tmp_path: Path, number: int
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "results"
    for each in range(400):
        draw(photos / f"{each:03}.png", scene(each, 32))
    argv = SMALL.format(runs=data / "runs", out=out) + "--name cycles --model test --num_test -1"
    argv += f" --dataroot {photos} --processes 2 --dist_timeout 4"
    command = [sys.executable, str(ROOT / "test.py"), *argv.split()]
    with launched(command, tmp_path) as running:
        made = out / "cycles/test_latest/images/201_fake.png"  # by the second one
        running.wait_until(made.exists)
        pids = [running.pid_of(rank) for rank in (0, 1)]
        os.kill(pids[1], number)
        status, said = running.wait(), running.said
        assert not any(map(is_there, pids))
    assert status == (128 + number if number == signal.SIGKILL else 1), said
    assert said.count("using G_A (--model_suffix") == 1  # not by the process that starts others
    assert said.count("error: ") == 1, said
    assert "SIGKILL" in said if number == signal.SIGKILL else f"1 (process {pids[1]}" in said
    left = [path.name for path in out.rglob("*") if path.is_file()]
    assert left
    # Who is killed in the middle of a write leaves what it had begun, until the next test.
    begun = rf"\.{pids[1]}-\d+\.tmp-" if number == signal.SIGKILL else ""
    assert all(re.fullmatch(rf"({begun})?\d+_(real|fake)\.png", name) for name in left), left


def is_there(pid: int) -> bool:
    """Tell whether a process runs, or could."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


# ---- machines that share no files --------------------------------------------------------------

# A process of its own working folder for each rank: what a relative path names is not shared.
ELSEWHERE = """
import os, runpy, sys

os.chdir(os.path.join(sys.argv[1], os.environ["RANK"]))
del sys.argv[0:2]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_results_of_machines_must_lie_on_a_file_system_that_they_share(
    data: Path, tmp_path: Path
) -> None:
    tried = {
        "a folder": ("-o", "translated", "y/a.png"),
        TESTED: (
            "--results_dir", "tested", "images/p4_fake_B.png",
        ),
    }  # fmt: skip
    todo = []
    for case, (_, out, _) in tried.items():
        script, argv, given = CASES[case]
        todo.append((script, argv.format(data=data, runs=data / "runs", out=out).split(), given))
    (tmp_path / "commands.json").write_text(json.dumps(todo))
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    start = [*torchrun(2), str(tmp_path / "elsewhere.py"), str(tmp_path)]
    status, said = run([*start, str(DRIVER), str(tmp_path / "commands.json")], tmp_path)
    assert status == 0, said
    for rank in range(2):
        assert json.loads((tmp_path / f"commands_{rank}.json").read_text()) == [1, 1], said
    not_found = "error: The first process does not find what another one has written: "
    errors = [line for line in said.splitlines() if "error: " in line]
    assert len(errors) == len(tried), said
    for error, (option, out, file) in zip(errors, tried.values(), strict=True):
        assert error.startswith(f"{not_found}{out}/"), said
        assert f"/{file}, and " in error
        assert f"let {option} name" in error
        made = [len(list((tmp_path / str(rank) / out).rglob("*.png"))) for rank in range(2)]
        assert min(made) > 0
    assert "Translated" not in said
    assert not list(tmp_path.rglob("index.html"))
