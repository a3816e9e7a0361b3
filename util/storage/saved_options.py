"""The options that a command keeps beside a run's checkpoints: which files, and reading them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from util.storage.run_folder import RunFolder

TRAINING = "train"  # the name of train.py's record, whatever its --phase


def read_saved_options(run: RunFolder) -> tuple[Path, dict[str, Any]]:
    """Return where a run's training options were saved, and their values; empty if nowhere.

    From `train_opt.json`, which is ours, the values are those of JSON (null is infinity); from
    `train_opt.txt`, the reference's too, they are text. Where there is neither, the record of
    another `--phase` is taken, which used to be the only one, or `opt.txt`, the oldest.
    """
    for file in _records(run):
        if values := _read(file):
            return file, values
    return run.options_text(), {}


def names_of_records(run: RunFolder, phase: str, *, training: bool) -> list[str]:
    """Return the names under which a command keeps its options: `NAME_opt.txt` and `.json`.

    train.py has that of its phase, as the reference, and the one that is read back; no other
    command ever writes into those two.
    """
    if training:
        return list(dict.fromkeys([TRAINING, phase]))
    files = run.options_json(phase), run.options_text(phase)
    taken = phase == TRAINING or any(_is_of_training(_read(file)) for file in files)
    return [f"test_{phase}" if taken else phase]


def _records(run: RunFolder) -> Iterator[Path]:
    """Yield where the options may be, best first."""
    yield from (run.options_json(), run.options_text())
    for pattern in ("*_opt.json", "*_opt.txt"):
        yield from (file for file in sorted(run.path.glob(pattern)) if _is_of_training(_read(file)))
    yield run.oldest_options


def _is_of_training(values: Mapping[str, Any]) -> bool:
    return str(values.get("isTrain")) == "True"


def _read(file: Path) -> dict[str, Any]:
    """Return what a file says; nothing if it is missing or damaged."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    if file.suffix == ".json":
        with suppress(ValueError, RecursionError):
            if isinstance(saved := json.loads(text), dict):
                return saved
        return {}
    lines = (line.partition(": ") for line in text.splitlines())
    return {
        name.strip(): rest.partition("\t[default: ")[0].strip()
        for name, colon, rest in lines
        if colon
    }
