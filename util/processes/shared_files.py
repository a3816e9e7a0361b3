"""Files that several processes have written, and that the first one is to go on with."""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from util.base.errors import UserError
from util.processes import group
from util.processes.parts import by_first

PATIENCE = 5.0  # seconds until what is written elsewhere must have come
LOOKS = 0.2  # seconds between two looks

Sizes = Mapping[str, int]  # in bytes, of files


def require_shared(written: Iterable[str | Path], option: str) -> None:
    """See that the first process finds the files that all processes have written.

    It does not if they are on several machines and the folder of results, `option`, is not shared.

    Raises:
        UserError: one is not there, or is another one, as of an earlier command.
    """
    with group.with_others():
        if group.count() == 1:
            return
        of_others = group.gathered(_sizes(written))[1:]
    by_first(lambda: _require_here(of_others, option))


def _require_here(of_others: Iterable[Sizes], option: str) -> None:
    """Raise a UserError unless files of these sizes are here, or come soon."""
    missing: Sizes = {file: size for sizes in of_others for file, size in sizes.items()}
    last = time.monotonic() + PATIENCE
    while missing := _other_than(missing, _sizes(missing)):
        if time.monotonic() > last:
            file = min(missing)
            more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise UserError(
                f"The first process does not find what another one has written: {file}{more}. What "
                "several machines write must lie on a file system that all of them share: let "
                f"{option} name such a folder."
            )
        time.sleep(LOOKS)
        _ask_anew({os.path.dirname(file) for file in missing})


def _other_than(wanted: Sizes, found: Sizes) -> Sizes:
    return {file: size for file, size in wanted.items() if found.get(file) != size}


def _sizes(files: Iterable[str | Path]) -> Sizes:
    """Return the sizes of those of the files that are there."""
    sizes = {}
    for file in files:
        with suppress(OSError):
            sizes[str(file)] = os.path.getsize(file)
    return sizes


def _ask_anew(folders: Iterable[str]) -> None:
    """Open folders: else NFS may take half a minute until it asks its server what is new there."""
    for folder in folders:
        with suppress(OSError):
            os.scandir(folder or ".").close()
