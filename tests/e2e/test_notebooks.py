"""The notebooks, from end to end, in a copy of this checkout."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT, copy_checkout
from tests.support.tiers import LONG

NOTEBOOKS = ("CycleGAN", "pix2pix", "your_own_model")


def cells(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((ROOT / f"{name}.ipynb").read_text("utf-8"))["cells"]
    return found


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_kept_without_what_they_printed(name: str) -> None:
    code = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_the_files_that_a_notebook_writes_are_those_of_the_tutorial() -> None:
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    written = ["".join(cell["source"]) for cell in cells("your_own_model")]
    files = [text.partition("\n") for text in written if text.startswith("%%writefile ")]
    assert [first for first, _, _ in files] == [
        "%%writefile data/blurred_dataset.py", "%%writefile models/sharpen_model.py"
    ]  # fmt: skip
    for first, _, text in files:
        assert f'title="{first.split()[1]}"\n{text}\n```' in tutorial


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="takes minutes; RELIABILITY=long tries it")
@pytest.mark.filterwarnings("ignore")  # of what runs the notebooks
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run_to_their_end(name: str, tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    copy_checkout(tmp_path)
    notebook = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    nbclient.NotebookClient(
        notebook, timeout=400, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 2
    text = "".join(output.get("text", "") for output in shown)
    assert "Running in a checkout" in text
    assert "Traceback" not in text
    assert "error:" not in text
