"""A run that begins in a folder where something may be already: it mixes and loses nothing."""

import shutil
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from util.base import system
from util.base.log import note
from util.storage.run_folder import RunFolder
from util.storage.saved_options import read_saved_options


class NewRun:
    """Clear the folder of a run that begins anew.

    What an earlier run has left is moved into `before-<date>`, which is a run's folder too.
    Networks alone, which somebody has put there, stay. A start that fails undoes it all. One that
    was to go on with a run leaves its record of options as it was.
    """

    def __init__(self, opt: Namespace) -> None:
        self.name: str = opt.name
        self.folder = RunFolder(opt.checkpoints_dir, opt.name)
        is_main = system.is_main_process()
        self.begins = is_main and not opt.continue_train
        opts = self.folder.path.glob("[!.]*_opt.*") if is_main and opt.continue_train else []
        self._records = {file: file.read_bytes() for file in opts}
        self._stays: list[Path] = []
        self._before: Path | None = None  # where the rest has gone

    def set_earlier_run_aside(self) -> None:
        """Move what an earlier run has left, and say where it is."""
        if not self.begins:
            return
        files, labels = self.folder.contents(), self.folder.labels()
        self._stays = files
        if holds_run(self.folder):
            before = new_subfolder(self.folder.path)
            self.folder.moving.mkdir()
            for file in files:
                file.rename(self.folder.moving / file.name)
            self._before, self._stays = self.folder.moving.rename(before), []
            note(
                f"{self.folder} held a run already. It is in {before} now: test or continue it "
                f"with --name {self.name}/{before.name}."
            )
        elif labels:
            note(
                f"{self.folder} holds networks, but no run ({', '.join(labels)}): this run's saves "
                "replace those of the same names. --continue_train goes on with them instead."
            )

    @contextmanager
    def undone_on_failure(self, unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Bring the folder back to what it was if the block fails, `unless` this holds then."""
        try:
            yield
        except BaseException as error:
            if self.begins and not unless():
                self._undo()
            elif isinstance(error, Exception) and not unless():  # no signal, after which it goes on
                for file, content in self._records.items():
                    file.write_bytes(content)
            raise

    def _undo(self) -> None:
        for path in self.folder.contents():
            if path.is_dir() and path not in self._stays:
                shutil.rmtree(path, ignore_errors=True)
            elif path not in self._stays:
                path.unlink(missing_ok=True)
        if self._before is not None:
            self._before.rename(self.folder.moving)
        if move_back(self.folder):
            note(f"{self.folder} is as it was: nothing has been trained.")


def move_back(folder: RunFolder) -> bool:
    """Undo a move to `before-<date>` that is not finished; tell whether there was one.

    Until it is finished nothing else is written there, so nothing is in the way.
    """
    if not folder.moving.is_dir():
        return False
    for path in folder.moving.iterdir():
        path.rename(folder.path / path.name)
    folder.moving.rmdir()
    return True


def holds_run(folder: RunFolder) -> bool:
    """Tell whether something was trained here: not only begun, nor put here by hand."""
    log, saves = folder.loss_log, folder.labels()
    return (
        folder.losses.exists()
        or folder.metrics.exists()
        or (log.is_file() and "(epoch: " in log.read_text(encoding="utf-8", errors="replace"))
        or any(folder.state_file(label).exists() for label in saves)
        or bool(saves and read_saved_options(folder)[1])
    )


def new_subfolder(folder: Path) -> Path:
    """Return a folder that is not there yet, for what was there before now."""
    date = time.strftime("before-%Y-%m-%d_%H-%M-%S")
    names = (date if number == 1 else f"{date}_{number}" for number in count(1))
    return next(folder / name for name in names if not (folder / name).exists())
