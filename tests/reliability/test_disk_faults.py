"""Requests to the disk are refused in turn: before, during and after training, and testing.

RELIABILITY=long refuses every single one, else every seventh is.

What must follow: one message that names the file, no traceback, status 1; or a warning where only a
log or a page is lost. What was saved before is whole, always.
"""

import atexit
import errno
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.reliability.conftest import Count
from tests.support.commands import draw_pairs, script
from tests.support.disk_faults import DiskFaults
from tests.support.tiers import LONG, some
from util.base.errors import run_command
from util.storage import checkpoint
from util.storage.run_folder import RunFolder
from util.training.saver import read_state

NETWORK = ("--model", "pix2pix", "--netG", "resnet_6blocks", "--ngf", "2", "--gpu_ids", "-1",
           "--crop_size", "32", "--num_threads", "0")  # fmt: skip
TRAINING = ("--load_size", "32", "--ndf", "2", "--display_id", "-1", "--seed", "1",
            "--n_epochs", "1", "--n_epochs_decay", "0", "--print_freq", "2",
            "--display_freq", "2", "--save_latest_freq", "2")  # fmt: skip
KINDS = ("new run", "continued run", "test")
FEW = 7  # requests that the fast tests refuse
STRIDE = 1 if LONG else 15  # of how many requests the slow ones refuse one, each in its own run


@dataclass
class Place:
    """Where one try works, and the command it runs there."""

    folder: Path
    name: str
    argv: list[str]

    @property
    def run(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.folder / "checkpoints", "run")

    def main(self) -> None:
        """Run the command."""
        script(self.name, self.argv)


MakePlace = Callable[[str], Place]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw images, and train on them once."""
    folder = tmp_path_factory.mktemp("trained")
    draw_pairs(folder / "data", "train", 3)
    draw_pairs(folder / "data", "val", 1)
    draw_pairs(folder / "data", "test", 2)
    script("train", command("train", folder, folder / "data", TRAINING))
    return folder


def command(name: str, folder: Path, data: Path, more: Sequence[str]) -> list[str]:
    argv = ["--dataroot", str(data), "--name", "run", *NETWORK, *more]
    argv += ["--checkpoints_dir", str(folder / "checkpoints")]
    return argv if name == "train" else [*argv, "--results_dir", str(folder / "results")]


@pytest.fixture
def make_place(trained: Path, tmp_path: Path) -> MakePlace:
    """Return a function that sets up a new folder for a try."""
    numbers = iter(range(10**6))

    def make(kind: str) -> Place:
        folder = tmp_path / f"try{next(numbers)}"
        folder.mkdir()
        if kind != "new run":
            shutil.copytree(trained / "checkpoints", folder / "checkpoints")
        name = "test" if kind == "test" else "train"
        more = {"new run": TRAINING, "test": ()}.get(
            kind, (*TRAINING, "--continue_train", "--n_epochs", "2")
        )
        return Place(folder, name, command(name, folder, trained / "data", more))

    return make


def attempt(
    place: Place, faults: DiskFaults, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Run the command on a disk with faults; return its status and what it said on stderr."""
    capsys.readouterr()
    at_exit: list[Callable[[], object]] = []
    with faults.active(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(atexit, "register", at_exit.append)
        patch.setattr(atexit, "unregister", lambda call: call in at_exit and at_exit.remove(call))
        status = run_command(place.main)
        for call in reversed(at_exit):
            call()
    return status, capsys.readouterr().err


def requests(place: Place, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return all that a command asks of a disk that works."""
    faults = DiskFaults(place.folder)
    assert attempt(place, faults, capsys)[0] == 0
    return faults.asked


def assert_in_order(place: Place, faults: DiskFaults, status: int, said: str) -> None:
    """Look at what a command said and left that was refused something."""
    told = f"{faults.asked[faults.first - 1]}, status {status}: {said}"
    assert "Traceback" not in said, told
    assert status in (0, 1), told
    errors = re.findall(r"^error: .*", said, re.MULTILINE)
    assert len(errors) == status, told
    if status == 1:
        assert str(place.folder) in errors[0], told
        assert re.search(r"space on the disk|Make room|write to another one", errors[0]), told
    unfinished = [path.name for path in place.folder.rglob(".*.tmp-*") if not journaled(path)]
    assert unfinished == [], told
    assert_saves_are_whole(place, told, ended=status == 0)


def journaled(path: Path) -> bool:
    """Tell whether a file counts already, though it has its temporary name still."""
    return any(path.name in journal.read_text() for journal in path.parent.glob(".*.commit"))


def assert_saves_are_whole(place: Place, told: str, *, ended: bool) -> None:
    """Read what was saved: state and networks belong together, whatever happened."""
    pending = [
        new for path in place.run.path.glob(".*.commit") for new in json.loads(path.read_text())
    ]
    saved = [*(path.name for path in place.run.network_files()), *pending]
    labels = {name.split("_")[0] for name in saved if not name.startswith(".")}
    if "--continue_train" in place.argv or place.name == "test" or ended:
        assert "latest" in labels, told
    for label in labels:
        state = read_state(place.run, label)
        assert state is not None, f"{label}: {told}"
        for net in ("G", "D"):
            path = place.run.network_file(label, net)
            with checkpoint.open_save([path]) as files:
                assert checkpoint.load_state(path, file=files[path]), told
        if ended and place.name == "train" and label == "latest":
            assert state["progress"]["epoch"] == (3 if "--continue_train" in place.argv else 2)


def refuse(
    kind: str,
    numbers: Sequence[int],
    make_place: MakePlace,
    capsys: pytest.CaptureFixture[str],
    *,
    lasting: bool,
    reason: int = errno.ENOSPC,
) -> list[int]:
    """Refuse each of the requests in a run of its own; return the exit statuses."""
    statuses = []
    for first in numbers:
        place = make_place(kind)
        faults = DiskFaults(place.folder, first, lasting=lasting, number=reason)
        status, said = attempt(place, faults, capsys)
        assert len(faults.asked) >= first
        assert_in_order(place, faults, status, said)
        statuses.append(status)
        shutil.rmtree(place.folder)
    return statuses


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fills_up_ends_a_command_with_one_message(
    kind: str, make_place: MakePlace, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = len(requests(make_place(kind), capsys))
    chosen = sorted({1, 2, 3, *(1 + asked * part // FEW for part in range(1, FEW))})
    assert 1 in refuse(kind, chosen, make_place, capsys, lasting=True)


@pytest.mark.slow
@pytest.mark.parametrize("lasting", some([False, True]))
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_refused_a_command_ends_in_order(
    kind: str,
    lasting: bool,
    make_place: MakePlace,
    capsys: pytest.CaptureFixture[str],
    count: Count,
) -> None:
    asked = len(requests(make_place(kind), capsys))
    first = 1 if lasting else 1 + STRIDE // 2  # the two tests refuse different ones
    statuses = refuse(kind, range(first, asked + 1, STRIDE), make_place, capsys, lasting=lasting)
    assert 1 in statuses
    count(f"disk requests refused, {kind}", len(statuses))


@pytest.mark.slow
@pytest.mark.parametrize("reason", some([errno.EACCES, errno.EIO, errno.EROFS, errno.EDQUOT], 2))
@pytest.mark.parametrize("kind", KINDS)
def test_other_reasons_end_a_command_in_order_too(
    kind: str, reason: int, make_place: MakePlace, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = len(requests(make_place(kind), capsys))
    refuse(kind, range(1, asked, asked // FEW), make_place, capsys, lasting=True, reason=reason)
