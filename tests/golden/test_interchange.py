"""Checkpoints of the reference give its images, and ours have its keys."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from models import create_model
from options.train_options import TrainOptions
from tests.golden.conftest import Largest
from tests.golden.formulas import (
    DATA,
    ids,
    image_difference,
    listing,
    load,
    script_main,
    value_of,
)
from util.storage import checkpoint

pytestmark = pytest.mark.golden

RUNS = load("runs")
TESTS = [run for run in RUNS["runs"] if run["script"] == "test.py"]
RECORDED = DATA / "interchange" / "recorded"
# Decided: a ResNet checkpoint is understood without --no_dropout too; same images as this run.
SAME_IMAGES = {"test_single_no_no_dropout": "cg/single_latest"}
GREY_LEVELS = 1


@pytest.fixture
def interchange(tmp_path: Path) -> Path:
    """Return a copy of the inputs and checkpoints, called as in the records."""
    source = DATA / "interchange"
    for name in ("aligned", "color", "single", "unaligned"):
        shutil.copytree(source / name, tmp_path / name)
    shutil.copytree(source / "trained", tmp_path / "checkpoints")
    return tmp_path


def given(words: Iterable[str], folder: Path) -> list[str]:
    """Return a recorded command line with real folders."""
    return [word.replace("<INTERCHANGE>", str(folder)) for word in words]


def run_test_script(argv: list[str]) -> None:
    """Run test.py; it must not fail."""
    assert script_main("test")(argv) in (None, 0)


@pytest.mark.parametrize("run", TESTS, ids=ids(TESTS, "tag"))
def test_images_are_the_recorded_ones(
    run: dict[str, Any], interchange: Path, largest: Largest
) -> None:
    argv = given(run["argv"], interchange)
    run_test_script(argv)

    folder = f"{value_of(argv, '--name')}/{value_of(argv, '--phase', 'test')}_latest"
    found = interchange / "results" / folder
    recorded = RECORDED / SAME_IMAGES.get(run["tag"], folder)
    names = sorted(path.name for path in (recorded / "images").iterdir())
    assert sorted(path.name for path in (found / "images").iterdir()) == names
    for name in names:
        gap = image_difference(found / "images" / name, recorded / "images" / name)
        largest(f"images of {run['tag']}, grey levels", gap, GREY_LEVELS)
    page = (found / "index.html").read_text()
    assert page.count("<h3>") == len({name.split("_")[0] for name in names})
    assert set(re.findall(r'src="images/([^"]+)"', page)) == set(names)


@pytest.mark.parametrize("run", TESTS, ids=ids(TESTS, "tag"))
def test_console_has_the_recorded_lines(
    run: dict[str, Any], interchange: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_test_script(given(run["argv"], interchange))
    _, _, after_options = capsys.readouterr().out.partition("- End -------------------\n")
    found = after_options.splitlines()
    wanted = given(run["stdout_after_options"], interchange)
    assert [line for line in found if line in wanted] == wanted


CHECKPOINTS = {
    "cg": "--model cycle_gan --netG resnet_6blocks --ngf 4 --ndf 4",
    "px": "--model pix2pix --netG unet_128 --ngf 4 --ndf 4",
    "co": "--model colorization --netG unet_128 --ngf 4 --ndf 4",
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_of_the_reference_are_written_back_with_equal_content(
    name: str, interchange: Path
) -> None:
    argv = [*CHECKPOINTS[name].split(), "--name", name, "--continue_train", "--gpu_ids", "-1"]
    argv += ["--dataroot", "X", "--checkpoints_dir", str(interchange / "checkpoints")]
    opt = TrainOptions().parse(argv)
    model = create_model(opt)
    model.setup(opt)
    model.save_networks("again")

    folder = interchange / "checkpoints" / name
    recorded = {key: record for key, record in RUNS["checkpoints"].items() if f"{name}/" in key}
    assert recorded
    for file, record in recorded.items():
        written = checkpoint.load_state(folder / Path(file).name.replace("latest", "again"))
        original = checkpoint.load_state(folder / Path(file).name)
        assert type(written).__name__ == record["type"]
        assert hasattr(written, "_metadata") == record["has__metadata"]
        metadata = [[key, value] for key, value in written._metadata.items()]
        assert metadata[: len(record["metadata_first"])] == record["metadata_first"]
        assert listing(written) == record["keys"]
        for key, entry in written.items():
            assert torch.equal(entry, original[key]), key
            assert (entry.device.type, entry.requires_grad) == ("cpu", False)
        assert record["device"] == ["cpu"]
        assert not record["any_module_prefix"]
        assert not record["requires_grad_any"]
