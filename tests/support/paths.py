"""Where the checkout is, its files, copies of it, and what names files may have here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

needs_any_name = pytest.mark.skipif(
    sys.getfilesystemencoding() != "utf-8",
    reason="Python was told to take names of files for ASCII: LC_ALL=C with PYTHONUTF8=0",
)


def tracked_files() -> list[str]:
    """Return the files of the checkout, without those that git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def copy_checkout(folder: Path) -> None:
    """Copy the checkout without its tests, for what writes into it."""
    for name in tracked_files():
        if not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
