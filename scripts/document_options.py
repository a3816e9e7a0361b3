"""Write docs/options.md: every option of train.py and test.py, as the parsers know them.

python scripts/document_options.py           # after an option was added or changed
python scripts/document_options.py --check   # exit status 1 if the document is out of date
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from options.base_options import BaseOptions
from options.parsing.parser import OptionParser
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.base.errors import UserError, run_command
from util.base.log import say
from util.storage.files import write_text

FILE = Path(__file__).resolve().parent.parent / "docs" / "options.md"
MODELS = {  # built-in ones, with the data set of each
    "cycle_gan": "unaligned",
    "pix2pix": "aligned",
    "colorization": "colorization",
    "template": "aligned",
    "test": "single",
}
HEAD = """# Options

Written by `python scripts/document_options.py` from the parsers of train.py and test.py; a test
fails when it is out of date. `python train.py --help --model NAME` shows the same for one model,
yours too. Names may be abbreviated as long as it is clear which is meant (`--gpu 0`); names of
before 2019 (`--which_direction`, `--loadSize`, ...) are understood.
"""
Rows = list[argparse.Action]


def main(argv: Sequence[str] | None = None) -> None:
    """Write the document, or compare it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    args = parser.parse_args(argv)
    text = document()
    if not args.check:
        write_text(FILE, text)
        say(f"Wrote {FILE}")
    elif not FILE.is_file() or FILE.read_text(encoding="utf-8") != text:
        raise UserError(f"{FILE} is out of date. Run python scripts/document_options.py.")


def document() -> str:
    """Return the text of the document."""
    train, test = base_parser(TrainOptions()), base_parser(TestOptions())
    lines = [HEAD]
    shared = {title: rows for title, rows in groups(train) if _names(rows) <= _known(test)}
    lines += ["## train.py and test.py", ""]
    for title, rows in shared.items():
        lines += table(title, rows, train)
    for name, parser in (("train.py", train), ("test.py", test)):
        lines += [f"## {name} alone", ""]
        for title, rows in groups(parser):
            if title not in shared:
                lines += table(title, rows, parser)
    lines += [
        "## Models",
        "",
        "What `--model` adds to train.py, and which defaults it changes.",
        "",
    ]
    for model, data_set in MODELS.items():
        lines += of_model(model, data_set)
    return "\n".join(lines).rstrip() + "\n"


def base_parser(options: BaseOptions) -> OptionParser:
    """Return a parser with the options that there are without any model."""
    parser = OptionParser()
    options.initialize(parser)
    return parser


def groups(parser: argparse.ArgumentParser) -> Iterator[tuple[str, Rows]]:
    """Yield the titles of a parser and the options below each."""
    for group in parser._action_groups:
        rows = [action for action in group._group_actions if action.dest != "help"]
        if rows:
            yield group.title or "", rows


def table(title: str, rows: Rows, parser: argparse.ArgumentParser) -> list[str]:
    """Return a table of options."""
    lines = [f"### {title}", "", "| option | default | what |", "|---|---|---|"]
    for action in rows:
        if action.help == argparse.SUPPRESS:
            continue
        flags = ", ".join(f"`{flag}`" for flag in action.option_strings)
        text = (action.help or "").replace("%%", "%").replace("|", "\\|")
        choices = f" ({', '.join(map(str, action.choices))})" if action.choices else ""
        lines.append(f"| {flags} | {shown(parser.get_default(action.dest))} | {text}{choices} |")
    return [*lines, ""]


def of_model(model: str, data_set: str) -> list[str]:
    """Return what a model adds and changes."""
    is_training = model != "test"
    options = TrainOptions() if is_training else TestOptions()
    base = base_parser(options)
    argv = ["--dataroot", "x", "--model", model, "--dataset_mode", data_set]
    options.gather_options(argv)
    own = f"model {model}"
    rows = [row for title, rows in groups(options.parser) if title == own for row in rows]
    lines = (
        table(f"--model {model}", rows, options.parser) if rows else [f"### --model {model}", ""]
    )
    changed = {
        name: value
        for name in sorted(_known(base))
        if (value := options.parser.get_default(name)) != base.get_default(name)
    }
    if changed:
        texts = ", ".join(f"`--{name}` {shown(value)}" for name, value in changed.items())
        lines += [f"Other defaults: {texts}.", ""]
    return lines


def shown(value: object) -> str:
    """Return a default as the document has it."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value}`"


def _names(rows: Rows) -> set[str]:
    return {action.dest for action in rows}


def _known(parser: argparse.ArgumentParser) -> set[str]:
    return {action.dest for action in parser._actions}


if __name__ == "__main__":
    sys.exit(run_command(main))
