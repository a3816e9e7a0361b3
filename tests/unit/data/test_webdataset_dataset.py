"""Samples of shards are the items of the folders they were made of, in an order that streams."""

import io
from argparse import Namespace
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data import CustomDatasetDataLoader, create_dataset, find_dataset_using_name, has_split
from data.base_dataset import BaseDataset
from data.pipeline.loader import order_of
from data.shards.cache import ShardError
from data.shards.lists import Shard, index_text
from data.webdataset_dataset import WebdatasetDataset
from options.train_options import TrainOptions
from tests.support.commands import ROOT, imported
from tests.support.drawn import draw, options
from tests.support.shards import array, numbered, png, tar_bytes, write
from tests.support.web_server import Server
from tests.support.web_server import server as server
from util.base import rng
from util.base.errors import UserError
from util.processes import group

pytestmark = [
    pytest.mark.usefixtures("own_randomness"),
    # What torch and Python say about machines with few cores, and about fork beside threads.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks"),
]
KINDS = {"aligned": "pix2pix", "unaligned": "cycle_gan", "single": "test", "colorization": "x"}


def shard_options(root: str | Path, kind: str = "single", **changes: object) -> Namespace:
    """Return options to read shards with."""
    values: dict[str, object] = {
        "dataset_mode": "webdataset", "model": KINDS[kind], "shards_as": kind,
        "shuffle_shards": 2, "shard_cache": "/nowhere", "shard_cache_gb": 1.0,
    }  # fmt: skip
    if kind == "colorization":
        values |= {"input_nc": 1, "output_nc": 2}
    return options(root, **(values | changes))


def files_of(folder: Path, kind: str) -> None:
    """Draw what a data set of this kind reads."""
    if kind == "two files":
        draw(folder / "A" / "train", ["x/1.png", "2.png"])
        draw(folder / "B" / "train", ["x/1.png", "2.bmp"])
    elif kind == "unaligned":
        draw(folder / "trainA", [f"{n}.png" for n in range(3)])
        draw(folder / "trainB", [f"{n}.png" for n in range(5)], width=12)
    elif kind == "single":
        draw(folder, ["1.png", "x/2.jpg", "y.z.png"])
    else:
        draw(folder / "train", ["1.png", "x/2.jpg", "y.z.png"], width=16)


def seeded(dataset: BaseDataset, index: int) -> dict[str, Any]:
    rng.seed_all(index)
    return dataset[index]


@pytest.mark.parametrize("kind", ["aligned", "two files", "unaligned", "single", "colorization"])
def test_items_are_those_of_the_folders_that_were_packed(kind: str, tmp_path: Path) -> None:
    files_of(tmp_path / "files", kind)
    mode = "aligned" if kind == "two files" else kind
    given = ["--dataroot", tmp_path / "files", "--out", tmp_path / "shards", "--phase", "train"]
    with imported(ROOT / "scripts" / "make_shards.py") as module:
        module.main([*map(str, given), "--dataset_mode", mode])
    shards = WebdatasetDataset(shard_options(tmp_path / "shards", mode, serial_batches=True))
    opt = shard_options(tmp_path / "files", mode, dataset_mode=mode, serial_batches=True)
    folder = find_dataset_using_name(mode)(opt)
    assert len(shards) == len(folder)
    names = {name_of(shards[index]): index for index in range(len(shards))}  # of train: shuffled
    for index in range(len(folder)):
        place = index if mode == "unaligned" else names[name_of(folder[index])]
        rng.seed_all(index)
        ours = shards[place]
        theirs = seeded(folder, index)
        assert ours.keys() == theirs.keys()
        if mode == "unaligned":  # both sides were shuffled
            continue
        for name in "AB":
            if name in theirs:
                assert torch.equal(ours[name], theirs[name])


def name_of(item: dict[str, Any]) -> str:
    """Return what an item and its sample have in common: the key without folders and dots."""
    return Path(item["A_paths"]).name.removesuffix(".png").removesuffix(".jpg").replace(".", "_")


def paths(batches: Any, side: str = "A") -> list[str]:
    return [Path(path).name for batch in batches for path in batch[f"{side}_paths"]]


def two_domains(root: Path, A: int, B: int, *, of: int = 4) -> Path:
    """Write shards of so many samples each."""
    for side, count in (("A", A), ("B", B)):
        for first in range(0, count, of):
            content = numbered(first, min(of, count - first))
            write(root / f"train{side}-{first:03d}.tar", content)
    return root


