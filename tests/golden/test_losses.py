"""GAN losses and the gradient penalty."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.networks import GANLoss, cal_gradient_penalty, define_D
from tests.golden.conftest import Largest
from tests.golden.formulas import (
    difference,
    fill,
    ids,
    load,
    noise,
    relative_difference,
    summary_difference,
)

pytestmark = pytest.mark.golden

RECORDS = load("losses")
GAN, PENALTY = RECORDS["GANLoss"], RECORDS["gradient_penalty"]
CPU = torch.device("cpu")

# Records hold six digits.
VALUE_BOUND = 1e-5
PENALTY_BOUND = 1e-4
GRADIENT_BOUND = 0.05
PARAMETER_GRADIENT_BOUND = 1e-3


@pytest.mark.parametrize(
    "record", GAN, ids=ids(GAN, "gan_mode", "target_real_label", "pred_shape", "target_is_real")
)
def test_gan_loss_has_the_recorded_value_and_gradient(
    record: dict[str, Any], largest: Largest
) -> None:
    loss_function = GANLoss(
        record["gan_mode"], record["target_real_label"], record["target_fake_label"]
    )
    prediction = record["pred_scale"] * noise(record["pred_shape"], record["pred_stream"])
    prediction.requires_grad_(True)
    loss = loss_function(prediction, record["target_is_real"])
    loss.backward()

    assert list(loss.shape) == record["loss_shape"]
    largest("GANLoss value", relative_difference(loss, record["loss"]), VALUE_BOUND)
    assert prediction.grad is not None
    largest("GANLoss gradient", summary_difference(prediction.grad, record["pred_grad"]), 1e-6)
    state = {key: list(entry.shape) for key, entry in loss_function.state_dict().items()}
    assert list(state.items()) == list(record["state_dict_keys"].items())


@pytest.mark.parametrize(
    "record",
    PENALTY,
    ids=ids(PENALTY, "type", "norm", "batch", "seed", "constant", "lambda_gp"),
)
def test_gradient_penalty_is_the_recorded_one(record: dict[str, Any], largest: Largest) -> None:
    netD = define_D(3, record["ndf"], record["netD"], 3, record["norm"])
    fill(netD, record["weight_stream_offset"])
    real = noise(record["shape"], record["real_stream"])
    fake = noise(record["shape"], record["fake_stream"])
    torch.manual_seed(record["seed"])
    penalty, gradients = cal_gradient_penalty(
        netD, real, fake, CPU, record["type"], record["constant"], record["lambda_gp"]
    )
    assert isinstance(penalty, Tensor)
    assert gradients is not None
    penalty.backward()
    draws = torch.rand(2)

    largest("penalty value", relative_difference(penalty, record["penalty"]), PENALTY_BOUND)
    recorded = record["gradients"]
    largest(
        "penalty gradient / mean size",
        summary_difference(gradients, recorded) / recorded["absmean"],
        GRADIENT_BOUND,
    )
    largest("penalty draws", difference(draws, record["torch_rand_after"]), 2e-6)
    assert real.requires_grad is record["real_requires_grad_after"]
    assert fake.requires_grad is record["fake_requires_grad_after"]

    means = record["param_grad_absmean"]
    biggest = max(mean for mean in means.values() if mean is not None)
    found = {name: p.grad for name, p in netD.named_parameters()}
    assert list(found) == list(means)
    for name, mean in means.items():
        gradient = found[name]
        assert (gradient is None) == (mean is None), name
        if gradient is not None:
            gap = abs(float(gradient.abs().mean()) - mean) / biggest
            largest("penalty parameter gradient / largest", gap, PARAMETER_GRADIENT_BOUND)


class NeverAsked(nn.Module):
    """A critic that must not be run."""

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("a penalty of weight 0 needs no scores")


def test_gradient_penalty_of_weight_zero_computes_nothing() -> None:
    images = torch.zeros(1, 3, 8, 8)
    before = torch.get_rng_state()
    result = cal_gradient_penalty(NeverAsked(), images, images, CPU, lambda_gp=0.0)
    assert list(result) == RECORDS["gradient_penalty_lambda0"]["returns"]
    assert torch.equal(torch.get_rng_state(), before)
