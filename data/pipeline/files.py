"""Which files a data set reads: images; where there are none, arrays."""

import os
from pathlib import Path

from data.image_folder import make_dataset
from util.images.arrays import ARRAYS


def list_files(folder: str | Path) -> list[str]:
    """List the images below a folder, sorted; if there are none, the arrays.

    So arrays that lie beside images, as other programs leave them, do not become images.

    Raises:
        UserError: no such folder.
    """
    return make_dataset(folder) or _arrays_below(str(folder))


def _arrays_below(folder: str) -> list[str]:
    found = []
    for parent, inner, names in os.walk(folder):  # linked folders stay out
        inner[:] = [name for name in inner if not name.startswith(".")]
        named = (name for name in names if name.lower().endswith(ARRAYS))
        found += [os.path.join(parent, name) for name in named if not name.startswith(".")]
    return sorted(found)