@pytest.mark.parametrize(("A", "B"), [(13, 5), (5, 13), (6, 6)])
def test_of_two_domains_each_image_comes_as_often_as_it_should(
    A: int, B: int, tmp_path: Path
) -> None:
    loader = create_dataset(shard_options(two_domains(tmp_path, A, B), "unaligned"))
    first, second = (list(loader) for _ in range(2))
    for batches in (first, second):
        assert len(batches) == max(A, B)
        for side, count in (("A", A), ("B", B)):
            often = Counter(paths(batches, side))
            assert len(often) == count
            assert max(often.values()) - min(often.values()) <= 1
    pairs = [list(zip(paths(b), paths(b, "B"), strict=True)) for b in (first, second)]
    assert sorted(pairs[0]) != sorted(pairs[1])


def stream(root: Path, workers: int, **changes: object) -> list[tuple[str, float]]:
    """Return names and pixels of an epoch and a half."""
    torch.manual_seed(3)
    loader = create_dataset(shard_options(root, "unaligned", num_threads=workers, **changes))
    batches = islice(loader.stream(), 12)
    return [(str([*b["A_paths"], *b["B_paths"]]), float(b["A"].sum())) for b in batches]


def test_workers_change_nothing(tmp_path: Path) -> None:
    root = two_domains(tmp_path, 13, 6)
    assert stream(root, 1, batch_size=2) == stream(root, 2, batch_size=2)


