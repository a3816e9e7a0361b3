"""Checkpoints for tests."""

from collections.abc import Mapping
from pathlib import Path

from util.storage.checkpoint import FileSet


def save_set(files: Mapping[Path, object]) -> None:
    """Write checkpoints of one save as training does."""
    with FileSet() as written:
        for path, state in files.items():
            written.add(path, state)


def save_state(state: object, path: str | Path) -> None:
    """Write one checkpoint."""
    save_set({Path(path): state})
