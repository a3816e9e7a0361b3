"""Runs that have generators, without a training."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.architectures.registry import define_G
from tests.support.checkpoints import save_set
from util.base.log import silently

USUAL = {"netG": "resnet_6blocks", "norm": "instance", "ngf": 2, "input_nc": 3, "output_nc": 3}


def generator(seed: int = 0, **options: Any) -> nn.Module:
    """Build a small generator whose images are not all grey."""
    with silently(), torch.random.fork_rng([]):
        torch.manual_seed(seed)
        known = {**USUAL, "no_dropout": True, **options}
        return define_G(
            known["input_nc"], known["output_nc"], known["ngf"], known["netG"], known["norm"],
            not known["no_dropout"], init_gain=0.3,
        )  # fmt: skip


def save_run(
    folder: Path,
    model: str,
    *nets: str,
    label: str = "latest",
    records: bool = True,
    **options: Any,
) -> Path:
    """Write generators, and the options that a training with them would have left.

    `G_B` is made with the channels the other way round.
    """
    options = {**USUAL, "no_dropout": True, **options}
    back = {"input_nc": options["output_nc"], "output_nc": options["input_nc"]}
    folder.mkdir(parents=True, exist_ok=True)
    save_set({
        folder / f"latest_net_{net}.pth": generator(
            seed, **options | (back if net == "G_B" else {})
        ).state_dict()
        for seed, net in enumerate(nets)
    })  # fmt: skip
    if records:
        saved = {"model": model, "isTrain": True, "direction": "AtoB", **options}
        (folder / "train_opt.json").write_text(json.dumps(saved))
    return folder
