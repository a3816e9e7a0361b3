"""Edges of photographs: lines one pixel wide, nothing small, pairs that pix2pix can read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from skimage.measure import label
from skimage.morphology import thin

from tests.support.commands import ROOT, draw, ended, imported, scene


@pytest.fixture(scope="module")
def edges() -> Iterator[Any]:
    with imported(ROOT / "scripts" / "edges" / "photos_to_edges.py") as module:
        yield module


def run(edges: Any, *arguments: object) -> int:
    return ended(edges.main, arguments)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_lines_are_thin_and_none_is_small(edges: Any, data: st.DataObject) -> None:
    """Of any drawing: thinning again changes nothing, no part is below the limit."""
    image = Image.new("L", (48, 48))
    pen = ImageDraw.Draw(image)
    coordinate = st.integers(0, 47)
    for _ in range(data.draw(st.integers(1, 6))):
        ends = data.draw(st.tuples(*[coordinate] * 4))
        pen.line(ends, fill=255, width=data.draw(st.integers(1, 7)))
    small = data.draw(st.integers(0, 12))
    lines = edges.clean(np.asarray(image) / 255.0, 0.5, small)
    assert np.array_equal(thin(lines), lines)
    assert not (lines & (np.asarray(image) == 0)).any()
    sizes = np.bincount(label(lines, connectivity=2).ravel())[1:]
    assert (sizes >= small).all()
    squares = lines[:-2, :-2] & lines[1:-1, 1:-1] & lines[2:, 2:] & lines[:-2, 2:] & lines[2:, :-2]
    assert not (squares & lines[1:-1, :-2] & lines[:-2, 1:-1]).any()  # nothing is three wide


def test_the_ridge_of_a_blurred_line_is_kept(edges: Any) -> None:
    place = np.arange(64)
    across = np.exp(-(((place - 30) / 3.0) ** 2))
    upright = np.tile(across, (64, 1))
    for ridge in (upright, upright.T):
        kept = edges.strongest(ridge)[8:-8, 8:-8] > 0.1
        assert np.count_nonzero(kept) == 48  # of 9 times as many
    found = edges.strongest(upright)
    assert (found[8:-8].argmax(axis=1) == 30).all()
    assert (found[0] == 0).all()  # not trusted at the border


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw(tmp_path / "photos" / "sub" / "a.jpg", scene(1, 80))
    draw(tmp_path / "photos" / "b.png", scene(2, 64))
    return tmp_path / "photos"


def test_edges_are_drawn_under_the_same_names(edges: Any, photos: Path, tmp_path: Path) -> None:
    assert run(edges, photos, tmp_path / "out", "--size", 64) == 0
    for name in ("sub/a.png", "b.png"):
        with Image.open(tmp_path / "out" / name) as image:
            pixels = np.asarray(image)
        assert pixels.shape == (64, 64, 3)
        assert set(np.unique(pixels)) == {0, 255}
        assert 0.01 < (pixels == 0).mean() < 0.4


def test_pairs_have_the_photograph_on_the_right(edges: Any, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"no image")
    assert run(edges, photos, tmp_path / "out", "--pairs", "--size", 0) == 1
    with Image.open(tmp_path / "out" / "b.png") as pair, Image.open(photos / "b.png") as photo:
        assert np.array_equal(np.asarray(pair)[:, 64:], np.asarray(photo.convert("RGB")))
    assert not (tmp_path / "out" / "broken.png").exists()


class Contrast(torch.nn.Module):
    """A stand-in for a trained network: how much a pixel differs from its surroundings."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        grey = image.mean(dim=1, keepdim=True)
        around = torch.nn.functional.avg_pool2d(grey, 5, stride=1, padding=2)
        return ((grey - around).abs() / 64).clamp(0, 1)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", ["hed.pt", "hed.pt2"])
def test_a_network_of_ones_own_finds_the_edges(
    edges: Any, photos: Path, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / kind
    size = 64 + 2 * 128
    if kind.endswith("2"):
        torch.export.save(torch.export.export(Contrast(), (torch.zeros(1, 3, size, size),)), file)
    else:
        torch.jit.save(torch.jit.trace(Contrast(), torch.zeros(1, 3, size, size)), str(file))
    arguments = ["--method", "hed", "--hed_weights", file, "--size", 64]
    assert run(edges, photos, tmp_path / "out", *arguments) == 0
    with Image.open(tmp_path / "out" / "b.png") as image:
        lines = np.asarray(image.convert("L")) == 0
    assert 0.005 < lines.mean() < 0.3
    with Image.open(photos / "b.png") as photo:
        grey = np.asarray(photo.convert("L"), dtype=float)
    near = np.stack([np.abs(grey - np.roll(grey, shift, axis))
                     for axis in (0, 1) for shift in (-2, -1, 1, 2)]).max(axis=0)  # fmt: skip
    assert (near[lines] > 5).mean() > 0.95


def test_what_cannot_be_drawn_is_said(
    edges: Any, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.pt").write_bytes(b"no network")
    (tmp_path / "empty").mkdir()
    cases: list[tuple[list[object], int, str]] = [
        ([tmp_path / "nowhere", tmp_path / "out"], 1, "is not a valid directory"),
        ([tmp_path / "empty", tmp_path / "out"], 1, "has no images"),
        ([photos, tmp_path / "out", "--method", "hed"], 2, "needs --hed_weights"),
        ([photos, tmp_path / "out", "--method", "hed", "--hed_weights", tmp_path / "no.pt"], 1,
         "is no network that torch can run"),
        ([photos, tmp_path / "out", "--threshold", "2"], 2, "--threshold must lie"),
    ]  # fmt: skip
    for arguments, status, said in cases:
        assert run(edges, *arguments) == status
        assert said in capsys.readouterr().err
