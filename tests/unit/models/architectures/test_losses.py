"""GAN losses and the gradient penalty against closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from models.architectures.losses import GAN_MODES
from models.networks import GANLoss, cal_gradient_penalty
from tests.support.small_models import noise
from util.base.errors import ChoiceError

CPU = torch.device("cpu")
SCORES = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12)


def one_score(mode: str, score: float, label: float) -> float:
    """Return one score's part of the loss, by the formulas of the papers."""
    if mode == "lsgan":
        return (score - label) ** 2
    # -label log sigmoid(s) - (1 - label) log(1 - sigmoid(s))
    softplus = max(-score, 0) + math.log1p(math.exp(-abs(score)))
    return softplus + (1 - label) * score


@given(
    mode=st.sampled_from(["lsgan", "vanilla"]),
    scores=SCORES,
    real=st.booleans(),
    labels=st.tuples(st.floats(0.5, 1, width=16), st.floats(0, 0.5, width=16)),
)
def test_loss_is_the_mean_over_all_scores(
    mode: str, scores: list[float], real: bool, labels: tuple[float, float]
) -> None:
    loss = GANLoss(mode, *labels)(torch.tensor(scores).view(1, 1, 1, -1), real)
    label = labels[0] if real else labels[1]
    wanted = sum(one_score(mode, score, label) for score in scores) / len(scores)
    assert loss.shape == ()
    assert float(loss) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@given(scores=SCORES, real=st.booleans())
def test_wasserstein_loss_is_the_signed_mean(scores: list[float], real: bool) -> None:
    loss = GANLoss("wgangp")(torch.tensor(scores), real)
    wanted = sum(scores) / len(scores) * (-1 if real else 1)
    assert float(loss) == pytest.approx(wanted, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("mode", GAN_MODES)
def test_loss_gives_every_score_a_gradient(mode: str) -> None:
    scores = noise((2, 1, 3, 3)).requires_grad_()
    GANLoss(mode)(scores, True).backward()
    assert scores.grad is not None
    assert scores.grad.abs().min() > 0


def test_labels_follow_the_module_to_another_type() -> None:
    loss = GANLoss("lsgan").double()(torch.zeros(3, dtype=torch.float64), True)
    assert loss.dtype == torch.float64


def test_target_has_the_shape_of_the_scores() -> None:
    target = GANLoss("lsgan", 0.9, 0.1).get_target_tensor(torch.zeros(2, 1, 4, 5), False)
    assert target.shape == (2, 1, 4, 5)
    assert torch.equal(target, torch.full((2, 1, 4, 5), 0.1))


def test_unknown_mode_is_refused_with_a_near_miss() -> None:
    with pytest.raises(ChoiceError, match="lsgna.*Did you mean 'lsgan'") as raised:
        GANLoss("lsgna")
    assert isinstance(raised.value, NotImplementedError)


class LinearCritic(nn.Module):
    """Score an image by a scalar product: the gradient is the weight, everywhere."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 1)."""
        return (x * self.weight).flatten(1).sum(1, keepdim=True)


@given(
    kind=st.sampled_from(["mixed", "real", "fake"]),
    n=st.integers(1, 4),
    constant=st.floats(0.5, 3, width=16),
    lambda_gp=st.floats(0.5, 20, width=16),
    seed=st.integers(0, 2**31),
)
def test_penalty_of_a_linear_critic_is_known(
    kind: str, n: int, constant: float, lambda_gp: float, seed: int
) -> None:
    torch.manual_seed(seed)
    critic = LinearCritic(noise((2, 3, 4)).double())
    penalty, gradients = cal_gradient_penalty(
        critic,
        noise((n, 2, 3, 4)).double(),
        noise((n, 2, 3, 4)).double(),
        CPU,
        kind,
        constant,
        lambda_gp,
    )
    assert isinstance(penalty, Tensor)
    assert gradients is not None
    norm = float(critic.weight.detach().norm())
    assert float(penalty.detach()) == pytest.approx((norm - constant) ** 2 * lambda_gp)
    assert gradients.shape == (n, 24)
    penalty.backward()
    slope = 2 * (norm - constant) * lambda_gp / norm * critic.weight.detach()
    torch.testing.assert_close(critic.weight.grad, slope)


def test_penalty_mixes_each_image_with_its_own_weight() -> None:
    seen: list[Tensor] = []

    class Spy(LinearCritic):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            return super().forward(x)

    real, fake = noise((3, 1, 2, 2)), noise((3, 1, 2, 2))
    torch.manual_seed(9)
    share = torch.rand(3)
    torch.manual_seed(9)
    cal_gradient_penalty(Spy(torch.ones(1, 2, 2)), real, fake, CPU)
    for number in range(3):
        wanted = share[number] * real[number] + (1 - share[number]) * fake[number]
        torch.testing.assert_close(seen[0][number], wanted)


@pytest.mark.parametrize("kind", ["real", "fake"])
def test_only_the_mixed_penalty_draws_random_numbers(kind: str) -> None:
    critic = LinearCritic(torch.ones(1, 2, 2))
    before = torch.get_rng_state()
    cal_gradient_penalty(critic, noise_like(1), noise_like(2), CPU, kind)
    assert torch.equal(torch.get_rng_state(), before)


def noise_like(seed: int) -> Tensor:
    """Return noise that leaves the global generator alone."""
    return noise((3, 1, 2, 2), torch.Generator().manual_seed(seed))


def test_unknown_kind_of_penalty_is_refused_with_a_near_miss() -> None:
    critic = LinearCritic(torch.ones(1, 2, 2))
    with pytest.raises(ChoiceError, match="mixd.*Did you mean 'mixed'"):
        cal_gradient_penalty(critic, noise_like(1), noise_like(2), CPU, "mixd")


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_penalty_without_weight_asks_nobody(weight: float) -> None:
    before = torch.get_rng_state()
    critic = LinearCritic(torch.full((1, 2, 2), math.nan))
    result = cal_gradient_penalty(critic, noise_like(1), noise_like(2), CPU, lambda_gp=weight)
    assert result == (0.0, None)
    assert torch.equal(torch.get_rng_state(), before)
