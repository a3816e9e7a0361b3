"""Batches of the built-in data sets: the same bits whatever is cached, for everybody."""

import hashlib
import os
import random
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import data.pipeline.image_reader
from data import create_dataset
from data.aligned_dataset import AlignedDataset
from data.base_dataset import get_params, get_transform
from data.colorization_dataset import ColorizationDataset
from data.image_folder import default_loader
from data.pipeline.image_cache import ImageCache
from data.pipeline.image_reader import ImageReader
from data.single_dataset import SingleDataset
from data.unaligned_dataset import UnalignedDataset
from tests.support.drawn import draw, drawn_image, options
from tests.support.paths import ROOT
from tests.support.tiers import some
from tests.support.warm import run
from util.base import rng
from util.images import transforms as T
from util.images.color import rgb2lab
from util.images.reading import read_image

pytestmark = [
    pytest.mark.usefixtures("own_randomness"),
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks"),
]
MODES = ("aligned", "unaligned", "single", "colorization")


# ---- the same, written plainly: as plugins that override __getitem__ ----------------------


class PlainAligned(AlignedDataset):
    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.AB_paths[index]
        both = default_loader(path)
        width, height = both.size
        A, B = both.crop((0, 0, width // 2, height)), both.crop((width // 2, 0, width, height))
        params = get_params(self.opt, A.size)
        return {
            "A": get_transform(self.opt, params, grayscale=self.input_nc == 1)(A),
            "B": get_transform(self.opt, params, grayscale=self.output_nc == 1)(B),
            "A_paths": path,
            "B_paths": path,
        }


class PlainUnaligned(UnalignedDataset):
    def __getitem__(self, index: int) -> dict[str, Any]:
        A_path = self.A_paths[index % self.A_size]
        serial = self.opt.serial_batches
        index_B = index % self.B_size if serial else random.randint(0, self.B_size - 1)
        B_path = self.B_paths[index_B]
        A = self.transform_A(default_loader(A_path))
        B = self.transform_B(default_loader(B_path))
        return {"A": A, "B": B, "A_paths": A_path, "B_paths": B_path}


class PlainSingle(SingleDataset):
    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.A_paths[index]
        return {"A": self.transform(default_loader(path)), "A_paths": path}


class PlainColorization(ColorizationDataset):
    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.AB_paths[index]
        lab = rgb2lab(np.array(self.transform(default_loader(path)))).astype(np.float32)
        L, ab = torch.from_numpy(lab).permute(2, 0, 1).contiguous().split([1, 2])
        return {"A": L / 50.0 - 1.0, "B": ab / 110.0, "A_paths": path, "B_paths": path}


PLAIN = {
    "aligned": PlainAligned,
    "unaligned": PlainUnaligned,
    "single": PlainSingle,
    "colorization": PlainColorization,
}
Register = Callable[[str, type], str]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Return a function that makes a class a plugin, and returns its name."""

    def add(name: str, plugin: type) -> str:
        module = ModuleType(f"data.{name}_dataset")
        renamed = type(f"{name.title()}Dataset", (plugin,), {})
        setattr(module, renamed.__name__, renamed)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return name

    return add


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw images of different sizes for every data set."""
    folder = tmp_path_factory.mktemp("images")
    for number, side in enumerate((26, 31, 22, 40)):
        name = [f"{number}.png"]
        draw(folder / "aligned" / "train", name, 2 * side + number % 2, side + 3)
        draw(folder / "unaligned" / "trainA", name, side, side + 5)
        draw(folder / "unaligned" / "trainB", [f"{number}.png", f"more{number}.png"], side + 2, 27)
        draw(folder / "single", name, side, side + 1)
        draw(folder / "colorization" / "train", name, side + 1, side)
    return folder


def of(mode: str, root: Path, **changes: object) -> Namespace:
    values: dict[str, object] = {"dataset_mode": mode, "load_size": 20, "crop_size": 16}
    if mode == "colorization":
        values |= {"input_nc": 1, "output_nc": 2}
    return options(root / mode, **(values | changes))


def epochs(opt: Namespace, count: int = 3) -> list[Any]:
    """Return the batches of some epochs from a seed, and what is drawn between them."""
    rng.seed_all(3)
    loader = create_dataset(opt)
    found: list[Any] = []
    for _ in range(count):
        for batch in loader:
            found += [batch, random.random(), np.random.rand(), torch.rand(1).item()]
    return found


def assert_same(found: list[Any], wanted: list[Any]) -> None:
    """Compare bit for bit."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        if not isinstance(one, dict):
            assert one == other
            continue
        assert list(one) == list(other)
        for key, value in one.items():
            if not isinstance(value, Tensor):
                assert value == other[key]
                continue
            assert value.dtype == other[key].dtype == torch.float32
            assert value.is_contiguous()
            assert torch.equal(value, other[key])


PREPROCESS = (
    *("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none", "resize"),
    *("scale_shortside", "scale_shortside_and_crop"),
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("preprocess", PREPROCESS)
@pytest.mark.parametrize("changes", [{}, {"no_flip": True}, {"input_nc": 1}, {"output_nc": 1}],
                         ids=str)  # fmt: skip
def test_every_option_gives_the_bits_of_the_plain_way(
    mode: str, preprocess: str, changes: dict[str, Any], root: Path, register: Register
) -> None:
    if mode == "colorization":
        changes = {key: value for key, value in changes.items() if not key.endswith("nc")}
    changes = {"preprocess": preprocess, **changes}
    plain = of(mode, root, **changes, dataset_mode=register("plain", PLAIN[mode]))
    wanted = epochs(plain)
    for cache in ("none", "decoded", "resized"):
        assert_same(epochs(of(mode, root, **changes, cache=cache, cache_gb=0.001)), wanted)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cache", ["none", "decoded", "resized"])
@pytest.mark.parametrize("gigabytes", some([0.001, 0.000004]))  # enough, too little
def test_workers_batches_and_caches_give_the_bits_of_the_plain_way(
    mode: str, cache: str, gigabytes: float, root: Path, register: Register
) -> None:
    changes = {"num_threads": 2, "batch_size": 3}
    wanted = epochs(of(mode, root, **changes, dataset_mode=register("plain", PLAIN[mode])))
    found = epochs(of(mode, root, **changes, cache=cache, cache_gb=gigabytes))
    assert_same(found, wanted)


@pytest.mark.parametrize("mode", MODES)
def test_items_are_those_of_the_plain_way(mode: str, root: Path, register: Register) -> None:
    rng.seed_all(1)
    built_in = create_dataset(of(mode, root)).dataset
    items = [built_in[index] for index in range(len(built_in))]
    rng.seed_all(1)
    plain = create_dataset(of(mode, root, dataset_mode=register("plain", PLAIN[mode]))).dataset
    rng.seed_all(2)
    items = [built_in[index] for index in range(4)]
    rng.seed_all(2)
    assert_same(items, [plain[index] for index in range(4)])


# ---- plugins ------------------------------------------------------------------------------


class OwnTransform(SingleDataset):
    """Labels, which are no image and must not be normalised."""

    def __init__(self, opt: Namespace) -> None:
        SingleDataset.__init__(self, opt)
        self.transform: Any = labels


def labels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("L").resize((4, 4)))).view(1, 4, 4)


@pytest.mark.parametrize("workers", [0, 1])
def test_tensors_of_a_plugins_own_transform_stay_as_they_are(
    workers: int, root: Path, register: Register
) -> None:
    register("labels", OwnTransform)
    opt = of("single", root, dataset_mode="labels", num_threads=workers, serial_batches=True)
    for batch in create_dataset(opt):
        assert batch["A"].dtype == torch.uint8
        assert torch.equal(batch["A"][0], labels(default_loader(batch["A_paths"][0])))


def test_a_step_that_a_plugin_puts_into_a_transform_is_taken(root: Path) -> None:
    opt = of(
        "single", root, serial_batches=True, no_flip=True, preprocess="resize", cache="resized"
    )
    loader = create_dataset(opt)
    vars(loader.dataset)["transform"].transforms.insert(0, inverted)
    plain = create_dataset(opt)
    for batch, other in zip(loader, plain, strict=True):
        assert not torch.equal(batch["A"], other["A"])


def inverted(image: Image.Image) -> Image.Image:
    return Image.eval(image, lambda level: 255 - level)


def test_scripts_that_iterate_over_torchs_loader_get_floats(root: Path) -> None:
    opt = of("aligned", root, num_threads=1)
    rng.seed_all(3)
    direct = list(create_dataset(opt).dataloader)
    assert_same(direct, [batch for batch in epochs(opt, 1) if isinstance(batch, dict)])


def test_data_set_that_reads_by_itself_is_told_of_a_useless_cache(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_dataset(options(root / "aligned", dataset_mode="template", cache="decoded"))
    assert "reads its images by itself: --cache decoded does nothing" in capsys.readouterr().err


# ---- the cache in use ---------------------------------------------------------------------


@pytest.fixture
def decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return a function that lists the images decoded so far, by whichever process."""
    log = tmp_path / "decoded.txt"
    log.touch()

    for loader in (default_loader, read_image):

        def noted(path: str, *channels: int, loader: Callable[..., Any] = loader) -> Any:
            with log.open("a") as file:
                file.write(f"{path}\n")
            return loader(path, *channels)

        monkeypatch.setattr(data.pipeline.image_reader, loader.__name__, noted)
    return lambda: log.read_text().splitlines()


@pytest.mark.parametrize("cache", ["decoded", "resized"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("mode", ["aligned", "single", "colorization"])
def test_every_image_is_decoded_once_by_all_workers_together(
    mode: str, workers: int, cache: str, root: Path, decoded: Callable[[], list[str]]
) -> None:
    epochs(of(mode, root, num_threads=workers, cache=cache, cache_gb=0.001))
    assert len(decoded()) == len(set(decoded())) == 4


def test_without_cache_every_epoch_decodes(root: Path, decoded: Callable[[], list[str]]) -> None:
    epochs(of("single", root))
    assert len(decoded()) == 3 * 4


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_kept_images_have_the_type_and_channels_of_the_read_ones(
    mode: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = drawn_image(9, 7).convert(mode)
    monkeypatch.setattr(data.pipeline.image_reader, "default_loader", lambda path: image)
    transform = T.Compose([T.Resize(9, 7), T.CropAt(1, 2, 5), T.Flip()])
    wanted = transform(image)
    for kept in ("decoded", "resized"):
        reader = ImageReader(ImageCache(10**6), kept)
        for _ in range(2):
            found = reader.read("a.png", transform)
            assert found.mode == wanted.mode
            assert np.array_equal(np.asarray(found), np.asarray(wanted))


def test_plugin_that_leaves_out_the_constructor_reads_without_a_cache(root: Path) -> None:
    class Own(SingleDataset):
        def __init__(self, opt: Namespace) -> None:
            self.A_paths = sorted(map(str, (root / "single").iterdir()))
            self.transform = get_transform(opt)

    item = Own(of("single", root, cache="resized"))[0]
    assert item["A"].shape == (3, 16, 16)


def test_images_that_are_read_once_are_not_kept(root: Path) -> None:
    loader = create_dataset(of("single", root, isTrain=False, cache="resized"))
    assert vars(loader.dataset)["reader"].cache is None


@pytest.mark.parametrize("workers", [0, 2])
def test_full_cache_is_told_of_once(
    workers: int, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs(of("single", root, num_threads=workers, cache="resized", cache_gb=0.000002))
    assert capsys.readouterr().out.count("--cache is full: 0.0 GB of images are kept.") == 1


# ---- workers that stay --------------------------------------------------------------------


def pids(loader: Any) -> list[int]:
    return [worker.pid for worker in loader.dataloader._iterator._workers]


def test_workers_stay_and_are_no_more_than_cores(root: Path) -> None:
    loader = create_dataset(of("single", root, num_threads=64))
    assert loader.workers == min(64, len(os.sched_getaffinity(0)))
    list(loader)
    before = pids(loader)
    list(loader)
    assert pids(loader) == before


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_epoch_that_is_left_early_leaves_nothing_behind(seen: int, root: Path) -> None:
    opt = of("unaligned", root, num_threads=2)
    wanted = [batch for batch in epochs(opt, 2) if isinstance(batch, dict)]
    length = len(wanted) // 2
    rng.seed_all(3)
    loader = create_dataset(opt)
    for number, _ in enumerate(loader):
        if number == seen:
            break
    assert_same(list(loader), wanted[length:])


def test_epoch_that_was_left_may_be_gone_on_with(root: Path) -> None:
    opt = of("unaligned", root, num_threads=2)
    wanted = [batch for batch in epochs(opt, 1) if isinstance(batch, dict)]
    rng.seed_all(3)
    loader = create_dataset(opt)
    batches: Any = iter(loader)
    first = [next(batches), next(batches)]
    state = loader.state_dict()
    batches.close()
    loader.load_state_dict(state)
    assert_same(first + list(loader), wanted)


def test_state_of_another_run_reaches_workers_that_run_already(root: Path) -> None:
    opt = of("unaligned", root, num_threads=2)
    rng.seed_all(3)
    loader = create_dataset(opt)
    list(loader)
    state, wanted = loader.state_dict(), list(loader)
    torch.manual_seed(77)
    other = create_dataset(opt)
    list(other)
    other.load_state_dict(state)
    assert_same(list(other), wanted)


@pytest.mark.parametrize("workers", [0, 1])
def test_loops_may_be_nested(workers: int, root: Path) -> None:
    loader = create_dataset(of("single", root, num_threads=workers, serial_batches=True))
    outer = []
    for batch in loader:
        outer.append(Path(batch["A_paths"][0]).name)
        inner = [Path(other["A_paths"][0]).name for other in loader]
        assert inner == ["0.png", "1.png", "2.png", "3.png"]
    assert outer == inner


KILLED = """
import os, sys, time
from argparse import Namespace
from data import create_dataset
from data.pipeline.sampling import WorkerError
loader = create_dataset(Namespace(**eval(sys.argv[1], {"inf": float("inf")})))
batches = iter(loader)
next(batches)
os.kill(loader.dataloader._iterator._workers[0].pid, 9)
time.sleep(0.5)  # no word of it here
try:
    list(batches)
except WorkerError as error:
    del batches
    print(len(list(loader)))
"""


def test_epoch_after_a_worker_has_died_gets_new_ones(root: Path) -> None:
    """In a process of its own, whose workers are known."""
    options = vars(of("single", root, num_threads=1, serial_batches=True))
    found = run([sys.executable, "-c", KILLED, repr(options)], cwd=ROOT)
    assert found.stdout.splitlines()[-1:] == ["4"], found.stderr


SPAWNED = """
import hashlib, multiprocessing, sys
from argparse import Namespace
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    import torch
    from data import create_dataset
    from data.pipeline import image_cache
    image_cache.HAS_NAMELESS_FILES = sys.argv[1] == "nameless"
    torch.manual_seed(3)
    loader = create_dataset(Namespace(**eval(sys.argv[2], {"inf": float("inf")})))
    found = hashlib.sha256()
    for batch in [batch for _ in range(3) for batch in loader]:
        for key in "AB":
            found.update(batch[key].numpy().tobytes())
    loader._cache.get("what the workers keep is looked up first")
    print(found.hexdigest(), len(loader._cache._known))
"""


def digest(batches: list[Any]) -> str:
    found = hashlib.sha256()
    for batch in batches:
        for key in "AB" if isinstance(batch, dict) else "":
            found.update(batch[key].numpy().tobytes())
    return found.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("memory", some(["nameless", "of torch"]))
def test_spawned_workers_share_a_cache_and_give_the_same_bits(
    memory: str, root: Path, tmp_path: Path
) -> None:
    opt = of("unaligned", root, num_threads=2, batch_size=2, cache="resized", cache_gb=0.001)
    wanted = digest(epochs(opt))
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED)
    done = subprocess.run(
        [sys.executable, script, memory, repr(vars(opt))],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    *_, last = done.stdout.splitlines()
    assert last.split()[0] == wanted
    assert int(last.split()[1]) > 4  # of both sides


ENDING = """
import sys
from argparse import Namespace
from data import create_dataset
loader = create_dataset(Namespace(**eval(sys.argv[1], {"inf": float("inf")})))
for batch in loader:
    for other in loader:
        direct = iter(loader.dataloader)
        next(direct)
        raise RuntimeError("the script's own fault")
"""


@pytest.mark.slow
def test_script_that_fails_inside_loops_ends_with_all_its_workers(root: Path) -> None:
    options = vars(of("unaligned", root, num_threads=2))
    done = run([sys.executable, "-c", ENDING, repr(options)], cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("the script's own fault")
