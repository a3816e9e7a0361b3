"""scripts/export.py, and what other programs find in its files."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from models import load_generator
from models.architectures.registry import GENERATORS
from models.networks import define_G
from tests.support.checkpoints import save_state
from tests.support.commands import ROOT, ended, imported
from tests.support.generators import save_run
from tests.support.tiers import some
from util.storage.checkpoint import load_state_dict

CASES = [
    ("onnx", "resnet_6blocks", "instance"),
    ("torch_export", "unet_128", "batch"),
    *(
        (kind, netG, norm)
        for netG in GENERATORS
        for norm in ("instance", "batch", "none")
        for kind in ("onnx", "torch_export")
    ),
]


@pytest.fixture(scope="module")
def export() -> Iterator[ModuleType]:
    """Import the script."""
    with imported(ROOT / "scripts" / "export.py") as module:
        yield module


def run_of(folder: Path, **options: Any) -> list[object]:
    """Write a run that translates 5 channels to 2, and return the words that name it."""
    options = {"input_nc": 5, "output_nc": 2, "ngf": 8, **options}
    run = save_run(folder / "runs" / "run", "pix2pix", "G", **options)
    file = run / "latest_net_G.pth"
    save_state(with_even_variance(load_state_dict(file)), file)
    return ["--name", "run", "--checkpoints_dir", folder / "runs"]


def with_even_variance(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Scale weights so that values neither vanish nor explode where there is no norm."""
    return {
        key: value * (1 / (value.shape[1] * value[0, 0].numel())) ** 0.5 / value.std()
        if value.dim() == 4
        else value
        for key, value in state.items()
    }


def images(count: int, side: int) -> torch.Tensor:
    """Return stored images of 5 channels."""
    generator = torch.Generator().manual_seed(count)
    return torch.randint(256, (count, 5, side, 2 * side), generator=generator, dtype=torch.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "netG", "norm"), some(CASES, 2))
def test_an_exported_file_gives_what_the_api_gives(
    export: ModuleType, tmp_path: Path, kind: str, netG: str, norm: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = run_of(tmp_path, netG=netG, norm=norm, no_dropout=True)
    suffix = {"onnx": "onnx", "torch_export": "pt2"}[kind]
    file = tmp_path / "out" / f"some.{suffix}"
    assert ended(export.main, [*run, "--format", kind, "--output", file]) == 0
    told = capsys.readouterr().out
    assert told.count("largest difference") == 3
    stored = images(2, 256)
    x = stored.float() / 127.5 - 1
    if kind == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(str(file))
        made = session.run(["translated"], {"image": x.numpy()})[0]
        notes = session.get_modelmeta().custom_metadata_map
        assert json.loads(notes["options"])["netG"] == netG
        assert notes["values"] == "-1 to 1"
    else:
        made = torch.export.load(file).module()(x).numpy()
    expected = load_generator("run", checkpoints_dir=tmp_path / "runs").translate(x)
    assert made.shape == (2, 2, 256, 512)
    assert np.abs(made - expected.numpy()).max() < 1e-4
    assert expected.std() > 0.01


@pytest.mark.slow
def test_uint8_goes_in_and_comes_out(export: ModuleType, tmp_path: Path) -> None:
    run = run_of(tmp_path, norm="batch")
    file = tmp_path / "some.pt2"
    words = ["--format", "torch_export", "--uint8", "--output", file]
    assert ended(export.main, [*run, *words]) == 0
    stored = images(1, 64)
    made = torch.export.load(file).module()(stored)
    expected = load_generator("run", checkpoints_dir=tmp_path / "runs").translate(stored)
    assert made.dtype == torch.uint8
    assert (made.int() - expected.int()).abs().max() <= 1
    assert (made == expected).float().mean() > 0.99


def test_weights_build_the_network_again(
    export: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    safetensors = pytest.importorskip("safetensors")
    run = run_of(tmp_path, norm="batch", no_dropout=False)
    file = tmp_path / "some.safetensors"
    assert ended(export.main, [*run, "--format", "safetensors", "--output", file]) == 0
    assert "Dropout is left out" in capsys.readouterr().out
    with safetensors.safe_open(file, "pt") as opened:  # as docs/export.md shows
        options = json.loads(opened.metadata()["options"])
        dropout = not options.pop("no_dropout")
        net = define_G(**options, use_dropout=dropout)
        net.load_state_dict({key: opened.get_tensor(key) for key in opened.keys()})  # noqa: SIM118
    generator = load_generator("run", checkpoints_dir=tmp_path / "runs", eval=True)
    x = images(1, 32).float() / 127.5 - 1
    with torch.no_grad():
        assert torch.equal(net.eval()(x), generator.module(x))
    file.write_text("something else")  # it is still there after a refusal
    assert ended(export.main, [*run, "--format", "safetensors", "--output", file]) == 1
    assert "is there already. Give --force" in capsys.readouterr().err
    assert ended(export.main, [*run, "--format", "safetensors", "--output", file, "--force"]) == 0
    assert safetensors.safe_open(file, "pt").metadata()["values"] == "-1 to 1"


def test_a_file_that_differs_from_the_network_is_not_written(
    export: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = run_of(tmp_path)
    kind = export.FORMATS["safetensors"]
    worse = kind._replace(load=lambda path: lambda x: kind.load(path)(x) + 2e-4)
    monkeypatch.setitem(export.FORMATS, "safetensors", worse)
    file = tmp_path / "some.safetensors"
    assert ended(export.main, [*run, "--format", "safetensors", "--output", file]) == 1
    assert "differs from the network by 2.0e-04, more than 0.0001" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_what_cannot_be_exported_is_refused(
    export: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = run_of(tmp_path)
    assert ended(export.main, [*run, "--format", "safetensors", "--uint8"]) == 2
    assert "--uint8 cannot work with --format safetensors" in capsys.readouterr().err
    assert ended(export.main, [*run, "--format", "onnx", "--output", "some.pt2"]) == 2
    assert "files of --format onnx end in .onnx" in capsys.readouterr().err
    other = run_of(tmp_path / "other", value_range=["0,4095"])
    assert ended(export.main, [*other, "--format", "onnx", "--uint8"]) == 1
    assert "trained with --value_range, for other values than 0 to 255" in capsys.readouterr().err
    monkeypatch.setattr("models.inference.exporting.find_spec", lambda name: None)
    assert ended(export.main, [*run, "--format", "onnx"]) == 1
    assert "needs onnx, onnxruntime, onnxscript, not installed" in capsys.readouterr().err
