"""`--gan_mode wgangp` adds its penalty, recomputed here by hand in float64."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.networks import cal_gradient_penalty
from models.storage.names import networks_of
from tests.support.small_models import (
    batch,
    build,
    doubled,
    to_double,
    train_options,
    train_step,
)

CRITICS = [("instance", "basic"), ("batch", "basic"), ("none", "pixel")]
LAMBDA = 7.5


def ready(tmp_path: Path, kind: str, *more: str) -> Any:
    """Return a model in float64 that has run forward."""
    model = build(train_options(tmp_path, kind, "--gan_mode", "wgangp", *more), seed=3)
    to_double(model)
    model.set_input(doubled(batch(kind, 5, n=2, size=40)))
    model.forward()
    return model


def loss_by_hand(critic: nn.Module, real: Tensor, fake: Tensor, lambda_gp: float) -> Tensor:
    """Gulrajani et al. 2017, eq. 3, halved as the framework does: D(fake) - D(real)."""
    real_score = critic(real).mean()
    fake_score = critic(fake).mean()
    share = torch.rand(real.shape[0], 1, 1, 1)
    points = (share * real + (1 - share) * fake).detach().requires_grad_()
    (slopes,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    lengths = (slopes.flatten(1) + 1e-16).square().sum(1).sqrt()
    return (fake_score - real_score) / 2 + lambda_gp * (lengths - 1).square().mean()


def compare(model: Any, critic: nn.Module, loss: Tensor, pair: tuple[Tensor, Tensor]) -> None:
    """Compare the loss and the critic's gradients with those by hand."""
    gradients = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
    torch.manual_seed(11)
    wanted = loss_by_hand(critic, *pair, LAMBDA)
    assert loss.dtype == torch.float64
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-9)
    critic.zero_grad()
    wanted.backward()
    assert len(gradients) == len(list(critic.parameters()))
    for (name, parameter), found in zip(critic.named_parameters(), gradients, strict=True):
        assert parameter.grad is not None, name
        assert torch.allclose(found, parameter.grad, rtol=1e-7, atol=1e-9), name


@pytest.mark.parametrize(("norm", "netD"), CRITICS)
@pytest.mark.parametrize("side", ["A", "B"])
def test_cycle_gan_adds_exactly_the_penalty(
    side: str, norm: str, netD: str, tmp_path: Path
) -> None:
    more = ("--norm", norm, "--netD", netD, "--lambda_gp", str(LAMBDA), "--init_gain", "0.2")
    model = ready(tmp_path, "cycle_gan", *more)
    critic = networks_of(model)[f"D_{side}"]
    torch.manual_seed(11)
    getattr(model, f"backward_D_{side}")()
    loss = getattr(model, f"loss_D_{side}")
    pair = (
        (model.real_B, model.fake_B.detach())
        if side == "A"
        else (model.real_A, model.fake_A.detach())
    )
    compare(model, critic, loss, pair)


@pytest.mark.parametrize(("norm", "netD"), CRITICS)
def test_pix2pix_adds_exactly_the_penalty_of_the_conditioned_pair(
    norm: str, netD: str, tmp_path: Path
) -> None:
    more = ("--norm", norm, "--netD", netD, "--lambda_gp", str(LAMBDA), "--init_gain", "0.2")
    model = ready(tmp_path, "pix2pix", *more)
    torch.manual_seed(11)
    model.backward_D()
    pair = (
        torch.cat([model.real_A, model.real_B], 1),
        torch.cat([model.real_A, model.fake_B.detach()], 1),
    )
    compare(model, model.netD, model.loss_D, pair)
    # What is printed stays what it was: the two scores without the penalty.
    with torch.no_grad():
        assert float(model.loss_D_real) == pytest.approx(-float(model.netD(pair[0]).mean()))
        assert float(model.loss_D_fake) == pytest.approx(float(model.netD(pair[1]).mean()))


def test_penalty_counts_ten_times_by_default(tmp_path: Path) -> None:
    for kind in ("cycle_gan", "pix2pix", "colorization"):
        assert train_options(tmp_path, kind, "--gan_mode", "wgangp").lambda_gp == 10.0


@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix"])
@pytest.mark.parametrize("more", [("--lambda_gp", "0"), ("--gan_mode", "lsgan")], ids=str)
def test_without_penalty_no_random_number_is_drawn(
    kind: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    model = ready(tmp_path, kind, "--no_dropout", *more)
    before = torch.get_rng_state()
    model.optimize_parameters()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix"])
def test_without_weight_the_loss_is_the_bare_one(kind: str, tmp_path: Path) -> None:
    model = ready(tmp_path, kind, "--lambda_gp", "0", "--norm", "instance")
    if kind == "cycle_gan":
        model.backward_D_A()
        scores = model.netD_A(model.fake_B.detach()).mean() - model.netD_A(model.real_B).mean()
        loss = model.loss_D_A
    else:
        model.backward_D()
        scores = model.loss_D_fake + model.loss_D_real
        loss = model.loss_D
    assert float(loss.detach()) == pytest.approx(float(scores.detach()) / 2, rel=1e-9)


@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix"])
def test_options_from_before_the_penalty_still_train(kind: str, tmp_path: Path) -> None:
    """A plugin that derives from ours with options of its own has no `--lambda_gp`."""
    opt = train_options(tmp_path, kind, "--gan_mode", "wgangp")
    del opt.lambda_gp
    train_step(build(opt), batch(kind, 1))


@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix", "colorization"])
def test_penalty_draws_once_for_each_discriminator(kind: str, tmp_path: Path) -> None:
    model = build(train_options(tmp_path, kind, "--gan_mode", "wgangp", "--no_dropout"))
    torch.manual_seed(4)
    for _ in range(2 if kind == "cycle_gan" else 1):
        torch.rand(3, 1, 1, 1)
    wanted = torch.get_rng_state()
    torch.manual_seed(4)
    train_step(model, batch(kind, 1, n=3))
    assert torch.equal(torch.get_rng_state(), wanted)


@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix"])
def test_penalty_leaves_the_batch_and_the_generator_alone(kind: str, tmp_path: Path) -> None:
    model = ready(tmp_path, kind)
    if kind == "cycle_gan":
        model.backward_D_A()
    else:
        model.backward_D()
    assert not model.real_A.requires_grad
    assert not model.real_B.requires_grad
    for name in model.model_names:
        if name.startswith("G"):
            assert all(p.grad is None for p in networks_of(model)[name].parameters())


def test_penalty_brings_the_slopes_towards_one(tmp_path: Path) -> None:
    """What it is for: after some steps the critic's gradients are close to length one."""
    more = ("--gan_mode", "wgangp", "--norm", "none", "--netD", "pixel", "--lr", "0.01")
    model: Any = build(train_options(tmp_path, "pix2pix", *more, "--init_gain", "0.2"))
    data = batch("pix2pix", 1, n=2)

    def off_by() -> float:
        torch.manual_seed(0)
        real, fake = (
            torch.cat([model.real_A, image], 1).detach() for image in (model.real_B, model.fake_B)
        )
        _, slopes = cal_gradient_penalty(model.netD, real, fake, model.device)
        assert slopes is not None
        return float((slopes.detach().norm(2, dim=1) - 1).abs().mean())

    model.set_input(data)
    model.forward()
    before = off_by()
    for _ in range(60):
        train_step(model, data)
    assert off_by() < before / 2
