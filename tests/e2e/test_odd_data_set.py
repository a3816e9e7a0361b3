"""A data set of somebody else's, with attributes of every kind, through train.py and test.py."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

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


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Return a folder of arrays: 3 for training, 2 for testing."""
    random = np.random.default_rng(0)
    for phase, count in (("train", 3), ("test", 2)):
        (tmp_path / "data" / phase).mkdir(parents=True)
        for number in range(count):
            array = random.uniform(-1, 1, (3, 32, 32)).astype(np.float32)
            np.save(tmp_path / "data" / phase / f"a{number}.npy", array)
    return tmp_path / "data"


@pytest.mark.parametrize("attribute", ["None", "['no', 'files']", "lambda: 1", "[1.5]", "'text'"])
def test_it_trains_goes_on_and_tests_without_an_alarm(
    arrays: Path,
    tmp_path: Path,
    add_plugins: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
    attribute: str,
) -> None:
    plugin = tmp_path / "plugins" / "data" / "odd_dataset.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(ODD.replace("ATTRIBUTE", attribute))
    add_plugins(tmp_path / "plugins")
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
