"""Whether the first process finds what others have written, without processes."""

import threading
from pathlib import Path

import pytest

from tests.unit.util.processes.test_group import as_process
from util.base.errors import UserError
from util.processes import group, shared_files
from util.processes.shared_files import require_shared


@pytest.fixture(autouse=True)
def two_machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let another process have written two files of 3 and 5 bytes, and this one nothing."""
    as_process(monkeypatch, 0, 2)
    monkeypatch.setattr(shared_files, "by_first", lambda action: action())
    sizes = {str(tmp_path / "results" / name): size for name, size in (("a", 3), ("b", 5))}
    monkeypatch.setattr(group, "gathered", lambda own: [own, sizes])
    monkeypatch.setattr(shared_files, "PATIENCE", 0.3)
    monkeypatch.setattr(shared_files, "LOOKS", 0.02)


def write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "a").write_bytes(b"123")
    (folder / "b").write_bytes(b"12345")


def test_what_comes_late_is_waited_for(tmp_path: Path) -> None:
    later = threading.Timer(0.1, write, [tmp_path / "results"])
    later.start()
    require_shared([], "--results_dir")
    later.join()


@pytest.mark.parametrize(("there", "named"), [((), "a, and 1 more. "), (("a",), "b. ")])
def test_what_is_missing_is_named(there: tuple[str, ...], named: str, tmp_path: Path) -> None:
    write(tmp_path / "results")
    for name in {"a", "b"} - set(there):
        (tmp_path / "results" / name).unlink()
    with pytest.raises(UserError) as raised:
        require_shared([], "--results_dir")
    assert "does not find what another one has written: " in str(raised.value)
    assert f"results/{named}What several machines write must" in str(raised.value)
    assert "share: let --results_dir name such a folder" in str(raised.value)


def test_files_of_an_earlier_command_do_not_count(tmp_path: Path) -> None:
    write(tmp_path / "results")
    require_shared([], "-o")
    (tmp_path / "results" / "b").write_bytes(b"123456")
    with pytest.raises(UserError, match=r"another one has written: .*results/b\. "):
        require_shared([], "-o")