def sampled(root: Path, rank: int, count: int, start: int) -> list[Any]:
    """Return what the sampler of one of several processes yields in the second epoch."""
    torch.manual_seed(3)
    loader = create_dataset(shard_options(root, "unaligned", batch_size=6, num_threads=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group, "count", lambda: count)
        patch.setattr(group, "rank", lambda: rank)
        list(loader.sampler)
        loader.sampler.order_seed = loader.sampler._draw_order_seed(2)
        loader.sampler.start = start
        return list(loader.sampler)


@pytest.mark.parametrize("start", [0, 6])
def test_processes_share_every_batch_of_one_order(start: int, tmp_path: Path) -> None:
    root = two_domains(tmp_path, 21, 9)
    whole = sampled(root, 0, 1, start)
    assert len(whole) == 21 - start
    for count in (2, 3):
        parts = [sampled(root, rank, count, start) for rank in range(count)]
        assert len({len(part) for part in parts}) <= 2
        joined = [item for part in parts for item in part]
        assert sorted(joined) == sorted(whole)
        for batch in range(0, len(whole) - 5, 6):
            rows = 6 // count
            own = [part[batch // count : batch // count + rows] for part in parts]
            assert [item for part in own for item in part] == whole[batch : batch + 6]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_goes_on_where_it_was(workers: int, tmp_path: Path) -> None:
    opt = shard_options(two_domains(tmp_path, 13, 6), "unaligned", num_threads=workers)

    def loader() -> CustomDatasetDataLoader:
        torch.manual_seed(3)
        return create_dataset(opt)

    whole = [(paths([b]), paths([b], "B")) for b in islice(loader().stream(), 20)]
    first = loader()
    begun = [(paths([b]), paths([b], "B")) for b in islice(first.stream(), 7)]
    state, random = first.state_dict(), rng.state_dict()
    second = loader()
    assert second.has_images_of(state)
    second.load_state_dict(state)
    rng.load_state_dict(random)
    rest = [(paths([b]), paths([b], "B")) for b in islice(second.stream(), 13)]
    assert begun + rest == whole


def test_an_epoch_of_a_given_size_takes_other_samples_each_time(tmp_path: Path) -> None:
    for n in range(6):
        write(tmp_path / f"train-{n}.tar", numbered(10 * n, 4))
    loader = create_dataset(shard_options(tmp_path, epoch_size=5))
    first, second = (paths(list(loader)) for _ in range(2))
    assert len(set(first)) == len(set(second)) == 5
    assert first != second
    loader = create_dataset(shard_options(tmp_path, epoch_size=60))
    assert set(Counter(paths(list(loader))).values()) == {2, 3}


def test_no_more_than_the_given_number_of_samples_and_in_order(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / f"train-{n}.tar", numbered(10 * n, 4))
    opt = shard_options(tmp_path, max_dataset_size=6, serial_batches=True)
    assert paths(create_dataset(opt)) == ["000", "001", "002", "003", "010", "011"]


def test_bad_images_are_passed_over_or_named(tmp_path: Path) -> None:
    files = {"0.txt": b"nothing", "1.png": b"no image", "2.png": png(2), "3.png": png(3)}
    shard = write(tmp_path / "train-0.tar", tar_bytes(files))
    dataset = WebdatasetDataset(shard_options(tmp_path))
    with pytest.raises(UserError, match=rf"{shard}/1\.png is not an image"):
        dataset[1]
    with pytest.raises(UserError, match=rf"{shard}/0 has no image 0\.a\.\*"):
        dataset[0]
    loader = create_dataset(shard_options(tmp_path, skip_bad_images=True, serial_batches=True))
    assert paths(loader) == ["2", "2", "2", "3"]
    assert len(loader.passed_over) == 2


def test_bad_images_of_two_domains_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "trainA-0.tar", tar_bytes({"0.png": png(0), "1.png": b"bad", "2.png": png(2)}))
    write(tmp_path / "trainB-0.tar", numbered(0, 3))
    loader = create_dataset(shard_options(tmp_path, "unaligned", skip_bad_images=True))
    assert sorted(paths(loader)) == ["0", "2", "2"]


def test_whoever_passes_over_bad_images_gets_the_same_good_ones(tmp_path: Path) -> None:
    root = two_domains(tmp_path, 6, 9)
    assert stream(root, 1) == stream(root, 1, skip_bad_images=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_server_that_is_gone_is_no_bad_image(
    workers: int, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.shards.cache.PAUSES", ())
    server.files = {
        "train.json": b'{"shardlist": [{"url": "0.tar", "nsamples": 2}]}', "0.tar": numbered(0, 2),
    }  # fmt: skip
    opt = shard_options(
        server.url, skip_bad_images=True, shard_cache=str(tmp_path), num_threads=workers,
        value_range=["0,255"],
    )  # fmt: skip
    loader = create_dataset(opt)
    del server.files["0.tar"]
    with pytest.raises(ShardError, match=r"0\.tar answers 404"):
        next(iter(loader))
    assert loader.passed_over == set()


def test_values_and_depths_are_those_of_the_samples(tmp_path: Path) -> None:
    deep = io.BytesIO()
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(deep, "png")
    files = {"0.a.npy": array(-1000.0), "0.b.png": deep.getvalue(), "1.a.npy": array(3000.0),
             "1.b.png": deep.getvalue()}  # fmt: skip
    write(tmp_path / "train-0.tar", tar_bytes(files))
    opt = shard_options(tmp_path, "aligned", input_nc=1, output_nc=1, preprocess="none",
                        value_range=["auto", "0,65535"])  # fmt: skip
    dataset = WebdatasetDataset(opt)
    assert opt.value_range == ["-1000,3000", "0,65535"]
    low, high = dataset[0], dataset[1]
    assert (float(low["A"].mean()), float(high["A"].mean())) == (-1, 1)
    assert float(low["B"].mean()) == pytest.approx(2 * 40_000 / 65_535 - 1)
    opt = shard_options(tmp_path, "aligned", input_nc=1, output_nc=1)
    WebdatasetDataset(opt)
    assert opt.value_range == ["0,1", "0,65535"]  # of unequal depths


def test_values_are_those_of_the_first_shard_that_has_samples(tmp_path: Path) -> None:
    write(tmp_path / "train-0.tar", tar_bytes({}))
    files = {"0.npy": array(-5.0), "1.npy": array(7.0)}
    write(tmp_path / "train-1.tar", tar_bytes(files))
    opt = shard_options(tmp_path, input_nc=1, output_nc=1, value_range=["auto"])
    WebdatasetDataset(opt)
    assert opt.value_range == ["-5,7", "-5,7"]


def test_what_is_no_pair_is_named(tmp_path: Path) -> None:
    shard = write(tmp_path / "train-0.tar", tar_bytes({"0.a.png": png(0), "1.png": png(0)}))
    with pytest.raises(UserError, match=rf"{shard}/0 is no pair: it has neither 0\.a\.\*"):
        WebdatasetDataset(shard_options(tmp_path, "aligned", value_range=["0,255"]))[0]


@pytest.mark.parametrize("kind", ["aligned", "single", "colorization"])
def test_images_of_other_names_are_no_samples_and_are_named(kind: str, tmp_path: Path) -> None:
    files = {"0.input.png": png(0, (16, 8)), "0.target.png": png(9, (16, 8))}
    shard = write(tmp_path / "train-0.tar", tar_bytes(files))
    message = rf"{shard}/0 .*, as 0\.png\. Its images are called 0\.input\.png, 0\.target\.png\."
    with pytest.raises(UserError, match=message):
        WebdatasetDataset(shard_options(tmp_path, kind, value_range=["0,255"]))[0]
    with pytest.raises(UserError, match=message):
        WebdatasetDataset(shard_options(tmp_path, kind, value_range=["auto"]))


@pytest.mark.parametrize(
    ("kind", "files", "message"),
    [
        ("aligned", [], r"no shards of train in .*\n.*\n.*train\.json .*\n.*train\.txt"),
        ("unaligned", ["train-0.tar"], "no shards of trainA in "),
        ("aligned", ["train.txt"], r"1 of 1 shards do not exist, the first one is .*/0\.tar"),
    ],
)
def test_what_is_missing_is_named(
    kind: str, files: list[str], message: str, tmp_path: Path
) -> None:
    for name in files:
        write(tmp_path / name, b"0.tar" if name.endswith(".txt") else numbered(0, 1))
    with pytest.raises(UserError, match=message):
        WebdatasetDataset(shard_options(tmp_path, kind))


@pytest.mark.parametrize("change", [1, -1])
def test_a_shard_here_of_another_size_than_its_index_says_is_refused(
    change: int, tmp_path: Path
) -> None:
    shard = write(tmp_path / "train-0.tar", numbered(0, 3))
    row = Shard(shard.name, 3, 10240)
    write(tmp_path / "train.json", index_text([row], "train").encode())
    assert len(WebdatasetDataset(shard_options(tmp_path))) == 3
    other = row._replace(samples=2, bytes=10240 + change)
    write(tmp_path / "train.json", index_text([other], "train").encode())
    message = rf"{shard} has 10,240 bytes, its index says {10240 + change:,}: one of them is old"
    with pytest.raises(UserError, match=message):
        WebdatasetDataset(shard_options(tmp_path))


def test_one_list_is_not_two_domains_and_empty_shards_are_told(tmp_path: Path) -> None:
    shard = write(tmp_path / "x-0.tar", tar_bytes({}))
    with pytest.raises(UserError, match=r"names the shards of one side, but trainA and trainB"):
        WebdatasetDataset(shard_options(shard, "unaligned"))
    with pytest.raises(UserError, match="hold no samples"):
        WebdatasetDataset(shard_options(shard))


def test_splits_are_found_by_name(server: Server, tmp_path: Path) -> None:
    two_domains(tmp_path, 2, 2)
    write(tmp_path / "val-0.tar", numbered(0, 1))
    opt = shard_options(tmp_path, "aligned")
    assert [has_split(opt, phase) for phase in ("train", "val", "test")] == [False, True, False]
    opt = shard_options(tmp_path, "unaligned")
    assert [has_split(opt, phase) for phase in ("train", "val")] == [True, False]
    opt = shard_options(tmp_path / "val-0.tar", "aligned", phase="train")
    assert [has_split(opt, phase) for phase in ("train", "val")] == [True, False]
    server.files = {"val.json": b'{"shardlist": []}', "test.json": b'{"shardlist": [{"url": "x"}]}'}
    opt = shard_options(server.url, "aligned")
    assert [has_split(opt, phase) for phase in ("train", "val", "test")] == [False, False, True]


def test_a_cache_that_would_fetch_shards_again_and_again_is_refused(tmp_path: Path) -> None:
    rows = ", ".join(f'{{"url": "http://e.org/{n}.tar", "nsamples": 5, "filesize": {10**9}}}'
                     for n in range(9))  # fmt: skip
    write(tmp_path / "train.json", f'{{"shardlist": [{rows}]}}'.encode())
    opt = shard_options(tmp_path, shuffle_shards=4, shard_cache_gb=5, value_range=["0,255"])
    with pytest.raises(UserError, match=r"--shard_cache_gb 5 is too little: .* have 6 GB"):
        WebdatasetDataset(opt)
    opt.shard_cache_gb = 6
    WebdatasetDataset(opt)
    opt.shard_cache_gb, opt.serial_batches = 3, True
    WebdatasetDataset(opt)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--shard_cache_gb", "0"], "--shard_cache_gb 0: it must be above 0"),
        (["--shuffle_shards", "0"], "--shuffle_shards 0: it must be 1 or more"),
        (["--balanced"], "--balanced draws images from everywhere"),
        (["--model", "stargan_v2"], "It reads folders: --dataset_mode domains"),
    ],
)
def test_options_that_cannot_be_are_refused(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        TrainOptions().parse(["--dataroot", "x", "--dataset_mode", "webdataset", *more])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "kind"),
    [("pix2pix", "aligned"), ("cycle_gan", "unaligned"), ("colorization", "colorization")],
)
def test_shards_are_read_as_the_model_reads_folders(model: str, kind: str) -> None:
    argv = ["--dataroot", "x", "--dataset_mode", "webdataset", "--model", model]
    opt = TrainOptions().parse(argv, quiet=True)
    assert opt.shards_as == kind
    assert (opt.input_nc, opt.output_nc) == ((1, 2) if model == "colorization" else (3, 3))


def test_an_order_of_a_plugins_own_is_left_alone(tmp_path: Path) -> None:
    class Ordered(WebdatasetDataset):
        def epoch_order(self, epoch: int) -> Any:  # type: ignore[override]
            raise AssertionError(epoch)

    write(tmp_path / "train-0.tar", numbered(0, 2))
    assert order_of(Ordered(shard_options(tmp_path))) is None
    assert order_of(WebdatasetDataset(shard_options(tmp_path))) is not None
