"""torch.jit takes every built-in network, and what it makes computes the same."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models.architectures.layers import NORM_LAYERS, guard_instance_norm
from models.architectures.registry import DISCRIMINATORS, GENERATORS
from models.networks import define_D, define_G
from tests.support.small_models import noise
from tests.support.tiers import some

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
SIDES = {"unet_128": 128, "unet_256": 256}


def check(net: nn.Module, side: int, folder: Path) -> None:
    """Script and trace a network, evaluating and training; save and load what was scripted."""
    net.double()
    x = noise((2, 3, side, side)).double()
    torch.jit.save(torch.jit.script(net), folder / "net.pt")
    scripted = torch.jit.load(folder / "net.pt")
    assert list(scripted.state_dict()) == list(net.state_dict())
    for mode in (False, True):
        net.train(mode)
        scripted.train(mode)
        traced = torch.jit.trace(net, x, check_trace=False)
        if mode:  # tracing has counted a batch, and moved the statistics
            scripted.load_state_dict(net.state_dict())
        wanted, state = net(x), {key: value.clone() for key, value in net.state_dict().items()}
        assert torch.allclose(scripted(x), wanted, rtol=1e-10, atol=1e-10)
        for key, value in scripted.state_dict().items():
            assert torch.allclose(value, state[key], rtol=1e-10, atol=1e-10), key
        assert torch.allclose(traced(x), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("norm", some(NORM_LAYERS, 3))
@pytest.mark.parametrize("netG", some(reversed(GENERATORS), 2))
def test_generators(netG: str, norm: str, tmp_path: Path) -> None:
    check(define_G(3, 3, 2, netG, norm), SIDES.get(netG, 16), tmp_path)


@pytest.mark.parametrize("norm", NORM_LAYERS)
@pytest.mark.parametrize("netD", DISCRIMINATORS)
def test_discriminators(netD: str, norm: str, tmp_path: Path) -> None:
    check(define_D(3, 2, netD, 2, norm), 32, tmp_path)


def test_networks_of_others_with_the_guard_of_instance_norm(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.ReLU(True))
    guard_instance_norm(net)
    check(net, 16, tmp_path)
