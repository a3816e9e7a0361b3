"""Tiles give what the whole image gives, whatever the network, the image and the tiles."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from models.architectures.layers import get_norm_layer
from models.architectures.resnet import ResnetGenerator
from models.inference import scratch
from models.inference.tiles import (
    InMemory,
    compute_in_tiles,
    translate_strips,
    translate_tiled,
    why_not_tiled,
)
from models.networks import define_G
from models.optimization.precision import Precision
from tests.support.small_models import noise
from util.base.errors import UserError


def generator(
    norm: str = "instance", *, padding: str = "reflect", dropout: bool = False
) -> nn.Module:
    """Return a narrow ResNet generator in float64 whose layers all matter."""
    torch.manual_seed(3)
    layer = get_norm_layer(norm)
    net = ResnetGenerator(2, 3, 3, layer, dropout, n_blocks=2, padding_type=padding).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net


def images(height: int, width: int, count: int = 1) -> Tensor:
    """Return noise for this generator."""
    return noise((count, 2, height, width), torch.Generator().manual_seed(5)).double()


@torch.no_grad()
def difference(net: nn.Module, x: Tensor, tile: int, overlap: int = 0) -> float:
    """Return how far tiles are from the whole image; the shapes must be equal."""
    whole, tiled = net(x), translate_tiled(net, x, tile, overlap)
    assert whole.shape == tiled.shape
    assert tiled.is_contiguous()
    return float((whole - tiled).abs().max())


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("norm", ["instance", "batch", "syncbatch", "none"])
def test_tiles_give_what_the_whole_image_gives_with_every_norm(norm: str, training: bool) -> None:
    net = generator(norm).train(training)
    assert difference(net, images(52, 69, count=2), tile=16) < 1e-12


def test_batch_norm_without_statistics_of_training_takes_those_of_the_whole_image() -> None:
    net = ResnetGenerator(2, 3, 3, partial(nn.BatchNorm2d, track_running_stats=False), n_blocks=1)
    assert difference(net.double().eval(), images(40, 36), tile=12) < 1e-12


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
def test_tiles_give_what_the_whole_image_gives_with_every_padding(padding: str) -> None:
    assert difference(generator(padding=padding), images(37, 43), tile=8) < 1e-12


@pytest.mark.parametrize(
    ("height", "width", "tile"),
    [(5, 64, 8), (61, 9, 4), (33, 34, 33), (20, 20, 1), (47, 50, 13), (20, 64, 1000)],
)
def test_tiles_give_what_the_whole_image_gives_of_any_size(
    height: int, width: int, tile: int
) -> None:
    assert difference(generator(), images(height, width), tile) < 1e-12


@pytest.mark.parametrize("overlap", [1, 8, 500])
def test_an_overlap_changes_nothing(overlap: int) -> None:
    assert difference(generator(), images(40, 36), tile=12, overlap=overlap) < 1e-12


def test_what_does_not_fit_into_memory_goes_through_files_that_are_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = []
    original = scratch._mapped_file
    monkeypatch.setattr(scratch, "IN_MEMORY", 1000)
    monkeypatch.setattr(scratch, "_mapped_file", lambda size: made.append(size) or original(size))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert difference(generator(), images(40, 36), tile=12) < 1e-12
    assert len(made) == 6  # in front of the first block, and of five norms
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_error_that_names_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scratch, "IN_MEMORY", 1000)
    monkeypatch.setattr("os.posix_fallocate", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UserError, match=f"{tmp_path}: No space left on device.*Make room"):
        translate_tiled(generator(), images(40, 36), 12)


def test_tiles_compute_in_the_precision_of_the_network() -> None:
    net = generator().float()
    Precision("bf16", torch.device("cpu")).attach(net)
    x = images(40, 48).float()
    with torch.no_grad():
        whole = net(x)
    tiled = translate_tiled(net, x, 16)
    assert tiled.dtype == torch.float32
    assert (whole - tiled).abs().mean() < 0.01
    del net.__dict__["computes_in"]
    assert not torch.equal(tiled, translate_tiled(net, x, 16))


def test_a_network_computes_in_tiles_whoever_calls_it() -> None:
    net, x = generator(), images(40, 36)
    with torch.no_grad():
        whole, small = net(x), net(x[..., :12, :12])
    calls = []
    net.register_forward_hook(lambda *_: calls.append(1))
    compute_in_tiles(net, 12)
    with torch.no_grad():
        tiled, small_again = net(x), net(x[..., :12, :12])
    assert torch.allclose(tiled, whole, atol=1e-12, rtol=0)
    assert not torch.equal(tiled, whole)
    assert torch.equal(small_again, small)
    assert len(calls) == 2  # what watches the network still does


def test_gradients_are_on_again_while_somebody_uses_a_strip() -> None:
    net = generator()
    Precision("bf16", torch.device("cpu")).attach(net)
    for _ in translate_strips(net.float(), InMemory(images(40, 36).float()), 12):
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_small_images_have_no_gradients_either() -> None:
    assert not translate_tiled(generator(), images(12, 12), 12).requires_grad


def test_computing_in_tiles_leaves_the_network_as_it_was() -> None:
    net = generator("batch")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    translate_tiled(net, images(40, 36), 12)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


# ---- what cannot be tiled ----------------------------------------------------------------


@pytest.mark.parametrize(("netG", "seen"), [("unet_128", 381), ("unet_256", 765)])
def test_u_nets_are_refused_with_the_number_of_pixels_that_they_look_at(
    netG: str, seen: int
) -> None:
    net = define_G(1, 1, 1, netG, "none")
    with pytest.raises(UserError, match=f"within {seen} pixels.*whole.*resnet_9blocks"):
        translate_tiled(net, torch.zeros(1, 1, 512, 512), 64)


def test_the_pixels_that_a_u_net_looks_at_are_as_many_as_the_message_says() -> None:
    net = define_G(1, 1, 1, "unet_128", "none").double()
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.01)
    x = torch.ones(1, 1, 1024, 1024, dtype=torch.float64, requires_grad=True)
    net(x)[0, 0, 513, 513].backward()  # near the border of what innermost layers see
    assert x.grad is not None
    rows = x.grad[0, 0].abs().sum(1).nonzero()
    assert int(rows.max()) - 513 == 381


def test_dropout_is_refused_unless_it_is_off() -> None:
    net = generator(dropout=True)
    with pytest.raises(UserError, match="dropout draws one mask.*--eval"):
        translate_tiled(net, images(40, 36), 12)
    assert difference(net.eval(), images(40, 36), tile=12) < 1e-12


def test_other_networks_and_changed_layers_are_refused() -> None:
    assert "only ResNet generators can, and this is a Conv2d" in why_not_tiled(nn.Conv2d(1, 1, 1))
    net = generator()
    assert why_not_tiled(net) == ""
    parametrizations.spectral_norm(net.model[1])
    assert "its layers have been changed: there is a Parametrized" in why_not_tiled(net)
    net = generator()
    net.model[4].register_forward_hook(lambda *_: None)
    assert "its layers have been changed: there is a Conv2d" in why_not_tiled(net)


def test_images_that_are_too_small_are_refused_as_a_whole_image_is() -> None:
    with pytest.raises(UserError, match="too small for a ResNet generator"):
        translate_tiled(generator(), images(4, 64), 16)
