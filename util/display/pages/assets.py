"""The style and the scripts of the pages, which stand in files of their own beside this one."""

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def asset(*names: str) -> str:
    """Return the text of files of this folder, one after the other."""
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
