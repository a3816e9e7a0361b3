"""Tests do not depend on how they are started: some that could run under odd conditions.

RELIABILITY=long runs them under each condition alone, else several are in force at once.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.tiers import LONG, some

# What depends on signals, permissions, encodings, folders, the terminal.
SENSITIVE = [
    "tests/unit/util/base/test_stop_signals.py",
    "tests/unit/util/base/test_log.py",
    "tests/unit/util/storage/test_files.py",
    "tests/unit/util/display/test_progress_bar.py",
    "tests/unit/test_demo_dataset.py",
    "tests/e2e/test_check_dataset.py::test_an_interrupt_ends_quietly_with_status_130",
    "tests/e2e/test_check_dataset.py::test_problems_end_with_status_1_in_any_terminal",
]
START = """
import os, pty, signal, sys
{setting}
os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[1:]])
"""
ON_A_TERMINAL = """
status = pty.spawn([sys.executable, "-m", "pytest", *sys.argv[1:]])
sys.exit(os.waitstatus_to_exitcode(status))
"""
ALL = "(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)"
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
# What is done before the tests start, and what is in their environment.
CONDITIONS: dict[str, tuple[str, dict[str, str]]] = {
    "in the background of a script": ("signal.signal(signal.SIGINT, signal.SIG_IGN)", {}),
    "all signals ignored": (f"for one in {ALL}: signal.signal(one, signal.SIG_IGN)", {}),
    "signals blocked": (f"signal.pthread_sigmask(signal.SIG_BLOCK, {ALL})", {}),
    "umask 077": ("os.umask(0o077)", {}),
    "ASCII alone": ("", ASCII),
    "no such locale": ("", {"LC_ALL": "xx_YY.ISO-8859-1"}),
    "no home": ("", {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": ""}),
    "standard input closed": ("os.close(0)", {}),
    "on a terminal": (ON_A_TERMINAL, {}),
}
AT_ONCE = {
    "in the background": "in the background of a script, umask 077, no home, no such locale, "
    "standard input closed",
    "on a terminal": "signals blocked, ASCII alone, on a terminal",
}


def together(names: str) -> tuple[str, dict[str, str]]:
    """Return several conditions as one."""
    chosen = [CONDITIONS[name] for name in names.split(", ")]
    environment: dict[str, str] = {}
    for _, more in chosen:
        environment |= more
    return "\n".join(setting for setting, _ in chosen), environment


TRIED = CONDITIONS if LONG else {name: together(names) for name, names in AT_ONCE.items()}


def outcome(setting: str, environment: dict[str, str], folder: Path) -> tuple[int, str]:
    """Run the tests from another working folder, with temporary files in one with a space."""
    temporary = folder / "temporary files"
    temporary.mkdir()
    done = subprocess.run(
        [
            *[sys.executable, "-c", START.format(setting=setting)],
            *["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT)],
            *["-c", str(ROOT / "pyproject.toml"), "-n", "0"],
            *[str(ROOT / name) for name in SENSITIVE],
        ],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        timeout=500,
        check=False,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and terminals")
@pytest.mark.parametrize("condition", some(TRIED))
def test_tests_pass_however_they_are_started(condition: str, tmp_path: Path) -> None:
    status, said = outcome(*TRIED[condition], tmp_path)
    assert status == 0, said[-3000:]
    assert " passed" in said
