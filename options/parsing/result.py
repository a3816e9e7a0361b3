"""What a command line gave: which options, and how they are described and saved."""

import json
import math
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from util.base import system
from util.base.log import say, warn
from util.storage.files import write_text
from util.storage.run_folder import RunFolder
from util.storage.saved_options import names_of_records

SETTLED_BY_DATA = frozenset({"value_range"})  # options whose values the data may tell


@dataclass(frozen=True)
class Result:
    """Options as they were when they had been checked and completed; later changes do not show.

    Except in what is saved: a model and a data set may complete their own when they are made.
    """

    values: Mapping[str, Any]  # as JSON can hold them
    given: frozenset[str]  # the names of those on the command line
    not_default: Mapping[str, str]  # those that differ from their defaults, as text
    lines: Mapping[str, str]  # that describe them, by name
    notes: Sequence[str]  # what people should know about them besides
    training: bool  # are they train.py's?
    of_plugins: frozenset[str] = frozenset()  # the names of those that model and data set added

    @property
    def text(self) -> str:
        """All of them, as they are printed and saved."""
        return "\n".join([
            "----------------- Options ---------------", *self.lines.values(),
            "----------------- End -------------------",
        ])  # fmt: skip

    def tell(self) -> None:
        """Print the options."""
        say("\n".join([self.text, *self.notes]))

    def save(self, opt: Namespace | None = None) -> None:
        """Save the options beside the checkpoints; a test goes on if it may not write there.

        `opt` has what the model and the data set have made of theirs. Of several processes the
        first one saves.
        """
        if not system.is_main_process():
            return
        try:
            self._with_those_of_plugins(opt or Namespace())._save()
        except OSError as error:
            if self.training:
                raise
            warn(f"The options of this test are not kept beside the checkpoints. {error}")

    def _with_those_of_plugins(self, opt: Namespace) -> "Result":
        """Take what nobody gave and is still of its type: else a command line could not give it.

        And what the data have settled, which nobody gave, or gave as "auto".
        """
        changed = {}
        settled = SETTLED_BY_DATA - self.of_plugins
        for name in self.of_plugins - self.given | settled:
            before = self.values.get(name)
            now = getattr(opt, name, before)
            is_settled = name in settled and before is None
            if now != before and (type(now) is type(before) or is_settled):
                changed[name] = _json_value(now)
        defaults = {**self.values, **dict.fromkeys(SETTLED_BY_DATA)}
        lines = {name: _line(name, value, defaults[name]) for name, value in changed.items()}
        return replace(self, values={**self.values, **changed}, lines={**self.lines, **lines})

    def _save(self) -> None:
        values = self.values
        run = RunFolder(values["checkpoints_dir"], values["name"])
        run.path.mkdir(parents=True, exist_ok=True)
        for name in names_of_records(run, values["phase"], training=self.training):
            write_text(run.options_text(name), f"{self.text}\n")
            write_text(run.options_json(name), json.dumps(values, indent=2) + "\n")


def describe(
    opt: Namespace,
    parser: ArgumentParser,
    given: frozenset[str] = frozenset(),
    notes: Sequence[str] = (),
    *,
    training: bool,
    of_plugins: frozenset[str] = frozenset(),
) -> Result:
    """Note the options as they are now, beside the defaults that the parser has."""
    values, not_default, lines = {}, {}, {}
    for name, value in sorted(vars(opt).items()):
        default = parser.get_default(name)
        lines[name] = _line(name, value, default)
        values[name] = _json_value(value)
        # Compared as text: some defaults are the text of a number, as on a command line.
        if name != "isTrain" and str(values[name]) != str(_json_value(default)):
            not_default[name] = str(values[name])
    return Result(values, given, not_default, lines, notes, training, of_plugins)


def _line(name: str, value: Any, default: Any) -> str:
    comment = f"\t[default: {default}]" if value != default else ""
    return f"{name:>25}: {value!s:<30}{comment}"


def _json_value(value: Any) -> Any:
    """Return what JSON can hold: infinity is null, what a plugin's type made is its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    return value if value is None or isinstance(value, str | int) else str(value)
