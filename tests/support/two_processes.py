"""What each of two processes runs to compare sync batch norm with one process."""

import os
import warnings

import torch
from torch import Tensor, nn

from models.architectures.synchronised import SyncBatchNorm2d
from models.networks import define_D
from tests.support.checkpoints import save_state
from util.processes import group

WORLD = 2
SHARES = {"equal": (2, 2), "uneven": (3, 1)}
HALVES = (torch.float16, torch.bfloat16)
SHAPE = (4, 3, 16, 16)
Result = dict[str, dict[str, Tensor]]


def make_net() -> nn.Module:
    """Return the network that is compared, in float64."""
    torch.manual_seed(1)
    return define_D(3, 4, "n_layers", 2, "syncbatch").double()


def joint_batch(step: int) -> Tensor:
    """Return the whole batch of a step; its halves have different means."""
    generator = torch.Generator().manual_seed(100 + step)
    x = torch.rand(SHAPE, generator=generator, dtype=torch.float64)
    return x + torch.arange(SHAPE[0], dtype=torch.float64)[:, None, None, None]


def run(rows: slice) -> Result:
    """Take two training passes over these rows, then look at an evaluation."""
    net = make_net()
    for step in range(2):
        x = joint_batch(step)[rows].requires_grad_()
        weight = torch.linspace(-1, 1, 16, dtype=torch.float64).view(4, 1, 2, 2)[rows]
        y = net(x)
        (y.square() * weight).sum().backward()
    assert x.grad is not None
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    net.eval()
    with torch.no_grad():
        evaluated = net(x)
    return {
        "gradients": gradients,
        "buffers": dict(net.named_buffers()),
        "tensors": {"output": y.detach(), "input gradient": x.grad, "evaluated": evaluated},
    }


def run_half(rows: slice, dtype: torch.dtype) -> dict[str, Tensor]:
    """Train a batch norm on images in half precision, which cannot count their values."""
    layer = SyncBatchNorm2d(3)
    large = joint_batch(0).repeat(1, 1, 16, 16)[rows].to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype):
        y = layer(large)
    (y.float() * torch.linspace(-1, 1, 256)).square().sum().backward()
    assert large.grad is not None
    return {"output": y.detach(), "input gradient": large.grad}


def work(rank: int, folder: str, share: str, port: int) -> None:
    """Join the other process; write this one's result, and what it was warned of, to a file."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD), "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    with warnings.catch_warnings(record=True) as caught, group.joined("cpu", seconds=60):
        warnings.simplefilter("always")
        first = sum(SHARES[share][:rank])
        rows = slice(first, first + SHARES[share][rank])
        result, half = run(rows), [run_half(rows, dtype) for dtype in HALVES]
    said = sorted({str(warning.message) for warning in caught})
    save_state({"result": result, "half": half, "warnings": said}, f"{folder}/{rank}.pth")
