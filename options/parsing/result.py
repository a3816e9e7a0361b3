"""What a command line gave: which options, and how they are described and saved."""

import json
import math
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from util.base.log import say
from util.storage.files import write_text
from util.storage.run_folder import RunFolder


@dataclass(frozen=True)
class Result:
    """Options as they were when they had been checked and completed; later changes do not show.

    Attributes:
        values: all options, as JSON can hold them.
        given: the names of those on the command line.
        not_default: those that differ from their defaults, as text.
        text: all options, as they are printed and saved.
        notes: what people should know about them besides.
        folder: where they are saved.
        phase: begins the names of the files.
    """

    values: Mapping[str, Any]
    given: frozenset[str]
    not_default: Mapping[str, str]
    text: str
    notes: Sequence[str]
    folder: RunFolder
    phase: str

    def tell(self) -> None:
        """Print the options."""
        say(self.text)
        for note in self.notes:
            say(note)

    def save(self) -> None:
        """Save the options beside the checkpoints, as text and as JSON."""
        self.folder.path.mkdir(parents=True, exist_ok=True)
        write_text(self.folder.options_text(self.phase), f"{self.text}\n")
        values = json.dumps(self.values, indent=2)
        write_text(self.folder.options_json(self.phase), f"{values}\n")


def describe(
    opt: Namespace,
    parser: ArgumentParser,
    given: frozenset[str] = frozenset(),
    notes: Sequence[str] = (),
) -> Result:
    """Note the options as they are now, beside the defaults that the parser has."""
    values = {name: _json_value(value) for name, value in sorted(vars(opt).items())}
    # Compared as text: some defaults are the text of a number, as on a command line.
    not_default = {
        name: str(value)
        for name, value in values.items()
        if name != "isTrain" and str(value) != str(_json_value(parser.get_default(name)))
    }
    folder = RunFolder(opt.checkpoints_dir, opt.name)
    return Result(values, given, not_default, _text(opt, parser), notes, folder, opt.phase)


def _text(opt: Namespace, parser: ArgumentParser) -> str:
    lines = ["----------------- Options ---------------"]
    for name, value in sorted(vars(opt).items()):
        default = parser.get_default(name)
        comment = f"\t[default: {default}]" if value != default else ""
        lines.append(f"{name:>25}: {value!s:<30}{comment}")
    lines.append("----------------- End -------------------")
    return "\n".join(lines)


def _json_value(value: Any) -> Any:
    """Return what JSON can hold: infinity is null, what a plugin's type made is its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    return value if value is None or isinstance(value, str | int) else str(value)
