"""A model to copy: how to bring your own idea into the framework.

1. Copy this file to `models/NAME_model.py` and rename the class to `NameModel`
   (for `my_idea_model.py`: `MyIdeaModel`). There is nothing to register.
2. Change the functions below.
3. Use it: `python train.py --model NAME --dataroot ...`

As it stands it trains one generator G to turn A into B by the L1 distance |G(A) - B|:
`python train.py --model template --dataroot ./datasets/demo/paired`
"""

from argparse import ArgumentParser, Namespace
from typing import Any

import torch

from models import networks
from models.base_model import BaseModel
from models.gan.inputs import both_sides


class TemplateModel(BaseModel):
    """Regression from A to B."""

    generators = ("G",)  # translates an image by itself, as load_generator and translate.py ask
    image_independent = True  # no image depends on those before: processes may share out a test

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool = True) -> ArgumentParser:
        """Add options of your own, and change defaults of existing ones.

        `is_train` tells train.py from test.py. New options appear in `--help`, and as
        `self.opt.NAME`.
        """
        parser.set_defaults(dataset_mode="aligned")  # pairs; others may still choose another one
        if is_train:
            parser.add_argument(
                "--lambda_regression", type=float, default=1.0, help="weight of |G(A) - B|"
            )
        return parser

    def __init__(self, opt: Namespace) -> None:
        """Make networks, losses and optimisers, and list their names.

        The lists are all that saving, loading, printing and showing need:

            model_names    "G" stands for self.netG, saved as [epoch]_net_G.pth
            loss_names     "G" stands for self.loss_G, printed and logged
            visual_names   "output" stands for self.output, shown on the page
        """
        super().__init__(opt)  # sets self.opt, self.isTrain, self.device, ...
        self.loss_names = ["G"]
        self.visual_names = ["data_A", "data_B", "output"]
        self.model_names = ["G"]

        # Any torch module will do. define_G makes one of the built-in generators, as --netG tells,
        # draws its initial weights and puts it on the right device.
        self.netG = networks.define_G(
            opt.input_nc, opt.output_nc, opt.ngf, opt.netG, gpu_ids=self.gpu_ids
        )

        if self.isTrain:  # test.py needs neither losses nor optimisers
            self.criterionLoss = torch.nn.L1Loss()
            self.optimizer = torch.optim.Adam(
                self.netG.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999)
            )
            self.optimizers = [self.optimizer]  # their learning rates follow --lr_policy

    def set_input(self, input: dict[str, Any]) -> None:
        """Take a batch from the data set: move it to the device, and no more.

        `both_sides` takes `A`, `B` and the paths out of it, turned around by `--direction BtoA`;
        with other keys, write for example `self.data_A = input["my_key"].to(self.device)`.
        """
        # (N, input_nc, H, W) and (N, output_nc, H, W), in [-1, 1]; the paths name test.py's results
        self.data_A, self.data_B, self.image_paths = both_sides(self, input)

    def forward(self) -> None:
        """Run the networks; test.py calls this too."""
        self.output = self.netG(self.data_A)

    def backward(self) -> None:
        """Compute the loss and its gradients."""
        # Keep losses as tensors: turning them into numbers waits for the GPU, and is done for
        # you when they are printed.
        self.loss_G = self.criterionLoss(self.output, self.data_B) * self.opt.lambda_regression
        self.optimization.backward(self.loss_G, self.optimizer)

    def validation_pairs(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Return images and what they should be, for the metrics of --val_freq (optional)."""
        return {"": (self.output, self.data_B)}

    def optimize_parameters(self) -> None:
        """Take one training step."""
        self.forward()
        self.optimization.clear(self.optimizer)
        self.backward()
        self.optimization.step(self.optimizer, self.netG)  # say which networks the optimiser trains
