"""A data set of somebody else's, with attributes of every kind, through train.py and test.py."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import Page, loss_lines, names, test, train
from tests.support.runs import run as run_command

# Arrays instead of images; lists of words, numbers and nothing; things that cannot be copied.
ODD = """
import threading
from pathlib import Path
import numpy as np
import torch
from data.base_dataset import BaseDataset


class OddDataset(BaseDataset):
    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.domains = ["cat", "dog"]
        self.classes = ["zebra.png", "horse"]
        self.image_paths = ATTRIBUTE
        self.sizes, self.nothing, self.pairs = [1, 2], [], [("a", "b")]
        self.lock, self.lines, self.table = threading.Lock(), (n for n in ()), {"cat": ["x"]}
        self.reader = self.cache = self.levels = "its own"
        self.files = sorted(Path(opt.dataroot, opt.phase).glob("*.npy"))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        array = torch.from_numpy(np.load(self.files[index]))
        return {"A": array, "B": -array, "A_paths": str(self.files[index]), "B_paths": "?"}
"""


def write_arrays(folder: Path, channels: int = 3) -> Path:
    """Return a folder of arrays: 3 for training, 2 for testing."""
    random = np.random.default_rng(0)
    for phase, count in (("train", 3), ("test", 2)):
        (folder / "data" / phase).mkdir(parents=True)
        for number in range(count):
            array = random.uniform(-1, 1, (channels, 32, 32)).astype(np.float32)
            np.save(folder / "data" / phase / f"a{number}.npy", array)
    return folder / "data"


def write_plugin(folder: Path, attribute: str = "None") -> Path:
    """Return the folder of plugins to add."""
    plugin = folder / "plugins" / "data" / "odd_dataset.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(ODD.replace("ATTRIBUTE", attribute))
    return folder / "plugins"


@pytest.mark.parametrize("attribute", ["None", "['no', 'files']", "lambda: 1", "[1.5]", "'text'"])
def test_it_trains_goes_on_and_tests_without_an_alarm(
    tmp_path: Path,
    add_plugins: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
    attribute: str,
) -> None:
    add_plugins(write_plugin(tmp_path, attribute))
    arrays = write_arrays(tmp_path)
    more = ("--dataset_mode", "odd", "--print_freq", "1")
    run = train(tmp_path, arrays, "pix2pix", *more)
    argv = ["--name", "run", "--checkpoints_dir", str(run.parent), "--continue_train"]
    run_command([*argv, "--n_epochs", "2"])
    results = test(tmp_path, arrays, "pix2pix", "--dataset_mode", "odd")
    captured = capsys.readouterr()
    assert "warning" not in captured.err
    assert [line[:2] for line in loss_lines(captured.out)] == [
        (epoch, images) for epoch in (1, 2) for images in (1, 2, 3)
    ]
    assert len(Page(results / "index.html").images) == 6
    assert "a1_fake_B.png" in names(results / "images")


@pytest.mark.parametrize("channels", [2, 5])
def test_of_images_of_many_channels_page_and_results_show_three(
    tmp_path: Path,
    add_plugins: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
    channels: int,
) -> None:
    add_plugins(write_plugin(tmp_path))
    arrays = write_arrays(tmp_path, channels)
    more = ("--dataset_mode", "odd", "--input_nc", str(channels), "--output_nc", str(channels))
    run = train(tmp_path, arrays, "pix2pix", *more, "--tensorboard")
    results = test(tmp_path, arrays, "pix2pix", *more)
    assert "warning" not in capsys.readouterr().err
    shown = np.load(arrays / "test" / "a0.npy")[:3]
    for folder, count in ((run / "web" / "images", 3 + 3 * 3), (results / "images", 6)):
        files = [file for file in folder.iterdir() if file.suffix != ".npy"]
        assert len(files) == count
        for file in files:
            with Image.open(file) as image:
                assert (image.mode, image.size) == ("RGB", (32, 32))
    with Image.open(results / "images" / "a0_real_A.png") as image:
        stored = np.asarray(image).transpose(2, 0, 1)[: len(shown)]
    np.testing.assert_allclose(stored, (shown + 1) * 127.5, atol=1)
    whole = np.load(results / "images" / "a0_real_A.npy")  # beside it: all channels, from 0 to 1
    np.testing.assert_allclose(
        whole, (np.load(arrays / "test" / "a0.npy").transpose(1, 2, 0) + 1) / 2, atol=1e-6
    )
