"""What documents hold: blocks of code, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.paths import ROOT, tracked_files

HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(
    r'^```(?P<kind>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<text>.*?)^```', re.DOTALL | re.MULTILINE
)
OPENING, CLOSING = ("do", "then"), ("done", "fi")
BETWEEN = (";", "&&", "||", "|")
ENVIRONMENT = ["python3", "-m", "uv", "run"]  # what follows is run in the project's environment


class Block(NamedTuple):
    """Code in a document: `kind` is its language, `file` the file that it is to become, if any."""

    kind: str
    file: str | None
    text: str
    heading: str  # the nearest one above


def documents() -> list[str]:
    """Return all documents, those for tests excepted."""
    return [name for name in tracked_files() if re.fullmatch(r"(?!tests/).*\.md", name)]


def read(document: str) -> str:
    """Return the text of a document."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    """Return the blocks of code that have a language, in order."""
    text = read(document)
    found = []
    for match in FENCED.finditer(text):
        above = HEADING.findall(text, 0, match.start())
        found.append(Block(match["kind"], match["file"], match["text"], above[-1] if above else ""))
    return found


def commands(script: str) -> list[str]:
    """Split lines of bash into commands, comments included; loops and whole scripts stay whole."""
    if script.startswith("#!"):
        return [script]
    found, command = [], ""
    for line in script.splitlines(keepends=True):
        command += line
        words = [word for word in _words(command) if word != ";"]
        depth = sum((word in OPENING) - (word in CLOSING) for word in words)
        if line.endswith("\\\n") or depth:
            continue
        if words:
            found.append(command.strip())
        command = ""
    return found


def simple_commands(command: str) -> list[list[str]]:
    """Return the words of all programs that a command starts, without variables before them."""
    found: list[list[str]] = [[]]
    for word in _words(command):
        if word in (*BETWEEN, *OPENING):
            found.append([])
        elif found[-1] or not re.match(r"\w+=", word):
            found[-1].append(word)
    plain = (words[4:] if words[:4] == ENVIRONMENT else words for words in found)
    return [words for words in plain if words]


def _words(command: str) -> Iterator[str]:
    """Yield the words of a command as bash sees them; a line's end counts as `;`."""
    for line in command.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        yield from lexer
        yield ";"
