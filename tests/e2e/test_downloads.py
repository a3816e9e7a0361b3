"""Published data sets and models, through the real commands, from a server on this machine."""

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from models.networks import define_G
from tests.support.commands import ROOT, scene
from tests.support.tiers import LONG, some
from tests.support.warm import run
from tests.support.web_server import Server
from tests.support.web_server import server as server
from util.storage.checkpoint import load_state_dict


def archive() -> bytes:
    """Return a small horse2zebra.zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for folder in ("trainA", "trainB", "testA", "testB"):
            image = io.BytesIO()
            scene(len(folder)).save(image, "png")
            zipped.writestr(f"horse2zebra/{folder}/1.png", image.getvalue())
    return buffer.getvalue()


def command(
    arguments: Sequence[object], folder: Path, status: int = 0
) -> "subprocess.CompletedProcess[str]":
    """Run a command elsewhere; python is this one."""
    environment = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    done = run(list(map(str, arguments)), cwd=folder, env=environment)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_data_set_by_the_originals_command_from_anywhere(server: Server, tmp_path: Path) -> None:
    data = archive()
    server.files, server.resumes = {"horse2zebra.zip": data}, True
    server.hang_up, server.times = {"horse2zebra.zip"}, 1
    script = ROOT / "datasets" / "download_cyclegan_dataset.sh"
    options = ["--dir", tmp_path / "sets", "--base-url", server.url]
    done = command(["bash", script, "horse2zebra", *options], tmp_path)
    digest = hashlib.sha256(data).hexdigest()
    assert done.stdout.splitlines() == [
        f"downloading {server.url}horse2zebra.zip",
        f"SHA-256: {digest}",
        f"Data set saved at: {tmp_path / 'sets' / 'horse2zebra'}",
    ]
    assert len(server.requests) == 2  # it was cut once
    assert sorted(os.listdir(tmp_path / "sets" / "horse2zebra")) == [
        "testA", "testB", "trainA", "trainB"
    ]  # fmt: skip
    assert sorted(os.listdir(tmp_path / "sets")) == ["SHA256SUMS", "horse2zebra"]

    again = command(["bash", script, "horse2zebra", *options], tmp_path)
    assert "exists already" in again.stdout
    os.rename(tmp_path / "sets" / "horse2zebra", tmp_path / "old")
    server.files = {"horse2zebra.zip": data + b"more"}
    other = command(["bash", script, "horse2zebra", *options], tmp_path, status=1)
    assert "is not what it was when it was downloaded first" in other.stderr
    assert os.listdir(tmp_path / "sets") == ["SHA256SUMS"]


@pytest.mark.parametrize(
    ("script", "arguments", "status", "said"),
    [
        ("datasets/download_cyclegan_dataset.sh", [], 2, "vangogh2photo"),
        ("datasets/download_pix2pix_dataset.sh", [], 2, "edges2handbags"),
        ("scripts/download_cyclegan_model.sh", [], 2, "iphone2dslr_flower"),
        ("scripts/download_pix2pix_model.sh", [], 2, "day2night"),
        ("pretrained_models/download_cyclegan_model.sh", [], 2, "iphone2dslr_flower"),
        ("pretrained_models/download_pix2pix_model.sh", [], 2, "day2night"),
        ("datasets/download_cyclegan_dataset.sh", ["horse2zebr"], 1, "Did you mean 'horse2zebra'?"),
        ("scripts/download_pix2pix_model.sh", ["sat2mpa"], 1, "Did you mean 'sat2map'?"),
        ("datasets/download_pix2pix_dataset.sh", ["cityscapes"], 1, "leftImg8bit_trainvaltest.zip"),
        ("datasets/download_pix2pix_dataset.sh", ["maps", "--dri", "x"], 2, "unrecognized"),
    ],
)
def test_what_cannot_be_downloaded_is_answered_with_what_can(
    tmp_path: Path, script: str, arguments: list[str], status: int, said: str
) -> None:
    done = command(["bash", ROOT / script, *arguments], tmp_path, status)
    assert said in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("script", ["datasets/download.py", "scripts/download_model.py"])
def test_a_name_that_both_have_is_asked_about(tmp_path: Path, script: str) -> None:
    name = "maps" if script.startswith("datasets") else "sat2map"
    done = command([sys.executable, ROOT / script, name], tmp_path, status=1)
    assert "--technique cyclegan" in done.stderr
    assert "--technique pix2pix" in done.stderr


@pytest.mark.slow
def test_a_downloaded_model_needs_nothing_else(server: Server, tmp_path: Path) -> None:
    """Also one of before torch 0.4, whose instance norms kept statistics of no use."""
    torch.manual_seed(0)
    state = define_G(3, 3, 64, "resnet_9blocks", "instance").state_dict()
    for number, width in ((2, 64), (5, 128), (8, 256)):
        state[f"model.{number}.running_mean"] = torch.zeros(width)
        state[f"model.{number}.running_var"] = torch.ones(width)
        state[f"model.{number}.num_batches_tracked"] = torch.tensor(0)
    buffer = io.BytesIO()
    torch.save(state, buffer)  # noqa: TID251 - as others wrote it
    server.files = {"horse2zebra.pth": buffer.getvalue()}
    script = ROOT / "scripts" / "download_cyclegan_model.sh"
    options = ["--dir", tmp_path / "runs", "--base-url", server.url]
    done = command(["bash", script, "horse2zebra", *options], tmp_path)
    run = tmp_path / "runs" / "horse2zebra_pretrained"
    assert sorted(os.listdir(run)) == ["SHA256SUMS", "latest_net_G.pth", "train_opt.json"]
    assert (
        "python test.py --dataroot datasets/horse2zebra/testA --name horse2zebra_pre" in done.stdout
    )

    images = tmp_path / "horses"
    images.mkdir()
    scene(1, 32).save(images / "1.png")
    arguments = ["--name", "horse2zebra_pretrained", "--dataroot", images]
    arguments += ["--checkpoints_dir", tmp_path / "runs", "--results_dir", tmp_path / "results"]
    arguments += ["--load_size", "32", "--crop_size", "32", "--gpu_ids", "-1"]
    said = command([sys.executable, ROOT / "test.py", *arguments], tmp_path).stdout
    assert "netG resnet_9blocks" in said or "netG: resnet_9blocks" in said
    made = tmp_path / "results" / "horse2zebra_pretrained" / "test_latest" / "images"
    with Image.open(made / "1_fake.png") as image:
        assert image.size == (32, 32)
    assert load_state_dict(run / "latest_net_G.pth").keys() >= {"model.1.weight"}


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="takes a while; RELIABILITY=long tries it")
def test_a_model_of_pix2pix_is_tested_on_its_data_set_in_its_direction(
    server: Server, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    torch.save(define_G(3, 3, 4, "unet_256", "batch", True).state_dict(), buffer)  # noqa: TID251
    server.files = {"facades_label2photo.pth": buffer.getvalue()}
    options = ["--dir", tmp_path, "--base-url", server.url]
    script = ROOT / "scripts" / "download_pix2pix_model.sh"
    command(["bash", script, "facades_label2photo", *options], tmp_path)
    pairs = tmp_path / "facades" / "test"
    pairs.mkdir(parents=True)
    both = Image.new("RGB", (512, 256))
    both.paste(scene(1, 256), (256, 0))
    both.save(pairs / "1.png")
    arguments = ["--name", "facades_label2photo_pretrained", "--dataroot", pairs.parent]
    arguments += [
        "--checkpoints_dir",
        tmp_path,
        "--results_dir",
        tmp_path / "results",
        "--ngf",
        "4",
    ]
    command([sys.executable, ROOT / "test.py", *arguments, "--gpu_ids", "-1"], tmp_path)
    made = tmp_path / "results" / "facades_label2photo_pretrained" / "test_latest" / "images"
    with Image.open(made / "1_real_A.png") as image:  # BtoA: the right half is what is translated
        assert image.getpixel((0, 0)) == (240, 240, 240)


@pytest.mark.parametrize("content", some([b"PK of something else", b"<html>moved</html>", b""]))
def test_a_file_that_is_no_network_is_refused(
    server: Server, tmp_path: Path, content: bytes
) -> None:
    server.files = {"horse2zebra.pth": content}
    options = ["--dir", tmp_path / "runs", "--base-url", server.url]
    script = ROOT / "scripts" / "download_cyclegan_model.sh"
    done = command(["bash", script, "horse2zebra", *options], tmp_path, status=1)
    assert done.stderr.startswith("error: ")
    assert "cyclegan_horse2zebra.pth" in done.stderr or "answers with a web page" in done.stderr
    assert os.listdir(tmp_path / "runs" / "horse2zebra_pretrained") == []
