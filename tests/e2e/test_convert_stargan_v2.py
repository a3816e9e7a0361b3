"""scripts/convert_stargan_v2.py: files of the published code become runs, and runs such files."""

import json
import os
import pickle
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.architectures import stargan_v2
from tests.support.checkpoints import save_state
from tests.support.commands import ROOT, draw, ended, imported, scene, script
from util.storage.checkpoint import load_state

SCRIPT = ROOT / "scripts" / "convert_stargan_v2.py"
SMALL = ["--crop_size", "16", "--ngf", "1", "--ndf", "1", "--batch_size", "2"]
KINDS = ("nets", "nets_ema", "optims")
Convert = Callable[..., int]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("domains")
    for phase in ("train", "test"):
        for number, domain in enumerate(("cat", "dog", "wild")):
            for image in range(2):
                draw(folder / phase / domain / f"{image}.png", scene(10 * number + image))
    return folder


@pytest.fixture(scope="module")
def convert() -> Convert:
    def run(*arguments: str | Path) -> int:
        with imported(SCRIPT) as module:
            return ended(module.main, arguments)

    return run


@pytest.fixture(scope="module")
def published(data: Path, convert: Convert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the three files of a run of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    argv = ["--dataroot", str(data), "--model", "stargan_v2", "--checkpoints_dir", str(folder)]
    argv += ["--total_steps", "2", "--val_steps", "2", "--display_id", "-1", "--gpu_ids", "-1"]
    script("train", [*argv, *SMALL, "--name", "run", "--no_html"])
    files = folder / "published"
    assert convert("--name", "run", "--checkpoints_dir", folder, "--to", files) == 0
    return files


def equal(a: Any, b: Any) -> bool:
    """Tell whether two nests of containers hold the same numbers in the same types."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return type(a) is type(b) and bool(a == b)


def some_of(published: Path, folder: Path, *kinds: str) -> Path:
    folder.mkdir()
    for kind in kinds:
        os.link(published / f"000002_{kind}.ckpt", folder / f"000002_{kind}.ckpt")
    return folder


def test_files_have_the_names_and_the_keys_of_the_published_code(published: Path) -> None:
    networks = ["generator", "mapping_network", "style_encoder", "discriminator"]
    files = {kind: load_state(published / f"000002_{kind}.ckpt") for kind in KINDS}
    assert {kind: list(found) for kind, found in files.items()} == {
        "nets": networks, "nets_ema": networks[:3], "optims": networks,
    }  # fmt: skip
    assert not equal(files["nets"]["generator"], files["nets_ema"]["generator"])
    for name in networks:
        parameters, state = files["nets"][name], files["optims"][name]
        assert state.keys() == {"state", "param_groups"}
        shapes = [moments["exp_avg"].shape for _, moments in sorted(state["state"].items())]
        assert shapes == [tensor.shape for tensor in parameters.values()]
    assert files["optims"]["mapping_network"]["param_groups"][0]["lr"] == 1e-6


@pytest.mark.parametrize("kinds", [KINDS, KINDS[:2], KINDS[1:2]], ids="-".join)
def test_there_and_back_everything_is_equal(
    kinds: tuple[str, ...], published: Path, convert: Convert, tmp_path: Path
) -> None:
    source, run = some_of(published, tmp_path / "given", *kinds), ("--name", "run")
    if "optims" in kinds:  # as torch wrote it until 2022
        optims = load_state(source / "000002_optims.ckpt")
        for state in optims["generator"]["state"].values():
            state["step"] = int(state["step"])
        (source / "000002_optims.ckpt").unlink()
        save_state(optims, source / "000002_optims.ckpt")
    where = ("--checkpoints_dir", tmp_path / "runs")
    assert convert(source, *run, *where) == 0
    step = () if "optims" in kinds else ("--step", "2")
    assert convert(*run, *where, "--to", tmp_path / "back", *step) == 0
    assert sorted(file.name for file in (tmp_path / "back").glob("*.ckpt")) == sorted(
        file.name for file in source.iterdir()
    )
    for file in source.iterdir():
        assert equal(load_state(file), load_state(tmp_path / "back" / file.name)), file.name


def test_a_converted_run_goes_on(
    published: Path, convert: Convert, data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    more = ["--lambda_ds", "2", "--ds_iter", "10", "--total_steps", "4", "--val_steps", "2"]
    more += ["--batch_size", "2", "--gpu_ids", "-1", "--dataroot", str(data), "--no_html"]
    assert convert(published, "--name", "run", "--checkpoints_dir", tmp_path, *more) == 0
    said = capsys.readouterr().out
    assert "begins anew when the run goes on: random numbers" in said
    assert "--continue_train" in said
    before = load_state(tmp_path / "run" / "latest_state.pth")
    assert before["model"]["extra"]["lambda_ds"] == pytest.approx(2 - 2 * 0.2)
    script("train", ["--name", "run", "--checkpoints_dir", str(tmp_path), "--continue_train",
                     "--display_id", "-1"])  # fmt: skip
    assert "step 2 of 4" in capsys.readouterr().out
    after = load_state(tmp_path / "run" / "latest_state.pth")
    assert (after["progress"]["step"], after["progress"]["epoch"]) == (4, 3)
    assert after["model"]["extra"]["lambda_ds"] == pytest.approx(2 - 4 * 0.2)
    assert [each["last_epoch"] for each in after["model"]["schedulers"]] == [4] * 4
    for saved, steps in ((before, 2), (after, 4)):  # each of G and D takes two steps in one
        counts = [state["state"][0]["step"] for state in saved["model"]["optimizers"]]
        assert [int(count) for count in counts] == [2 * steps, steps, steps, 2 * steps]


def test_averages_alone_translate_without_options(
    published: Path, convert: Convert, data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source = some_of(published, tmp_path / "given", "nets_ema")
    averages = load_state(source / "000002_nets_ema.ckpt") | {"fan": {"weight": torch.ones(1)}}
    (source / "000002_nets_ema.ckpt").unlink()
    file = source / "100000_nets_ema.ckpt"
    save_state(averages, file)
    where = ["--name", "run", "--checkpoints_dir", str(tmp_path)]
    assert convert(file, *where, "--domains", "cat,dog,wild", "--gpu_ids", "-1") == 0
    said = capsys.readouterr().out
    assert "fan is left out" in said
    assert "of step 100000. To go on training, D and the optimisers are missing" in said
    assert equal(load_state(tmp_path / "run" / "latest_net_G.pth"), averages["generator"])
    results = ["--results_dir", str(tmp_path / "results"), "--num_outs_per_domain", "2"]
    argv = [*where, "--dataroot", str(data), *results, "--gpu_ids", "-1", "--num_test", "3"]
    script("test", argv)
    assert f"evaluate.py --diverse {data}" in capsys.readouterr().out
    folder = tmp_path / "results" / "run" / "test_latest"
    outputs = json.loads((folder / "outputs.json").read_text())
    assert {source: list(targets) for source, targets in outputs.items()} == {
        "cat": ["cat", "dog", "wild"], "dog": ["cat", "dog", "wild"],
    }  # fmt: skip
    assert [len(group) for group in outputs["cat"]["dog"]] == [2, 2]
    files = [name for group in outputs["cat"]["dog"] for name in group]
    assert all((folder / "images" / name).is_file() for name in files)


@pytest.mark.parametrize(
    ("size", "ngf", "ndf", "domains", "w_hpf", "device"),
    [
        (16, 1, 1, 2, 0.0, "cpu"),
        (64, 2, 4, 3, 1.0, "cpu"),
        (32, 4, 1, 1, 0.5, "cpu"),
        (256, 64, 64, 3, 0.0, "meta"),
        (512, 64, 32, 2, 0.0, "meta"),
    ],
)
def test_options_are_read_off_the_shapes(
    size: int, ngf: int, ndf: int, domains: int, w_hpf: float, device: str
) -> None:
    with torch.device(device):
        nets = {
            "G": stargan_v2.Generator(size, 8, w_hpf=w_hpf, ngf=ngf),
            "F": stargan_v2.MappingNetwork(5, 8, domains),
            "E": stargan_v2.StyleEncoder(size, 8, domains, ndf=ndf),
        }
    with imported(SCRIPT) as module:
        facts = module.facts_of({name: net.state_dict() for name, net in nets.items()}, Path())
    assert facts == {
        "crop_size": size, "ngf": ngf, "ndf": ndf, "latent_dim": 5, "style_dim": 8,
        "num_domains": domains, "w_hpf": w_hpf,
    }  # fmt: skip


class Hostile:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["TEST_TRAP"],)


def test_a_file_that_would_run_code_is_refused(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("TEST_TRAP", str(tmp_path / "sprung"))
    buffer = BytesIO()
    torch.save({"generator": Hostile()}, buffer, pickle_module=pickle)  # noqa: TID251
    file = tmp_path / "100000_nets_ema.ckpt"
    file.write_bytes(buffer.getvalue())
    assert convert(file, "--name", "run", "--checkpoints_dir", tmp_path / "runs") == 1
    assert "could run code" in capsys.readouterr().err
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "runs").exists()


def changed(states: Any, way: str) -> Any:
    """Return what a file holds, with a fault."""
    generator = dict(states["generator"])
    match way:
        case "list":
            return [1, 2]
        case "missing":
            return {name: state for name, state in states.items() if name != "style_encoder"}
        case "strange":
            return states | {"other": {}}
        case "network":
            return {name: {"weight": torch.ones(2)} for name in states}
        case "key":
            del generator["to_rgb.2.bias"]
        case "shape":
            generator["to_rgb.2.bias"] = torch.ones(4)
        case "value":
            generator["to_rgb.2.bias"] = "three"
    return states | {"generator": generator}


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("list", "is no nets_ema of StarGAN v2: it has no generator"),
        ("missing", "has no style_encoder"),
        ("strange", "what StarGAN v2 does not have: other"),
        ("network", "holds other networks than StarGAN v2's"),
        ("key", "generator does not fit StarGAN v2's networks: to_rgb.2.bias is missing"),
        ("shape", r"to_rgb.2.bias has the shape (4,) instead of (3,)"),
        ("value", "it is no state dict"),
    ],
)
def test_files_of_something_else_are_refused(
    way: str, said: str, published: Path, convert: Convert, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    states = load_state(published / "000002_nets_ema.ckpt")
    save_state(changed(states, way), tmp_path / "000002_nets_ema.ckpt")
    assert convert(tmp_path, "--name", "run", "--checkpoints_dir", tmp_path / "runs") == 1
    errors = capsys.readouterr().err
    assert said in errors
    assert str(tmp_path / "000002_nets_ema.ckpt") in errors
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"state": {}, "param_groups": []}, "no state of an Adam optimiser"),
        ({"state": {}, "param_groups": [{"params": [0]}]}, "1 parameters instead of"),
        (None, "exp_avg of parameter 0 has not the shape"),
    ],
    ids=["empty", "few", "shape"],
)
def test_optimisers_of_something_else_are_refused(
    state: Any, said: str, published: Path, convert: Convert, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source = some_of(published, tmp_path / "given", "nets", "nets_ema")
    optims = load_state(published / "000002_optims.ckpt")
    if state is None:
        state = optims["style_encoder"]
        state["state"][0]["exp_avg"] = torch.ones(1)
    save_state(optims | {"style_encoder": state}, source / "000002_optims.ckpt")
    assert convert(source, "--name", "run", "--checkpoints_dir", tmp_path / "runs") == 1
    assert said in capsys.readouterr().err


def test_what_cannot_be_meant_is_explained(
    published: Path, convert: Convert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("--name", "run", "--checkpoints_dir", tmp_path)
    other = tmp_path / "weights.ckpt"
    other.write_bytes(b"")
    cases: list[tuple[int, str, tuple[str | Path, ...]]] = [
        (2, "give a folder or a file", run),
        (2, "--to takes no option --lr", (*run, "--to", tmp_path / "x", "--lr=1")),
        (1, "is not called as the published code does", (other, *run)),
        (1, "has no files such as 100000_nets_ema.ckpt", (tmp_path / "gone", *run)),
        (1, "no networks of step 7: it has 2", (published, *run, "--step", "7")),
        (1, "does not exist", (*run, "--to", tmp_path / "x")),
    ]
    for status, said, arguments in cases:
        assert convert(*arguments) == status, said
        assert said in capsys.readouterr().err
    source = some_of(published, tmp_path / "given", "nets")
    assert convert(source, *run) == 0
    assert convert(source, *run) == 1
    assert "has a run already" in capsys.readouterr().err
    assert convert(*run, "--to", tmp_path / "x") == 1
    assert "give --step" in capsys.readouterr().err
    assert convert(*run, "--to", source, "--step", "2") == 1
    assert "exists already" in capsys.readouterr().err
