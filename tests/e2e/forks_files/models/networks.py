"""A fork's own networks: the original's names, other architectures, and one of its own."""

import functools
from typing import Any

import torch
from torch import nn
from torch.nn import init
from torch.optim import lr_scheduler


class Identity(nn.Module):
    """Nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def get_norm_layer(norm_type: str = "instance") -> Any:
    """Return what makes a norm."""
    if norm_type == "batch":
        return functools.partial(nn.BatchNorm2d, affine=True, track_running_stats=True)
    if norm_type == "instance":
        return functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    return lambda _: Identity()


def get_scheduler(optimizer: Any, opt: Any) -> Any:
    """Halve the rate after every epoch, whatever the options say."""
    del opt
    return lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)


def init_weights(net: nn.Module, init_type: str = "normal", init_gain: float = 0.02) -> None:
    """Draw the weights."""
    del init_type
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            init.normal_(module.weight, 0.0, init_gain)


def init_net(
    net: nn.Module, init_type: str = "normal", init_gain: float = 0.02, gpu_ids: Any = ()
) -> nn.Module:
    """Move and draw."""
    if len(gpu_ids) > 0:
        net.to(gpu_ids[0])
    init_weights(net, init_type, init_gain)
    return net


class ForkGenerator(nn.Module):
    """Three convolutions."""

    def __init__(self, input_nc: int, output_nc: int, ngf: int, norm_layer: Any) -> None:
        super().__init__()
        self.fork = nn.Sequential(
            nn.Conv2d(input_nc, ngf, 3, padding=1), norm_layer(ngf), nn.ReLU(True),
            nn.Conv2d(ngf, ngf, 3, padding=1), norm_layer(ngf), nn.ReLU(True),
            nn.Conv2d(ngf, output_nc, 3, padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.fork(input)


class ForkDiscriminator(nn.Module):
    """Two convolutions."""

    def __init__(self, input_nc: int, ndf: int) -> None:
        super().__init__()
        self.fork = nn.Sequential(
            nn.Conv2d(input_nc, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(ndf, 1, 4, 2, 1)
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.fork(input)


def define_G(
    input_nc: int, output_nc: int, ngf: int, netG: str, norm: str = "batch",
    use_dropout: bool = False, init_type: str = "normal", init_gain: float = 0.02,
    gpu_ids: Any = (),
) -> nn.Module:  # fmt: skip
    """Make a generator; this fork has one more, `fork`."""
    del use_dropout
    if netG not in ("fork", "resnet_6blocks"):
        raise NotImplementedError(netG)
    net = ForkGenerator(input_nc, output_nc, ngf, get_norm_layer(norm))
    return init_net(net, init_type, init_gain, gpu_ids)


def define_D(
    input_nc: int, ndf: int, netD: str, n_layers_D: int = 3, norm: str = "batch",
    init_type: str = "normal", init_gain: float = 0.02, gpu_ids: Any = (),
) -> nn.Module:  # fmt: skip
    """Make a discriminator."""
    del netD, n_layers_D, norm
    return init_net(ForkDiscriminator(input_nc, ndf), init_type, init_gain, gpu_ids)


class GANLoss(nn.Module):
    """Least squares, whatever is asked for."""

    def __init__(
        self, gan_mode: str, target_real_label: float = 1.0, target_fake_label: float = 0.0
    ) -> None:
        super().__init__()
        self.gan_mode = gan_mode
        self.register_buffer("real_label", torch.tensor(target_real_label))
        self.register_buffer("fake_label", torch.tensor(target_fake_label))
        self.loss = nn.MSELoss()

    def get_target_tensor(self, prediction: torch.Tensor, target_is_real: bool) -> torch.Tensor:
        label = self.real_label if target_is_real else self.fake_label
        return label.expand_as(prediction)

    def __call__(self, prediction: torch.Tensor, target_is_real: bool) -> torch.Tensor:
        return self.loss(prediction, self.get_target_tensor(prediction, target_is_real))


def cal_gradient_penalty(
    netD: nn.Module, real_data: Any, fake_data: Any, device: Any,
    type: str = "mixed", constant: float = 1.0, lambda_gp: float = 10.0,
) -> tuple[Any, Any]:  # fmt: skip
    """No penalty."""
    del netD, real_data, fake_data, device, type, constant, lambda_gp
    return 0.0, None
