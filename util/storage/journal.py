"""Several files as one: either all of them are replaced or none, and readers never mix two saves.

A file system renames one file at a time. So a journal is written first, which says what is to be
renamed: from then on the new set counts. Whoever is killed between two renames leaves the journal
behind; readers follow it, and the next writer finishes the work.
"""

import errno
import json
import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from util.base.errors import UserError, writing
from util.storage.files import flush_folder, write_file

ATTEMPTS = 200
PAUSE_SECONDS = 0.01

one_at_a_time = threading.RLock()  # among the threads of this process


def write_journal(temporaries: Mapping[Path, Path]) -> Path:
    """Make finished files of a folder count under their final names; return the journal to replay.

    `temporaries` says by final name where the content is: in that folder, on the disk already.
    """
    journal = next(iter(temporaries)).with_name(f".{os.getpid()}.commit")
    names = {final.name: temporary.name for final, temporary in temporaries.items()}
    write_file(journal, lambda file: file.write(json.dumps(names).encode()))
    flush_folder(journal.parent)
    return journal


def replay(journal: Path) -> None:
    """Do the renames that were announced, except those that have been done already."""
    for final, temporary in _read(journal).items():
        with writing(final), suppress(FileNotFoundError):
            os.replace(temporary, final)
    flush_folder(journal.parent)
    journal.unlink(missing_ok=True)


def recover(folder: str | Path) -> None:
    """Do the renames that a killed process has left, before newer ones.

    Whether that process lives is not asked: its number may be another one's by now, and nobody is
    harmed by renames that are done twice.
    """
    with one_at_a_time:
        for journal in _journals(Path(folder)):
            replay(journal)


def _journals(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(".*.commit") if ".tmp-" not in path.name)


def _read(journal: Path) -> dict[Path, Path]:
    """Return what is to be renamed, by final name; nothing if the journal has been worked off."""
    try:
        names, beside = json.loads(journal.read_text(encoding="utf-8")), journal.parent
        return {beside / Path(new).name: beside / Path(old).name for new, old in names.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{journal} is damaged ({error}), so it is unknown to which save the checkpoints "
            "beside it belong. Delete it to use them as they are."
        ) from error


@contextmanager
def open_together(paths: Sequence[Path]) -> Iterator[dict[Path, BufferedReader]]:
    """Open files of one folder so that all belong to the same save, whoever writes meanwhile."""
    for _ in range(ATTEMPTS):
        pending = _pending(paths[0].parent)
        with ExitStack() as stack:
            try:
                files = {p: stack.enter_context(_open(pending.get(p, p))) for p in paths}
            except FileNotFoundError:
                if _pending(paths[0].parent) == pending:
                    raise
                files = {}
            if files and _is_current(files, pending):
                yield files
                return
        time.sleep(PAUSE_SECONDS)
    raise UserError(f"{paths[0]} is replaced faster than it can be read. Try again later.")


def exists(path: Path) -> bool:
    """Tell whether a file is there, perhaps under its temporary name still."""
    return path.is_file() or path in _pending(path.parent)


def _open(path: Path) -> BufferedReader:
    """Open a regular file; a pipe would wait for somebody to write."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, "not a regular file", str(path))
    return path.open("rb")


def _pending(folder: Path) -> dict[Path, Path]:
    """Return the files that count already but still have their temporary names."""
    return {
        new: old
        for journal in _journals(folder)
        for new, old in _read(journal).items()
        if old.exists()
    }


def _is_current(files: Mapping[Path, BufferedReader], pending: Mapping[Path, Path]) -> bool:
    """Tell whether nothing was renamed between the first and the last opening."""
    with suppress(FileNotFoundError):
        return _pending(next(iter(files)).parent) == pending and all(
            os.path.samestat(os.fstat(file.fileno()), pending.get(path, path).stat())
            for path, file in files.items()
        )
    return False
