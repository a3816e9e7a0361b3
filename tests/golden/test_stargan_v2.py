"""StarGAN v2: two iterations from a seed, in float64, give the recorded losses and weights.

The numbers of 64 pixels at full width are those of the published code. The small ones are of ours,
noted when the large ones agreed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models.stargan_v2_model import StarGANv2Model
from models.storage import average_files
from options.train_options import TrainOptions
from tests.support.tiers import LONG

TERMS = [f"D_{kind}_{t}" for kind in ("latent", "ref") for t in ("real", "fake", "reg")]
TERMS += [f"G_{kind}_{t}" for kind in ("latent", "ref") for t in ("adv", "sty", "ds", "cyc")]
NETS = ("G", "F", "E", "D")
LARGE: dict[str, Any] = {
    "options": ["--crop_size", "64"],
    "parameters": [32_634_883, 3_259_072, 20_360_640, 20_263_683],
    "before": [636218.484151, 164124.085992, 344848.648876, 339973.706246],
    "averages before": [284606.044700, 72940.756616, 152849.877866],
    "losses": [
        [.644273427, 1.321359406, .005687592, .786577027, .007589859, .006280974, 5.477255756,
         1.227400365, .844362731, .882478409, 3.813036459, .569011221, .145692963, .873572575],
        [.066706185, 2.421067245, .006071821, .933267372, .011614352, .006552709, 4.555114297,
         1.164288103, .88783037, .872420215, 2.497637672, .448238315, .179382506, .849654148],
    ],
    "after": [636240.588428, 164119.473923, 344837.317192, 339972.422514],
    "averages after": [284047.249746, 72795.546391, 152545.554633],
}  # fmt: skip
SMALL: dict[str, Any] = {
    "options": ["--crop_size", "32", "--ngf", "2", "--ndf", "2"],
    "parameters": [112_643, 3_259_072, 443_728, 419_347],
    "before": [9775.754371, 164204.440171, 18487.624936, 16081.130911],
    "averages before": [4479.110784, 72917.892467, 8211.569529],
    "losses": [
        [.666808007, 2.608485804, .069893263, .663966655, 1.173630890, .068749003, 1.082965918,
         1.780255265, .896851845, 1.047027494, 1.241548031, .962022507, .498347886, 1.052055581],
        [.791366712, .887651640, .061194214, .748348904, .162995615, .060189607, 1.676445176,
         1.468054836, .958582023, 1.041830436, 2.619180604, .912935437, .489659897, 1.029572990],
    ],
    "after": [9775.916737, 164199.808259, 18487.301155, 16081.536214],
    "averages after": [4470.582336, 72772.343759, 8195.108324],
}  # fmt: skip


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def sums(nets: dict[str, torch.nn.Module]) -> list[float]:
    return [sum(float(p.detach().abs().sum()) for p in net.parameters()) for net in nets.values()]


def sums_of_averages(model: StarGANv2Model) -> list[float]:
    averages = model.optimization.averages
    assert averages is not None
    with averages.in_use():
        return sums(averages.nets)


def build(folder: Path, *more: str) -> StarGANv2Model:
    argv = ["--dataroot", str(folder), "--checkpoints_dir", str(folder), "--model", "stargan_v2"]
    argv += ["--lambda_ds", "2", "--batch_size", "2", "--gpu_ids", "-1", "--domains", "a,b,c"]
    opt = TrainOptions().parse([*argv, *more], quiet=True)
    torch.manual_seed(777)
    model = StarGANv2Model(opt)
    average_files.begin(model)
    return model


def train(model: StarGANv2Model, iterations: int) -> list[list[float]]:
    """Train on numbers that a generator draws in the recorded order; return the losses."""
    draws = torch.Generator().manual_seed(123)
    side, losses = model.opt.crop_size, []
    for _ in range(iterations):
        model.optimization.begin_batch()
        x, x_ref, x_ref2 = (torch.rand(2, 3, side, side, generator=draws) * 2 - 1 for _ in range(3))
        z, z_2 = (torch.randn(2, 16, generator=draws) for _ in range(2))
        y_org, y_trg = torch.tensor([0, 1]), torch.tensor([2, 0])
        model.set_input({"A": x, "A_domain": y_org, "A_paths": ["", ""],
                         "B": x_ref, "B2": x_ref2, "B_domain": y_trg})  # fmt: skip
        model.z, model.z_2 = z, z_2
        model.optimize_parameters()
        losses.append([float(getattr(model, f"loss_{name}")) for name in TERMS])
    return losses


def found_by(folder: Path, options: list[str]) -> dict[str, Any]:
    model = build(folder, *options)
    nets = {name: getattr(model, f"net{name}") for name in NETS}
    found: dict[str, Any] = {
        "parameters": [sum(p.numel() for p in net.parameters()) for net in nets.values()],
        "before": sums(nets),
        "averages before": sums_of_averages(model),
        "losses": train(model, 2),
    }
    return found | {"after": sums(nets), "averages after": sums_of_averages(model)}


@pytest.mark.golden
@pytest.mark.parametrize(
    "recorded",
    [
        SMALL,
        pytest.param(
            LARGE,
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not LONG, reason="takes minutes; RELIABILITY=long tries it"),
            ],
        ),
    ],
    ids=["small", "64 pixels"],
)
def test_two_iterations_are_the_recorded_ones(recorded: dict[str, Any], tmp_path: Path) -> None:
    found = found_by(tmp_path, recorded["options"])
    assert found["parameters"] == recorded["parameters"]
    for name, value in found.items():
        for ours, theirs in zip(value, recorded[name], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6, abs=2e-9), name
