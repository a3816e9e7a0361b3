"""Trained checkpoints of the reference on real photographs give its images.

The data is not part of the project. Three environment variables name its folders:

    REFERENCE_RUNS  checkpoints/, results/ and upstream_keys_ngf8.json of the reference's runs
    FACADES         the facades data set (its folder test/ is used)
    HORSE2ZEBRA     the horse2zebra data set (its folders testA/ and testB/)
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from models.networks import define_D, define_G
from tests.golden.conftest import Largest
from tests.golden.formulas import image_difference, script_main

pytestmark = [pytest.mark.golden, pytest.mark.slow]

HORSES = ["n02381460_1000", "n02381460_1010", "n02381460_1030", "n02381460_1090"]
ZEBRAS = ["n02391049_100", "n02391049_1000", "n02391049_10100", "n02391049_10160"]
IMAGES = {
    "fac/test": ("FACADES", "test", ["1", "2", "3", "4"]),
    "h2z/testA": ("HORSE2ZEBRA", "testA", HORSES),
    "h2z/testB": ("HORSE2ZEBRA", "testB", ZEBRAS),
}
CYCLE_GAN = "ref_horse2zebra_cyclegan"
OLD = "old04_instancenorm_stats_legacy_format"


def folder_of(variable: str) -> Path:
    """Return the folder that an environment variable names, or skip the test."""
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names a folder of data outside the project")
    folder = Path(value)
    assert folder.is_dir(), f"{variable}={value} is no folder"
    return folder


@dataclass
class Case:
    """One recorded test command."""

    name: str
    checkpoint: str
    results: str
    argv: str
    copies: Mapping[str, str]


CASES = [
    Case("cycle_gan", CYCLE_GAN, "cycle_gan", "--dataroot {h2z} --model cycle_gan", {}),
    Case(
        "test_single",
        CYCLE_GAN,
        "test_single",
        "--dataroot {h2z}/testA --model test --no_dropout",
        {"latest_net_G_A.pth": "latest_net_G.pth"},
    ),
    Case(
        "test_suffix_B_none",
        CYCLE_GAN,
        "test_suffix_B_none",
        "--dataroot {h2z}/testB --model test --model_suffix _B --no_dropout --preprocess none",
        {},
    ),
    Case(
        "pix2pix_eval",
        "ref_facades_pix2pix",
        "pix2pix_eval",
        "--dataroot {fac} --model pix2pix --direction BtoA --eval",
        {},
    ),
    Case(
        "old_legacy_format",
        OLD,
        "test_single",
        "--dataroot {h2z}/testA --model test --no_dropout",
        {},
    ),
]


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """Return a folder with the test images of the recorded commands."""
    for target, (variable, source, names) in IMAGES.items():
        (tmp_path / target).mkdir(parents=True)
        for name in names:
            (image,) = (folder_of(variable) / source).glob(f"{name}.*")
            shutil.copy(image, tmp_path / target)
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_images_are_the_recorded_ones(case: Case, data_folder: Path, largest: Largest) -> None:
    runs = folder_of("REFERENCE_RUNS")
    checkpoints = data_folder / "checkpoints" / case.checkpoint
    shutil.copytree(runs / "checkpoints" / case.checkpoint, checkpoints)
    for folder in (checkpoints, *checkpoints.iterdir()):
        folder.chmod(0o755)  # the data may be read-only
    for source, target in case.copies.items():
        shutil.copy(checkpoints / source, checkpoints / target)

    argv = [
        word.format(h2z=data_folder / "h2z", fac=data_folder / "fac") for word in case.argv.split()
    ]
    argv += ["--name", case.checkpoint, "--ngf", "8", "--num_test", "4", "--gpu_ids", "-1"]
    argv += ["--checkpoints_dir", str(checkpoints.parent)]
    argv += ["--results_dir", str(data_folder / "results")]
    assert script_main("test")(argv) in (None, 0)

    found = data_folder / "results" / case.checkpoint / "test_latest" / "images"
    recorded = runs / "results" / case.results
    names = sorted(path.name for path in recorded.glob("*.png"))
    assert names
    assert sorted(path.name for path in found.iterdir()) == names
    for name in names:
        gap = image_difference(found / name, recorded / name)
        largest(f"reference run {case.name}, grey levels", gap, 1)


def build(name: str) -> Any:
    """Build the network that a key listing names, with 8 filters."""
    kind, net, *rest = name.split("/")
    with torch.device("meta"):
        if kind == "G":
            norm, dropout = rest
            return define_G(3, 3, 8, net, norm, dropout == "dropout=True")
        layers, norm = rest
        return define_D(3, 8, net, int(layers), norm)


def test_networks_have_the_listed_keys() -> None:
    listings = json.loads((folder_of("REFERENCE_RUNS") / "upstream_keys_ngf8.json").read_text())
    assert len(listings) == 42
    for name, listing in listings.items():
        state = build(name).state_dict()
        assert {key: list(entry.shape) for key, entry in state.items()} == listing, name
        assert list(state) == list(listing), name
