"""What all models share: names, devices, saving and loading, schedules, the optimiser step."""

import math
import os
from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import proxy

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from models import networks as networks  # for other people's code
from models.optimization.step import Optimization
from models.storage import average_files, network_files
from models.storage.names import named_values, networks_of, together
from models.storage.state import adopt_new_optimizers, started_scheduler
from util.base.errors import UserError
from util.base.faces import PathText
from util.base.log import say
from util.base.new_options import new_option
from util.base.system import claim_device
from util.storage import checkpoint
from util.storage.run_folder import label_of


class BaseModel(ABC):
    """Base class of models; `models/template_model.py` is the file to copy.

    A subclass names what it has, and the rest follows from the names:

    Attributes:
        model_names: networks; `G` is the attribute `netG`, saved as `<epoch>_net_G.pth`.
        loss_names: losses to print; `G` is the attribute `loss_G`.
        visual_names: images to show; `fake_B` is the attribute `fake_B`.
        optimizers: their learning rates follow `--lr_policy`.
        image_paths: where the current batch came from; names the results.
        metric: what `--lr_policy plateau` watches; the training script sets it after each epoch, to
            NaN if nothing new was measured.
        device: where networks and batches live.
        save_dir: `<checkpoints_dir>/<name>`.
        optimization: the tools of a step, unless the subclass calls something else so.

    What a subclass may define besides; `models/storage/trained_model.py` tells what happens else:

        validation_pairs(self)   images and what they should equal, for the metrics of --val_freq
        validation_sets(self)    images made and real ones of that domain, for FID and KID
        validation_losses(self)  other numbers that a validation batch gives
        extra_state(self), load_extra_state(self, state)
            what else an exact resume needs: tensors, numbers, strings, lists, dicts
        averaged_networks(self)  which networks --ema keeps averages of, by name, each with the
            module in whose weights these start: itself, or a copy with other weights (not after
            --pretrained, nor in a continued run). Called once, by setup; without it, all whose
            name begins with G
        outputs_by_domain(self)  in a test: the domain of the image that was translated, and for
            each domain the labels of what was made for it, which evaluate.py --diverse measures
        memory_per_image(self)   bytes that a step needs for each image; too many are warned of
        sheets(self)             in a test: what is made of all images together, see add_sheets
        kept_for_sheets(self), keep_for_sheets(self, kept)
            what the model keeps for `sheets`, as plain values and tensors on the CPU; take what it
            kept in another process, of images that come after those of this one
        network_options = ("crop_size",)
            options of the framework that decide its networks, besides those that always do: test.py
            takes them over from the training
        batch_independent = True
            test.py may hand over several images at once: what is made of one does not depend on
            the others, except by batch norm and dropout. Each class says so for itself.
        image_independent = True
            several processes may share out the images of a test: what is made of one does not
            depend on those before it. `batch_independent` says so too. Each class says so for
            itself.
        generators = ("G_A", "G_B")
            the networks that translate an image by themselves, which load_generator takes: as in
            training, and if there is one the other way round. Each class says so for itself.
    """

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        self.gpu_ids: list[int] = opt.gpu_ids
        self.isTrain: bool = opt.isTrain
        self.device = claim_device(self.gpu_ids)
        if isinstance(chosen := getattr(opt, "device", None), torch.device):
            self.device = chosen  # by a script of 2025; another one than that of gpu_ids is no GPU
        self.save_dir: str = PathText(os.path.join(opt.checkpoints_dir, opt.name))
        self.loss_names: list[str] = []
        self.model_names: list[str] = []
        self.visual_names: list[str] = []
        self.optimizers: list[Optimizer] = []
        self.schedulers: list[LRScheduler] = []
        self.image_paths: Sequence[str] = []
        self.metric: float = 0
        # Our own code uses the private name: the other one may be a subclass's own.
        self._optimization = Optimization(opt, self.device)
        if not hasattr(type(self), "optimization"):
            self.optimization = self._optimization

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Add options of this model, or change defaults of others."""
        return parser

    @abstractmethod
    def set_input(self, input: dict[str, Any]) -> None:
        """Move a batch from the data set to the device."""

    @abstractmethod
    def forward(self) -> None:
        """Run the networks."""

    @abstractmethod
    def optimize_parameters(self) -> None:
        """Run the networks, compute losses and gradients, take the optimisers' steps."""

    def compute_visuals(self) -> None:  # noqa: B027 - optional
        """Compute images that only people need; called before they are shown."""

    def setup(self, opt: Namespace) -> None:
        """Get ready: check the names, move networks, make schedules, load and print networks."""
        nets = networks_of(self)
        for net in nets.values():
            net.to(self.device)  # a plugin may have ignored gpu_ids
        if self.device.type == "cuda":
            # Trying out algorithms pays when sizes repeat, which these two do not promise, but
            # the fastest one is not the same in every run.
            torch.backends.cudnn.benchmark = (
                opt.preprocess not in ("scale_width", "scale_shortside")
                and not torch.are_deterministic_algorithms_enabled()
            )
        if self.isTrain:
            self.schedulers = [started_scheduler(each, opt) for each in self.optimizers]
            if pretrained := new_option(opt, "pretrained"):
                network_files.load_pretrained(self, pretrained)
        if not self.isTrain or opt.continue_train:
            self.load_networks(label_of(opt.load_iter, opt.epoch))
        average_files.begin(self) if self.isTrain else average_files.use(self)
        active = self._optimization.set_up(nets, self.optimizers)
        # A proxy makes no circle: memory is freed at once.
        self._optimization.adopt = partial(adopt_new_optimizers, proxy(self))
        self.print_networks(opt.verbose)
        if self.isTrain or self._optimization.speed.is_chosen:
            say(active)

    def eval(self) -> None:
        """Switch all networks to evaluation: no dropout, statistics from training."""
        for net in networks_of(self).values():
            net.eval()

    def test(self) -> None:
        """Run the networks without gradients, then compute the images to show."""
        with torch.no_grad():
            self.forward()
            self.compute_visuals()

    def set_requires_grad(
        self, nets: nn.Module | Sequence[nn.Module | None], requires_grad: bool = False
    ) -> None:
        """Switch gradients on or off for all parameters of these networks."""
        for net in [nets] if isinstance(nets, nn.Module) else nets:
            if net is not None:
                net.requires_grad_(requires_grad)

    def update_learning_rate(self) -> None:
        """Step all schedules that count epochs; called once at the end of every epoch."""
        adopt_new_optimizers(self)
        if not self.optimizers:
            raise UserError(
                f"{type(self).__name__} lists no optimiser in self.optimizers, so nothing can set "
                "its learning rate. List them at the end of __init__: "
                "self.optimizers = [self.optimizer_G]."
            )
        before = self._optimization.rate_before  # if steps have changed it since
        if before is None:
            before = float(self.optimizers[0].param_groups[0]["lr"])  # a tensor would change
        for scheduler in self.schedulers:
            if not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
            elif not math.isnan(self.metric):  # else nothing was measured
                scheduler.step(self.metric)
        self._optimization.epochs += 1
        after = float(self.optimizers[0].param_groups[0]["lr"])
        say(f"learning rate {before:.7f} -> {after:.7f}")

    def get_image_paths(self) -> Sequence[str]:
        """Return where the current batch came from."""
        return self.image_paths

    def get_current_visuals(self) -> "OrderedDict[str, Any]":
        """Return the images by name: tensors (N, C, H, W) in [-1, 1], or arrays (H, W, C)."""
        return OrderedDict(named_values(self, "visual_names"))

    def get_current_losses(self) -> "OrderedDict[str, float]":
        """Return the losses by name, as numbers; this is where the host waits for the device."""
        losses = named_values(self, "loss_names", prefix="loss_")
        numbers = together(list(losses.values()), self.device).tolist()
        return OrderedDict(zip(losses, map(float, numbers), strict=True))

    def print_networks(self, verbose: bool) -> None:
        """Print how many parameters each network has; its layers too if `verbose`."""
        say("---------- Networks initialized -------------")
        for name, net in networks_of(self).items():
            if verbose:
                say(str(net))
            millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
            say(f"[Network {name}] Total number of parameters : {millions:.3f} M")
        say("-----------------------------------------------")

    def network_files(self, label: int | str) -> Mapping[str, Path]:
        """Return the files of a label; a subclass with more networks, or others, says so here."""
        return network_files.default_files(self, label)

    def save_networks(self, epoch: int | str) -> None:
        """Write every network to its file, as CPU tensors; with averages, these too."""
        network_files.save(self, epoch, average_files.states(self, epoch))

    def load_networks(self, epoch: int | str) -> None:
        """Read every network from its file; each must be whole, and made for such a network."""
        network_files.load(self, epoch)

    def __patch_instance_norm_state_dict(
        self, state_dict: dict[str, Any], module: nn.Module, keys: Sequence[str], i: int = 0
    ) -> None:
        """Drop a key that PyTorch before 0.4 saved for every instance norm.

        For `load_networks` of other people, who reach it by `_BaseModel__patch_...`; `keys` are
        the parts of the key, of which the first `i` lead to `module`.
        """
        key, below = ".".join(keys), ".".join(keys[i:])
        if not checkpoint.without_old_instance_norm_keys({below: state_dict[key]}, module):
            del state_dict[key]
