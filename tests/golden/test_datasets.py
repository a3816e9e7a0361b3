"""Data sets through `create_dataset`: two epochs from a seed, in one process."""

import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from data import create_dataset
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.golden.conftest import Largest
from tests.golden.formulas import (
    DATA,
    difference,
    ids,
    load,
    next_draws,
    seed_everything,
    summary,
)

pytestmark = pytest.mark.golden

RECORDS = load("datasets")
VALID = [record for record in RECORDS if "error" not in record]
INVALID = [record for record in RECORDS if "error" in record]

# One grey level where images are resized; the records hold six digits.
LEVEL_BOUND = 0.008
DRAW_BOUND = 1e-6


def options(record: dict[str, Any], folder: Path, root: Path | None = None) -> Namespace:
    """Parse a record's command line, as the training or test script has it."""
    argv = ["--dataroot", str(root or DATA / "datasets" / record["dataroot"])]
    argv += [*shlex.split(record["argv"]), "--num_threads", "0"]
    argv += ["--gpu_ids", "-1", "--checkpoints_dir", str(folder)]
    if record["phase"] == "train":
        return TrainOptions().parse(argv)
    if "--crop_size" in argv and "--load_size" not in argv:
        argv += ["--load_size", "256"]  # decided: load_size would follow crop_size
    opt = TestOptions().parse(argv)
    opt.serial_batches = opt.no_flip = True
    opt.batch_size = 1
    return opt


def compare_batch(
    batch: dict[str, Any], recorded: dict[str, Any], portable: bool, largest: Largest
) -> None:
    """Compare one batch; values and paths only where they do not depend on the file system."""
    assert set(batch) == set(recorded)
    for key, record in recorded.items():
        if isinstance(record, list):
            if portable:
                root = DATA / "datasets"
                assert [Path(p).relative_to(root).as_posix() for p in batch[key]] == record
            continue
        assert isinstance(batch[key], Tensor)
        assert list(batch[key].shape) == record["shape"]
        if portable:
            found = summary(batch[key], record)
            gap = max(difference(found[name], record[name]) for name in found)
            largest("data set values", gap, LEVEL_BOUND)


@pytest.mark.parametrize("record", VALID, ids=ids(VALID, "phase", "dataroot", "argv"))
def test_two_epochs_are_the_recorded_ones(
    record: dict[str, Any], tmp_path: Path, largest: Largest
) -> None:
    opt = options(record, tmp_path)
    seed_everything(record["seed"])
    dataset = create_dataset(opt)
    assert len(dataset) == record["len"]
    assert len(dataset.dataset) == record["inner_len"]
    assert len(dataset.dataloader) == record["n_batches_dataloader"]

    batches = [(epoch, batch) for epoch in range(2) for batch in dataset]
    from_torch, from_python = next_draws(1)
    assert len(batches) == len(record["batches"])
    for (epoch, batch), (recorded_epoch, recorded) in zip(batches, record["batches"], strict=True):
        assert epoch == recorded_epoch
        compare_batch(batch, recorded, not record["fs_order_dependent"], largest)
    largest("data set draws", abs(from_torch[0] - record["torch_rand_after"]), DRAW_BOUND)
    largest("data set draws", abs(from_python - record["python_random_after"]), DRAW_BOUND)


# What the text of each error must name: the option to change, and the value or folder at fault.
HELP = {
    "--model pix2pix --load_size 40 --crop_size 48": ("--crop_size 48", "--load_size 40"),
    "--model colorization --direction BtoA": ("--direction", "AtoB"),
    "": ("trainA", "--dataroot"),
    "--dataset_mode template": ("--dataroot", "--phase"),
}


@pytest.mark.parametrize("record", INVALID, ids=ids(INVALID, "dataroot", "argv", "error"))
def test_what_cannot_work_is_refused_with_advice(record: dict[str, Any], tmp_path: Path) -> None:
    root = None
    if record["argv"] == "--dataset_mode template":
        # The reference's template lists no image anywhere; ours does, so only empty folders fail.
        root = tmp_path / "empty"
        (root / record["phase"]).mkdir(parents=True)
    opt = options(record, tmp_path, root)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the text is checked below
        create_dataset(opt)
    for part in HELP[record["argv"]]:
        assert part in str(error.value)
