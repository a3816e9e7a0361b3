"""What all models share: names, devices, saving and loading, schedules, the optimiser step."""

import math
import os
from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from models import networks
from models.architectures.describe import describe_generator
from models.architectures.fast.memory_format import laid_out_as
from models.optimization.accumulation import GradientAccumulation
from models.optimization.schedulers import (
    get_scheduler,
    load_scheduler_state,
    scheduler_state,
    skip_epochs,
)
from models.optimization.speed import Speed
from models.storage.pretrained import find_pretrained
from util.base.errors import UserError, suggest
from util.base.light_start import leave_out_the_compiler
from util.base.log import say
from util.base.system import claim_device
from util.image_pool import ImagePool
from util.storage import checkpoint


class BaseModel(ABC):
    """Base class of models; `models/template_model.py` is the file to copy.

    A subclass names what it has, and the rest follows from the names:

    Attributes:
        model_names: networks; `G` is the attribute `netG`, saved as `<epoch>_net_G.pth`.
        loss_names: losses to print; `G` is the attribute `loss_G`.
        visual_names: images to show; `fake_B` is the attribute `fake_B`.
        optimizers: their learning rates follow `--lr_policy`.
        image_paths: where the current batch came from; names the results.
        metric: what `--lr_policy plateau` watches; the training script sets it after each epoch.
        device: where networks and batches live.
        save_dir: `<checkpoints_dir>/<name>`.
        speed: how networks and optimisers compute; see `models/optimization/speed.py`.
        save_files: writes the files that `save_networks` hands over; train.py puts its own there,
            which adds the training state and writes in the background.
        batch_independent: whether test.py may hand over several images at once, without
            gradients of any kind: what is made of one does not depend on the others, except by
            batch norm and dropout. Each class says so for itself.
        takes_batches_on_device: whether `set_input` may get images that lie on `device` already,
            which spares a GPU most of what has to be sent. Each class says so for itself.
    """

    batch_independent = False
    takes_batches_on_device = False

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        self.gpu_ids: list[int] = opt.gpu_ids
        self.isTrain: bool = opt.isTrain
        if self.isTrain and not getattr(opt, "compile", False):
            leave_out_the_compiler()
        self.device = claim_device(self.gpu_ids)
        self.save_dir = os.path.join(opt.checkpoints_dir, opt.name)
        self.loss_names: list[str] = []
        self.model_names: list[str] = []
        self.visual_names: list[str] = []
        self.optimizers: list[Optimizer] = []
        self.schedulers: list[LRScheduler] = []
        self.image_paths: Sequence[str] = []
        self.metric: float = 0
        self.speed = Speed(opt, self.device)
        self._steps = GradientAccumulation(self.speed.precision, getattr(opt, "accumulate", 1))
        self.save_files: Callable[[Mapping[Path, object]], object] = checkpoint.save_set

    # ---- what a subclass writes -----------------------------------------------------------

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Add options of this model, or change defaults of others."""
        del is_train
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

    def validation_pairs(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Return images made from a validation batch with those they should equal, by name.

        Called after `forward` and `validation_losses`. Images are (N, C, H, W) in [-1, 1].

        By default `fake_B` with `real_B`, if there are such images of one size, except with
        `--dataset_mode unaligned`, where `real_B` is just any image of domain B. Data sets of
        plugins are taken to give pairs: a model for one that does not returns {} here.
        """
        return {} if self.opt.dataset_mode == "unaligned" else self._made_and_real()

    def validation_sets(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Return images that were made, and real ones of the same domain, by name.

        For FID and KID; they need not belong together. (N, C, H, W) in [-1, 1]. By default the
        pair without a name, else `fake_B` and `real_B`.
        """
        pairs = self.validation_pairs()
        return {"": pairs[""]} if "" in pairs else self._made_and_real()

    def _made_and_real(self) -> dict[str, tuple[Tensor, Tensor]]:
        made, real = getattr(self, "fake_B", None), getattr(self, "real_B", None)
        if isinstance(made, Tensor) and isinstance(real, Tensor) and made.shape == real.shape:
            return {"": (made, real)}
        return {}

    def validation_losses(self) -> Mapping[str, Tensor]:
        """Return other numbers that a validation batch gives, by name; lower is better."""
        return {}

    def extra_state(self) -> dict[str, Any]:
        """Return what else an exact resume needs: tensors, numbers, strings, lists, dicts."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:  # noqa: B027 - optional
        """Take back what `extra_state` returned."""

    def generator_loss(self) -> Tensor | float | None:
        """Return the loss that `--lr_policy plateau` follows: `loss_G`, if there is one."""
        return getattr(self, "loss_G", None)

    # ---- life of a model ------------------------------------------------------------------

    def setup(self, opt: Namespace) -> None:
        """Get ready: check the names, move networks, make schedules, load and print networks."""
        for net in self._networks().values():
            net.to(self.device)  # a plugin may have ignored gpu_ids
        if self.device.type == "cuda":
            # Trying out algorithms pays when sizes repeat, which scale_width does not promise, but
            # the fastest one is not the same in every run.
            torch.backends.cudnn.benchmark = (
                opt.preprocess != "scale_width" and not torch.are_deterministic_algorithms_enabled()
            )
        if self.isTrain:
            self.schedulers = [get_scheduler(optimizer, opt) for optimizer in self.optimizers]
            for scheduler in self.schedulers:
                skip_epochs(scheduler, opt.epoch_count - 1)
        pretrained: str = getattr(opt, "pretrained", "")
        if self.isTrain and pretrained:
            self.load_pretrained(pretrained)
        if not self.isTrain or opt.continue_train:
            self.load_networks(f"iter_{opt.load_iter}" if opt.load_iter > 0 else opt.epoch)
        active = self.speed.set_up(self._networks(), self.optimizers)
        self._steps.watch(self.optimizers)
        self.print_networks(opt.verbose)
        if self.isTrain or self.speed.is_chosen:
            say(active)

    def net(self, name: str) -> nn.Module:
        """Return the network `net<name>`: the module itself, never a wrapper.

        Raises:
            UserError: `model_names` lists a network that the model never made.
        """
        return self._network(name)

    def _network(self, name: str) -> nn.Module:  # a plugin may have its own self.net
        net = getattr(self, f"net{name}", None)
        if isinstance(net, nn.Module):
            return net
        made = [
            key.removeprefix("net")
            for key, value in vars(self).items()
            if key.startswith("net") and isinstance(value, nn.Module)
        ]
        raise UserError(
            f"{type(self).__name__} lists {name!r} in model_names but has no network "
            f"self.net{name}. {suggest(name, made)}"
        )

    def _networks(self) -> dict[str, nn.Module]:
        return {name: self._network(name) for name in self.model_names if isinstance(name, str)}

    def eval(self) -> None:
        """Switch all networks to evaluation: no dropout, statistics from training."""
        for net in self._networks().values():
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

    def both_sides(self, input: dict[str, Any]) -> tuple[Tensor, Tensor, Sequence[str]]:
        """Return a batch's source and target on the device, and the paths of the source.

        `--direction BtoA` swaps what the data set calls A and B.

        Raises:
            UserError: the data set gives single images.
        """
        source, target = ("A", "B") if self.opt.direction == "AtoB" else ("B", "A")
        if missing := {source, target, f"{source}_paths"} - input.keys():
            raise UserError(
                f"--model {self.opt.model} needs images of both domains, but --dataset_mode "
                f"{self.opt.dataset_mode} gives no {' and no '.join(sorted(missing))}. Use "
                "another --dataset_mode, or --model test for single images."
            )
        return (
            input[source].to(self.device),
            input[target].to(self.device),
            input[f"{source}_paths"],
        )

    @contextmanager
    def evaluation_without_trace(self, *, evaluation: bool) -> Iterator[None]:
        """Lend the networks to something that is not training, then be as before.

        Without gradients. Attributes, modes and the statistics of batch norm are put back.

        Args:
            evaluation: switch to evaluation: no dropout, statistics from training. Otherwise
                dropout stays and batch norm uses the batch, as test.py does without --eval.
        """
        attributes = dict(vars(self))
        modules = [module for net in self._networks().values() for module in net.modules()]
        modes = [module.training for module in modules]
        buffers = [buffer for net in self._networks().values() for buffer in net.buffers()]
        values = [buffer.clone() for buffer in buffers]
        try:
            if evaluation:
                self.eval()
            with torch.no_grad():
                yield
        finally:
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value)
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
            vars(self).clear()
            vars(self).update(attributes)

    # ---- one optimiser step ---------------------------------------------------------------

    def judge(self, netD: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return a discriminator's scores of two batches; in one pass where that is faster.

        Not for wgangp, where the gradients of the last bias cancel: exactly only if each batch has
        its own sum, and Adam makes whole steps of what is left otherwise.
        """
        is_wgangp = getattr(self.opt, "gan_mode", "") == "wgangp"
        batched = self.speed.merges_forward_passes(first) and not is_wgangp
        if batched and networks.can_discriminate_as_one_batch(netD, first, second):
            return networks.discriminate_as_one_batch(netD, first, second)
        return netD(first), netD(second)

    def clear_gradients(self, optimizer: Optimizer) -> None:
        """Forget the gradients of the step before; called before a backward pass."""
        self._steps.clear(optimizer)

    def backward(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Compute the gradients of a loss, for the networks that this optimiser trains.

        The same as `loss.backward()`, but for `--precision fp16`, which scales losses.
        """
        self.speed.precision.scaled(loss, optimizer).backward()

    def step(self, optimizer: Optimizer, *nets: nn.Module) -> None:
        """Take one step of an optimiser that trains `nets`.

        The one place that every step of a built-in model passes through. With `--accumulate K`
        only every K-th call takes a step, with the mean of the gradients.
        """
        del nets
        self._steps.take(optimizer)

    def update_learning_rate(self) -> None:
        """Step all schedules; called once at the end of every epoch."""
        before = float(self.optimizers[0].param_groups[0]["lr"])  # a tensor would change
        for scheduler in self.schedulers:
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(self.metric)
            else:
                scheduler.step()
        after = float(self.optimizers[0].param_groups[0]["lr"])
        say(f"learning rate {before:.7f} -> {after:.7f}")

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each optimiser: `G` stands for self.optimizer_G."""
        names = {id(value): name for name, value in vars(self).items()}
        return {
            names.get(id(optimizer), f"optimizer_{number}").removeprefix("optimizer_"): float(
                optimizer.param_groups[0]["lr"]
            )
            for number, optimizer in enumerate(self.optimizers)
        }

    # ---- health -----------------------------------------------------------------------------

    def losses_on_device(self) -> dict[str, Tensor | float]:
        """Return the losses by name as they are, detached; does not wait for the device."""
        found = {}
        for name in self.loss_names:
            loss = getattr(self, f"loss_{name}", None)
            if isinstance(loss, Tensor | int | float):
                found[name] = loss.detach() if isinstance(loss, Tensor) else float(loss)
        return found

    def losses_are_finite(self) -> Tensor | bool:
        """Tell whether no loss is infinite or nan; a tensor that stays on the device."""
        losses = [getattr(self, f"loss_{name}", None) for name in self.loss_names]
        numbers = [loss for loss in losses if isinstance(loss, int | float)]
        if not all(math.isfinite(number) for number in numbers):
            return False
        tensors = [loss.detach().float() for loss in losses if isinstance(loss, Tensor)]
        if not tensors:
            return True
        return torch.stack([tensor.to(self.device).sum() for tensor in tensors]).isfinite().all()

    def broken_networks(self) -> list[str]:
        """Return the names of the networks that hold numbers which are infinite or nan."""
        names, sums = [], []
        for name, net in self._networks().items():
            for tensor in net.state_dict().values():
                if tensor.is_floating_point():
                    names.append(name)
                    sums.append(tensor.detach().sum().to(self.device))  # one bad number spoils it
        finite = torch.stack(sums).isfinite().tolist() if sums else []
        return sorted({name for name, good in zip(names, finite, strict=True) if not good})

    # ---- what the model shows -------------------------------------------------------------

    def get_image_paths(self) -> Sequence[str]:
        """Return where the current batch came from."""
        return self.image_paths

    def get_current_visuals(self) -> "OrderedDict[str, Any]":
        """Return the images by name: tensors (N, C, H, W) in [-1, 1], or arrays (H, W, C)."""
        names = [name for name in self.visual_names if isinstance(name, str)]
        return OrderedDict((name, self._named(name, "visual_names")) for name in names)

    def get_current_losses(self) -> "OrderedDict[str, float]":
        """Return the losses by name, as numbers; this is where the host waits for the device."""
        names = [name for name in self.loss_names if isinstance(name, str)]
        losses = [self._named(f"loss_{name}", "loss_names") for name in names]
        return OrderedDict(zip(names, _to_floats(losses), strict=True))

    def _named(self, attribute: str, listed_in: str) -> Any:
        if not hasattr(self, attribute):
            prefix = "loss_" if listed_in == "loss_names" else ""
            known = [key for key in vars(self) if key.startswith(prefix) and key != "loss_names"]
            name = attribute.removeprefix(prefix)
            raise UserError(
                f"{type(self).__name__} lists {name!r} in {listed_in} but has not set "
                f"self.{attribute}. {suggest(attribute, known)}"
            )
        return getattr(self, attribute)

    def print_networks(self, verbose: bool) -> None:
        """Print how many parameters each network has; its layers too if `verbose`."""
        say("---------- Networks initialized -------------")
        for name, net in self._networks().items():
            if verbose:
                say(str(net))
            millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
            say(f"[Network {name}] Total number of parameters : {millions:.3f} M")
        say("-----------------------------------------------")

    # ---- files and state ------------------------------------------------------------------

    def save_networks(self, epoch: int | str) -> None:
        """Write every network to `<save_dir>/<epoch>_net_<name>.pth`, as CPU tensors."""
        self.save_files(
            {
                self._network_file(epoch, name): checkpoint.cpu_state_dict(net)
                for name, net in self._networks().items()
            }
        )

    def load_networks(self, epoch: int | str) -> None:
        """Read every network from `<save_dir>/<epoch>_net_<name>.pth`.

        Raises:
            CheckpointError: a file is missing, broken or made for another network.
        """
        networks = {self._network_file(epoch, name): net for name, net in self._networks().items()}
        with checkpoint.open_save(list(networks)) as files:
            for path, net in networks.items():
                say(f"loading the model from {path}")
                try:
                    checkpoint.load_network(net, path, file=files[path])
                except checkpoint.MismatchError as error:
                    raise checkpoint.MismatchError(f"{error}{_explain(net, path)}") from error

    def load_pretrained(self, source: str) -> None:
        """Start from other networks: take what fits by name and shape, and say what does not.

        Args:
            source: a run in `checkpoints_dir`, a folder of checkpoints, or one `.pth` file, which
                goes into the network that its name ends with, else into the first one.

        Raises:
            CheckpointError: there is nothing of that name, or it cannot be read.
        """
        networks = self._networks()
        for name, file in find_pretrained(source, self.opt.checkpoints_dir, list(networks)):
            if file is None:
                say(f"--pretrained {source} has no network {name}: it starts fresh")
                continue
            left_out = checkpoint.load_what_fits(networks[name], file)
            fitted = "all of it" if not left_out else f"without {len(left_out)} tensors"
            say(f"network {name} starts from {file}, {fitted}")
            for line in left_out:
                say(f"  {line}")

    def _network_file(self, epoch: int | str, name: str) -> Path:
        return Path(self.save_dir, f"{epoch}_net_{name}.pth")

    def training_state(self) -> dict[str, Any]:
        """Return all that training changes, except the networks: plain containers and tensors."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [
                scheduler_state(scheduler, self.opt.epoch_count) for scheduler in self.schedulers
            ],
            "image_pools": {name: pool.state_dict() for name, pool in self._image_pools().items()},
            "metric": float(self.metric),
            "steps": self._steps.state_dict(self.optimizers),
            "extra": self.extra_state(),
        }

    def load_training_state(self, state: Mapping[str, Any], *, keep_rates: bool = False) -> None:
        """Take back what `training_state` returned; the networks are loaded separately.

        Args:
            state: what `training_state` returned.
            keep_rates: keep the learning rates and schedules that there are, and whatever else
                the optimisers' groups say; take their moments alone.

        Raises:
            UserError: the state was made by a model with other optimisers or image pools.
        """
        pools = self._image_pools()
        for what, saved, present in (
            ("optimizers", len(state["optimizers"]), len(self.optimizers)),
            ("schedulers", len(state["schedulers"]), len(self.schedulers)),
            ("image pools", sorted(state["image_pools"]), sorted(pools)),
        ):
            if saved != present:
                raise UserError(
                    f"The saved training state has other {what} ({saved}) than this "
                    f"{type(self).__name__} ({present}). Continue with the model and the options "
                    "it was trained with."
                )
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            _load_optimizer(optimizer, saved, keep_rates)
        if not keep_rates:
            for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
                load_scheduler_state(scheduler, saved, self.opt.epoch_count)
        for name, pool in pools.items():
            pool.load_state_dict(state["image_pools"][name], self.device)
        self.metric = float(state["metric"])
        self._steps.load_state_dict(state.get("steps", {}), self.optimizers)
        self.load_extra_state(state["extra"])

    def _image_pools(self) -> dict[str, ImagePool]:
        """Find the pools by themselves, so that models that never heard of states take part."""
        return {key: value for key, value in vars(self).items() if isinstance(value, ImagePool)}


