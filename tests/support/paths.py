"""Where the checkout is, and what names files may have here."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

needs_any_name = pytest.mark.skipif(
    sys.getfilesystemencoding() != "utf-8",
    reason="Python was told to take names of files for ASCII: LC_ALL=C with PYTHONUTF8=0",
)
