"""Short trainings that must not depend on the number of processes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import SGD


@dataclass(frozen=True)
class Case:
    """A command line, and how long to train."""

    options: list[str] = field(default_factory=list)
    steps: int = 10
    folder: str = ""
    dtype: torch.dtype = torch.float64
    change: Callable[[Any], None] = lambda model: None


def step_by_itself(model: Any) -> None:
    """Let a model compute and step as plugins do that never heard of `self.optimization`.

    One network of its own gets gradients in every second step, from an optimiser in no list.
    """
    extra = nn.Linear(3, 3)
    optimizer = SGD(extra.parameters(), lr=0.1)
    model.netX, steps = extra, iter(range(1000))
    model.model_names.append("X")
    for parameter in extra.parameters():
        nn.init.constant_(parameter, 0.5)

    def optimize_parameters() -> None:
        model.forward()
        model.optimizer_D.zero_grad()
        model.loss_D = (model.netD(torch.cat([model.real_A, model.fake_B.detach()], 1)) ** 2).mean()
        model.loss_D.backward()
        model.optimizer_D.step()
        model.optimizer_G.zero_grad()
        model.loss_G_L1 = (model.fake_B - model.real_B).abs().mean()
        if next(steps) % 2:
            colours = model.real_A.mean((2, 3))
            model.loss_G_L1 = model.loss_G_L1 + extra(colours).square().mean()
        model.loss_G_L1.backward()
        model.optimizer_G.step()
        optimizer.step()
        optimizer.zero_grad()

    model.optimize_parameters = optimize_parameters


SMALL = ["--netG", "resnet_6blocks", "--crop_size", "32", "--load_size", "34"]
CYCLE_GAN = ["--model", "cycle_gan", *SMALL, "--pool_size", "4"]
PIX2PIX = ["--model", "pix2pix", *SMALL]
CASES: Mapping[str, Case] = {
    "cycle_gan": Case(CYCLE_GAN),
    "cycle_gan, batch norm, wgangp": Case(
        [*CYCLE_GAN, "--norm", "batch", "--gan_mode", "wgangp"]
    ),
    "cycle_gan in half": Case(
        [*CYCLE_GAN, "--max_dataset_size", "7", "--accumulate", "2", "--ema", "0.9"], steps=9
    ),
    "pix2pix with dropout, in half": Case([*PIX2PIX, "--max_dataset_size", "7"]),
    "pix2pix unet": Case(
        ["--model", "pix2pix", "--netG", "unet_128", "--crop_size", "128", "--load_size", "128",
         "--norm", "syncbatch"], steps=3
    ),
    "pix2pix by itself": Case([*PIX2PIX, "--norm", "instance"], change=step_by_itself),
    "colorization": Case(["--model", "colorization", *SMALL]),
    "template": Case(["--model", "template", *SMALL, "--dataset_mode", "aligned"]),
    "stargan_v2": Case(
        ["--model", "stargan_v2", "--crop_size", "16", "--ngf", "1", "--ndf", "1"],
        folder="domains",
    ),
    "fp16": Case(
        [*CYCLE_GAN, "--precision", "fp16", "--ngf", "1", "--ndf", "1", "--crop_size", "24",
         "--load_size", "26"], dtype=torch.float32
    ),
    "fp16, batch norm": Case([*PIX2PIX, "--precision", "fp16"], dtype=torch.float32, steps=4),
    "compressed": Case([*PIX2PIX, "--dist_compress", "bf16"], dtype=torch.float32),
}  # fmt: skip
