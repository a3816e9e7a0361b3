"""Data in shards through the real commands: packed, served, trained on, interrupted, tested."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import (
    ROOT,
    draw_pairs,
    draw_unpaired,
    ended,
    imported,
    script,
    train,
)
from tests.support.commands import test as run_test
from tests.support.runs import (
    at_step,
    command,
    differences,
    draw_data,
    outcome,
    resume,
    run,
    run_until,
)
from tests.support.shards import tar_bytes, write
from tests.support.web_server import Server, running
from tests.support.web_server import server as server
from util.base.errors import UserError

Tool = Callable[..., tuple[int, str]]


@pytest.fixture
def make_shards(capsys: pytest.CaptureFixture[str]) -> Iterator[Tool]:
    """Run the script; return its exit status and all that it says."""
    with imported(ROOT / "scripts" / "make_shards.py") as module:

        def tool(*arguments: object) -> tuple[int, str]:
            capsys.readouterr()
            status = ended(module.main, arguments)
            said = capsys.readouterr()
            return status, said.out + said.err

        yield tool


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# ---- scripts/make_shards.py -------------------------------------------------------------------


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Write files of 400 KB: two to a shard of a megabyte."""
    for number in range(5):
        path = tmp_path / "files" / "train" / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full((316, 316), number, np.float32))
    return tmp_path / "files"


