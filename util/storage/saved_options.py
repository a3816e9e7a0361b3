"""Read what a run's options were, from beside its checkpoints."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from util.storage.run_folder import RunFolder


def read_saved_options(run: RunFolder) -> tuple[Path, dict[str, Any]]:
    """Return where a run's training options were saved, and their values; empty if nowhere.

    From `train_opt.json`, which is ours, the values are those of JSON (null is infinity); from
    `train_opt.txt`, the reference's too, they are text.
    """
    file = run.options_json()
    with suppress(ValueError, RecursionError):  # damaged: the text file beside it says the same
        if file.is_file() and isinstance(saved := json.loads(file.read_text("utf-8")), dict):
            return file, saved
    file = run.options_text()
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    lines = (line.partition(": ") for line in text.splitlines())
    return file, {
        name.strip(): rest.partition("\t[default: ")[0].strip()
        for name, colon, rest in lines
        if colon
    }
