"""Checkpoints for tests."""

from pathlib import Path

from util.storage.checkpoint import save_set


def save_state(state: object, path: str | Path) -> None:
    """Write a checkpoint as training does."""
    save_set({Path(path): state})
