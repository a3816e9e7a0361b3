"""Read what a run's options were, from beside its checkpoints."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from util.storage.run_folder import RunFolder


def read_saved_options(run: RunFolder) -> tuple[Path, dict[str, Any]]:
    """Return where a run's training options were saved, and their values; empty if nowhere.

    From `train_opt.json`, which is ours, the values are those of JSON (null is infinity); from
    `train_opt.txt`, the reference's too, they are text.
    """
    file = run.options_json()
    if file.is_file():
        try:
            saved = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):  # damaged: the text file beside it says the same
            saved = None
        if isinstance(saved, dict):
            return file, saved
    file = run.options_text()
    if file.is_file():
        return file, dict(_lines(file.read_text(encoding="utf-8", errors="replace")))
    return file, {}


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, rest = line.partition(": ")
        if colon:
            yield name.strip(), rest.partition("\t[default: ")[0].strip()