def test_shards_have_the_same_bytes_each_time_and_an_index(
    make_shards: Tool, arrays: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        status, said = make_shards("--dataroot", arrays, "--out", tmp_path / name, "--shard_mb", 1)
        assert status == 0
        assert "train.json: 5 samples in 3 shards" in said
        assert f"--dataroot {tmp_path / name} --dataset_mode webdataset" in said
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    index = json.loads((tmp_path / "one" / "train.json").read_text())
    assert [row["nsamples"] for row in index["shardlist"]] == [2, 2, 1]
    sizes = [(tmp_path / "one" / row["url"]).stat().st_size for row in index["shardlist"]]
    assert [row["filesize"] for row in index["shardlist"]] == sizes
    make_shards("--dataroot", arrays, "--out", tmp_path / "x", "--shard_mb", 1, "--seed", 1)
    assert contents(tmp_path / "one") != contents(tmp_path / "x")


def test_what_is_there_stays_and_is_only_replaced_if_that_is_wanted(
    make_shards: Tool, arrays: Path, tmp_path: Path
) -> None:
    given = ["--dataroot", arrays, "--out", tmp_path / "out"]
    make_shards(*given, "--shard_mb", 1)
    made = contents(tmp_path / "out")
    (tmp_path / "out" / "train-000001.tar").unlink()  # as if it had been interrupted
    (tmp_path / "out" / "train.json").unlink()
    kept = (tmp_path / "out" / "train-000000.tar").stat().st_ino
    status, said = make_shards(*given, "--shard_mb", 1)
    assert status == 0
    assert "5 samples in 3 shards, 2 of which were there" in said
    assert contents(tmp_path / "out") == made
    assert (tmp_path / "out" / "train-000000.tar").stat().st_ino == kept
    status, said = make_shards(*given)
    assert status == 1
    assert "train-000000.tar is there, but none of these shards, or made of other" in said
    assert contents(tmp_path / "out") == made
    (arrays / "train" / "3.npy").touch()
    assert make_shards(*given, "--shard_mb", 1)[0] == 1
    status, _ = make_shards(*given, "--force")
    assert status == 0
    assert sorted(contents(tmp_path / "out")) == ["train-000000.tar", "train.json"]


def test_shards_that_a_killed_command_has_not_written_are_missed_in_training(
    make_shards: Tool, arrays: Path, tmp_path: Path
) -> None:
    os.mkfifo(arrays / "train" / "waits.npy")  # reading it takes for ever
    out = tmp_path / "out"
    given = ["--dataroot", str(arrays), "--out", str(out), "--shard_mb", "1"]
    packing = subprocess.Popen([sys.executable, str(ROOT / "scripts" / "make_shards.py"), *given])
    try:
        while len([*out.glob("train-*.tar")]) < 2:
            assert packing.poll() is None
            time.sleep(0.05)
    finally:
        packing.kill()
        packing.wait()
    argv = ["--dataset_mode", "webdataset"]
    with pytest.raises(UserError, match="1 of 3 shards do not exist, the first one is") as caught:
        train(tmp_path, out, "pix2pix", *argv)
    assert "If scripts/make_shards.py was interrupted, give its command again" in str(caught.value)
    (arrays / "train" / "waits.npy").unlink()
    assert make_shards(*given, "--force")[0] == 0
    index = json.loads((out / "train.json").read_text())
    assert all(row["filesize"] for row in index["shardlist"])


def test_shards_of_a_phase_whose_name_begins_alike_stay(make_shards: Tool, tmp_path: Path) -> None:
    draw_unpaired(tmp_path / "files", "train", 2, 2)
    out = tmp_path / "out"
    for phase, side in (("test-hard", "A"), ("test", "B"), ("test", "A")):
        folder = tmp_path / "files" / f"train{side}"
        given = ["--dataroot", folder, "--out", out, "--phase", phase]
        assert make_shards(*given, *["--force"] * (phase == "test"))[0] == 0
    expected = ["test-000000.tar", "test-hard-000000.tar", "test-hard.json", "test.json"]
    assert sorted(contents(out)) == expected


def test_what_a_killed_command_left_is_removed_by_the_next_one(
    make_shards: Tool, arrays: Path, tmp_path: Path
) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    names = [f".{done.pid}-0.tmp-{name}-000003.tar" for name in ("train", "val", "train-hard")]
    names.append(f".{os.getppid()}-0.tmp-train-000003.tar")  # of a process that goes on
    for name in names:
        write(tmp_path / "out" / name, b"half")
    assert make_shards("--dataroot", arrays, "--out", tmp_path / "out")[0] == 0
    assert sorted(contents(tmp_path / "out")) == sorted(
        [*names[1:], "train-000000.tar", "train.json"]
    )


def test_every_layout_is_packed(make_shards: Tool, tmp_path: Path) -> None:
    draw_unpaired(tmp_path / "two", "train", 2, 3)
    assert make_shards("--dataroot", tmp_path / "two", "--out", tmp_path / "a")[0] == 0
    assert sorted(p.stem for p in (tmp_path / "a").glob("*.json")) == ["trainA", "trainB"]
    shutil.copytree(tmp_path / "two" / "trainA", tmp_path / "pairs" / "A" / "val")
    shutil.copytree(tmp_path / "two" / "trainA", tmp_path / "pairs" / "B" / "val")
    shutil.copy(tmp_path / "pairs" / "A" / "val" / "a0.png", tmp_path / "pairs/A/val/alone.png")
    status, said = make_shards("--dataroot", tmp_path / "pairs", "--out", tmp_path / "b")
    assert status == 0
    assert "alone.png has no partner" in said
    assert "val.json: 2 samples in 1 shards" in said
    assert b"a0.a.png" in (tmp_path / "b" / "val-000000.tar").read_bytes()
    folder = tmp_path / "two" / "trainA"
    status, _ = make_shards("--dataroot", folder, "--out", tmp_path / "c", "--phase", "mine")
    assert sorted(contents(tmp_path / "c")) == ["mine-000000.tar", "mine.json"]


def test_shards_of_others_get_an_index(make_shards: Tool, server: Server, tmp_path: Path) -> None:
    shards = {f"{n}.tar": tar_bytes(dict.fromkeys(("a.png", "b.png"), b"")) for n in (8, 9)}
    server.files = {"1.tar": tar_bytes({"a.png": b"", "a.json": b""})}
    for name, content in shards.items():
        write(tmp_path / "s" / name, content)
    out = tmp_path / "train.json"
    assert make_shards("--index", f"{tmp_path}/s/{{8..9}}.tar", "--out", out)[0] == 0
    rows = json.loads(out.read_text())["shardlist"]
    assert [(row["url"], row["nsamples"]) for row in rows] == [("s/8.tar", 2), ("s/9.tar", 2)]
    assert "is there already" in make_shards("--index", out, "--out", out)[1]
    given = ["--index", f"{server.url}{{1..1}}.tar", "--out", out, "--force"]
    assert make_shards(*given)[0] == 0
    (row,) = json.loads(out.read_text())["shardlist"]
    assert (row["url"], row["nsamples"]) == (f"{server.url}1.tar", 1)
    (tmp_path / "s" / "9.tar").write_bytes(shards["9.tar"][:700])
    status, said = make_shards("--index", f"{tmp_path}/s/{{8..9}}.tar", "--out", out, "--force")
    assert status == 1
    assert "9.tar is damaged" in said


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--out", "x"], 2, "Give either --dataroot or --index"),
        (["--out", "x", "--dataroot", "x", "--shard_mb", "0"], 2, "it must be 1 or more"),
        (["--out", "x", "--dataroot", "nowhere"], 1, "nowhere does not exist"),
        (["--out", "x", "--index", "a-{0..1}.tar"], 1, "--out x is no name of an index"),
        (["--out", "x.json", "--index", "a-{0..1}.tar"], 1, "a-0.tar is not there"),
        (["--out", "x", "--dataroot", "empty"], 1, "has no images in folders of a data set"),
    ],
)
def test_mistakes_are_told(
    make_shards: Tool, arguments: list[str], status: int, message: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    found, said = make_shards(*arguments)
    assert found == status
    assert message in said


# ---- training ---------------------------------------------------------------------------------


def served(make_shards: Tool, folder: Path, server: Server) -> None:
    """Draw 5 pairs and two domains, and serve them in shards of one or two."""
    draw_data(folder / "files")
    make_shards("--dataroot", folder / "files", "--out", folder / "shards")
    for name in ("train", "trainA", "trainB"):
        packed = (folder / "shards" / f"{name}-000000.tar").read_bytes()
        server.files |= split(name, packed)


def split(name: str, packed: bytes) -> dict[str, bytes]:
    """Return shards of two samples and their index, instead of one shard."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    names = list(files)
    parts = [names[place : place + 2] for place in range(0, len(names), 2)]
    shards = {
        f"{name}-{number}.tar": tar_bytes({n: files[n] for n in part})
        for number, part in enumerate(parts)
    }
    rows = [
        {"url": shard, "nsamples": len(part), "filesize": len(shards[shard])}
        for shard, part in zip(shards, parts, strict=True)
    ]
    return {**shards, f"{name}.json": json.dumps({"shardlist": rows}).encode()}


def on_shards(root: str, checkpoints: Path, model: str, *more: str) -> list[str]:
    """Return the command line of a run whose cache holds few shards."""
    argv = command(Path("unused"), checkpoints, model)
    argv[argv.index("--dataroot") + 1] = root
    argv += ["--dataset_mode", "webdataset", "--shuffle_shards", "1"]
    return [*argv, "--shard_cache_gb", "0.00007", "--num_threads", "0", *more]


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("cycle_gan", ["--num_threads", "0"]),
        ("pix2pix", ["--num_threads", "2", "--batch_size", "2"]),
    ],
)
def test_a_run_on_shards_from_a_server_goes_on_exactly(
    model: str, more: list[str], make_shards: Tool, server: Server, tmp_path: Path
) -> None:
    served(make_shards, tmp_path, server)
    root = server.url.rstrip("/")
    run(on_shards(root, tmp_path / "whole", model, *more))
    assert run_until(on_shards(root, tmp_path / "cut", model, *more), 4)
    run(resume(tmp_path / "cut"))
    whole, cut = (outcome(tmp_path / name / "run") for name in ("whole", "cut"))
    assert differences(whole, cut) == []
    held = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.tar*"))
    assert 0 < held <= 70_000


def test_a_run_outlives_its_server(
    make_shards: Tool, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("data.shards.cache.PAUSES", (0.0,))
    served(make_shards, tmp_path, server)
    with running(Server()) as first:
        first.files, port = server.files, first.server_port
        root = f"http://127.0.0.1:{port}/datasets"
        run(on_shards(root, tmp_path / "whole", "pix2pix"))

        def die() -> None:
            first.shutdown()
            first.server_close()
            shutil.rmtree(tmp_path / "cache")

        with at_step(4, die):
            status = ended(partial(script, "train"), on_shards(root, tmp_path / "cut", "pix2pix"))
    said = capsys.readouterr().err
    assert status == 1
    assert "Traceback" not in said
    assert re.search(rf"error: {root}/train-\d\.tar cannot be reached .*refused", said)
    assert "the run can go on" in said
    with running(Server(port)) as second:
        second.files = server.files
        run(resume(tmp_path / "cut"))
    whole, cut = (outcome(tmp_path / name / "run") for name in ("whole", "cut"))
    assert differences(whole, cut) == []


def test_a_test_of_shards_writes_what_one_of_the_files_does(
    make_shards: Tool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for phase, count in (("train", 2), ("val", 2), ("test", 3)):
        draw_pairs(tmp_path / "files", phase, count)
    make_shards("--dataroot", tmp_path / "files", "--out", tmp_path / "shards")
    more = ["--dataset_mode", "webdataset", "--no_dropout"]  # which depends on the path
    folder = train(tmp_path, tmp_path / "shards", "pix2pix", *more)
    assert "validation (epoch: 1, images: 2)" in capsys.readouterr().out
    assert (folder / "latest_net_G.pth").is_file()
    pages = []
    for name, mode in (("files", "aligned"), ("shards", "webdataset")):
        page = run_test(tmp_path, tmp_path / name, "pix2pix", "--dataset_mode", mode)
        pages.append(contents(page / "images"))
        shutil.rmtree(page)
    assert len(pages[0]) == 9
    assert pages[0] == pages[1]
