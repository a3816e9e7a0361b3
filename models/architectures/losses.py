"""Losses that compare a discriminator's scores with what they should be."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from util.base.errors import ChoiceError, suggest
from util.base.torch_private import is_compiled
from util.processes.group import drawn_for_all

GAN_MODES: dict[str, type[nn.Module] | None] = {
    "lsgan": nn.MSELoss,  # Mao et al. 2017, "Least Squares Generative Adversarial Networks"
    "vanilla": nn.BCEWithLogitsLoss,  # Goodfellow et al. 2014
    "wgangp": None,  # Gulrajani et al. 2017: the mean score itself, no target
}


class GANLoss(nn.Module):
    """Compare scores with "all real" or "all fake", in one of GAN_MODES."""

    real_label: Tensor
    fake_label: Tensor

    def __init__(
        self, gan_mode: str, target_real_label: float = 1.0, target_fake_label: float = 0.0
    ) -> None:
        super().__init__()
        if gan_mode not in GAN_MODES:
            hint = suggest(gan_mode, GAN_MODES)
            raise ChoiceError(f"gan mode {gan_mode} not implemented. {hint}")
        self.register_buffer("real_label", torch.tensor(target_real_label))
        self.register_buffer("fake_label", torch.tensor(target_fake_label))
        self.gan_mode = gan_mode
        compare = GAN_MODES[gan_mode]
        self.loss = compare() if compare else None

    def get_target_tensor(self, prediction: Tensor, target_is_real: bool) -> Tensor:
        """Return labels in the shape of the scores."""
        label = self.real_label if target_is_real else self.fake_label
        return label.expand_as(prediction)

    def forward(self, prediction: Tensor, target_is_real: bool) -> Tensor:
        """Return the loss, a scalar, of raw scores of any shape, without sigmoid."""
        if self.loss is None:
            return -prediction.mean() if target_is_real else prediction.mean()
        return self.loss(prediction, self.get_target_tensor(prediction, target_is_real))


def cal_gradient_penalty(
    netD: nn.Module,
    real_data: Tensor,
    fake_data: Tensor,
    device: torch.device,
    type: str = "mixed",
    constant: float = 1.0,
    lambda_gp: float = 10.0,
) -> tuple[Tensor | float, Tensor | None]:
    """Penalise a critic whose gradient norm is not `constant` (Gulrajani et al. 2017, eq. 3).

    The gradient is taken at `real` images, (N, C, H, W), `fake` ones of the same shape, or points
    `mixed` between the two, by weights that are drawn on the device.

    Returns:
        The penalty times `lambda_gp`, a scalar, and the gradients, (N, C*H*W). For a weight of 0
        nothing is computed: 0.0 and None.
    """
    if lambda_gp <= 0.0:
        return 0.0, None
    if type == "real":
        points = real_data
    elif type == "fake":
        points = fake_data
    elif type == "mixed":
        share = drawn_for_all(torch.rand, (real_data.shape[0], 1, 1, 1), device=device)
        points = share * real_data + (1 - share) * fake_data
    else:
        raise ChoiceError(f"{type} not implemented. {suggest(type, ['real', 'fake', 'mixed'])}")
    points.requires_grad_(True)
    with differentiable_twice(netD):
        scores = netD(points)
    (gradients,) = torch.autograd.grad(
        scores, points, grad_outputs=torch.ones_like(scores), create_graph=True
    )
    gradients = gradients.flatten(start_dim=1)
    # The small number keeps the norm's derivative finite where the gradient is zero.
    norms = (gradients + 1e-16).norm(2, dim=1)
    return ((norms - constant) ** 2).mean() * lambda_gp, gradients


def r1_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """Penalise a discriminator whose scores of real images change with them.

    Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", equation 9: half
    the mean of the squared gradient norms, a scalar, of `scores` (N, ...) by `images` (N, C, H, W),
    which require gradients. Compute the scores inside `differentiable_twice`.
    """
    (gradients,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return 0.5 * gradients.square().flatten(1).sum(1).mean()


def differentiable_twice(net: nn.Module) -> AbstractContextManager[object]:
    """Compute inside without what torch has compiled, which knows no gradient of a gradient."""
    compiled = is_compiled(net)
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
