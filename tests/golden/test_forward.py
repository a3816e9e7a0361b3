"""Forward and backward passes of networks whose weights follow the formula."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.networks import define_D, define_G
from tests.golden.conftest import Largest
from tests.golden.formulas import difference, fill, ids, load, noise, summary_difference
from tests.support.tiers import LONG

pytestmark = pytest.mark.golden

RECORDS = load("forward")
G, D, SHAPE_RULES = RECORDS["G"], RECORDS["D"], RECORDS["shape_rules"]
IDS = ids(G + D, "netG", "netD", "n_layers_D", "norm", "input_shape")

# The recorded float32 outputs are within 7e-6 of float64, single input gradients within 1.3e-2 of
# their mean size (kinks of the activations), parameter gradients within 3e-4 of the largest one.
OUTPUT_BOUND = 1e-4
INPUT_GRADIENT_BOUND = 0.05
PARAMETER_GRADIENT_BOUND = 1e-3
BUFFER_BOUND = 1e-5
# Records hold six digits.
DRAW_BOUND = 2e-6


def build(record: Mapping[str, Any], dropout: bool = False) -> nn.Module:
    """Build the network of a record with the weights of the formula."""
    if "netG" in record:
        net = define_G(
            record["input_nc"],
            record["output_nc"],
            record["ngf"],
            record["netG"],
            record["norm"],
            dropout,
        )
    else:
        net = define_D(
            record["input_nc"], record["ndf"], record["netD"], record["n_layers_D"], record["norm"]
        )
    fill(net, record["weight_stream_offset"], record.get("weight_gain", 1.0))
    return net


def gradients(
    net: nn.Module, record: Mapping[str, Any], dtype: torch.dtype
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return output, gradient of the input, gradients of the parameters."""
    x = noise(record["input_shape"], record["input_stream"]).to(dtype).requires_grad_(True)
    output = net(x)
    weights = noise(output.shape, record["input_stream"] + 1).to(dtype)
    (output * weights).sum().backward()
    assert x.grad is not None
    found = {k: p.grad for k, p in net.named_parameters() if p.grad is not None}
    return output, x.grad, found


WAYS = [
    pytest.param(mode, dtype, id=f"{mode}-{str(dtype).removeprefix('torch.')}")
    for mode in ("eval", "train")
    for dtype in (torch.float32, torch.float64)
    if LONG or (mode, dtype) != ("eval", torch.float32)
]


@pytest.mark.parametrize(("mode", "dtype"), WAYS)
@pytest.mark.parametrize("record", G + D, ids=IDS)
def test_output_and_gradients_are_the_recorded_ones(
    record: dict[str, Any], mode: str, dtype: torch.dtype, largest: Largest
) -> None:
    net = build(record).to(dtype).train(mode == "train")
    recorded = record[mode]
    output, input_gradient, parameter_gradients = gradients(net, record, dtype)

    group = f"forward {str(dtype).removeprefix('torch.')}"
    largest(f"{group} output", summary_difference(output, recorded["output"]), OUTPUT_BOUND)
    size = recorded["input_grad"]["absmean"]
    largest(
        f"{group} input gradient / mean size",
        summary_difference(input_gradient, recorded["input_grad"]) / size,
        INPUT_GRADIENT_BOUND,
    )
    means = recorded["param_grad_absmean"]
    biggest = max(means.values())
    for key, mean in means.items():
        found = float(parameter_gradients[key].abs().mean())
        largest(
            f"{group} parameter gradient / largest",
            abs(found - mean) / biggest,
            PARAMETER_GRADIENT_BOUND,
        )
    compare_buffers(net, recorded.get("buffers_after", {}), largest)


def compare_buffers(net: nn.Module, recorded: Mapping[str, Any], largest: Largest) -> None:
    """Compare [mean, mean size] of each buffer, as left by the one forward pass."""
    buffers = dict(net.named_buffers())
    if recorded:
        assert list(buffers) == list(recorded)
    for key, (mean, absmean) in recorded.items():
        found = buffers[key].double()
        gap = max(abs(float(found.mean()) - mean), abs(float(found.abs().mean()) - absmean))
        largest("forward buffers after", gap, BUFFER_BOUND)


@pytest.mark.parametrize("record", G + D, ids=IDS)
def test_parameters_have_the_recorded_order(record: dict[str, Any]) -> None:
    step = 3 if "netG" in record else 2
    names = [name for name, _ in build(record).named_parameters()]
    assert names[::step] == list(record["train"]["param_grad_absmean"])


@pytest.mark.parametrize("record", G, ids=IDS[: len(G)])
def test_dropout_draws_as_recorded(record: dict[str, Any], largest: Largest) -> None:
    recorded = record["dropout_train"]
    net = build(record, dropout=True).train()
    x = noise(record["input_shape"], record["input_stream"])
    torch.manual_seed(recorded["torch_seed_before_call"])
    with torch.no_grad():
        output = net(x)
    draws = torch.rand(2)
    largest("forward dropout output", summary_difference(output, recorded["output"]), OUTPUT_BOUND)
    largest("forward dropout draws", difference(draws, recorded["torch_rand_after"]), DRAW_BOUND)


@pytest.mark.parametrize(
    "rule", SHAPE_RULES, ids=ids(SHAPE_RULES, "netG", "netD", "n_layers_D", "in")
)
def test_sizes_that_do_not_fit_behave_as_recorded(rule: dict[str, Any]) -> None:
    if "netG" in rule:
        net = define_G(3, 3, 4, rule["netG"], "instance")
    else:
        net = define_D(3, 4, rule["netD"], rule["n_layers_D"], "instance")
    x = torch.zeros(1, 3, *rule["in"])
    if "error" not in rule:
        assert list(net.train()(x).shape) == rule["out"]
        return
    recorded = {"ValueError": ValueError, "RuntimeError": RuntimeError}[rule["error"]]
    with pytest.raises((recorded, ValueError)):
        net.train()(x)