def _load_optimizer(optimizer: Optimizer, saved: Mapping[str, Any], keep_groups: bool) -> None:
    ours, theirs = optimizer.state_dict()["param_groups"], saved["param_groups"]
    groups = theirs
    if len(ours) == len(theirs):  # else torch says what is wrong
        pairs = zip(ours, theirs, strict=True)
        groups = ours if keep_groups else [_settings(*pair) for pair in pairs]
    try:
        optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    except ValueError as error:
        raise UserError(
            f"The saved training state does not fit the optimiser ({error}). Continue with the "
            "model and the options it was trained with."
        ) from error
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.dim() > 0:
                state[key] = laid_out_as(parameter, value)
    # A run that was stopped at the end of an epoch steps its schedules first: no reason to warn.
    optimizer._opt_called = True  # type: ignore[attr-defined]


def _settings(ours: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """Return saved settings of an optimiser; how steps are computed is this run's business."""
    return saved | {"fused": ours["fused"]} if "fused" in ours else saved


def _explain(net: nn.Module, path: Path) -> str:
    """Say what the checkpoint is and what was asked for, where both are built-in generators."""
    found = describe_generator(checkpoint.load_network_state(net, path))
    asked = describe_generator(net.state_dict())
    if found is None or asked is None:
        return ""
    return f"\n  The checkpoint is {found}\n  The options ask for {asked}"


def _to_floats(values: Sequence[Tensor | float]) -> list[float]:
    """Convert losses with one transfer from the device instead of one each."""
    tensors = [value.detach().double().reshape(()) for value in values if isinstance(value, Tensor)]
    together = [tensor.to(tensors[0].device) for tensor in tensors]
    fetched = iter(torch.stack(together).tolist() if together else [])
    return [next(fetched) if isinstance(value, Tensor) else float(value) for value in values]
