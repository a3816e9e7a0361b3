"""Any model as the training script asks for it: only the original's names are taken for granted.

Subclasses of `BaseModel` use whatever names they like for things of their own. So what training
needs beyond the original's surface is no method of the model; it is here, around the model.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from models.storage.names import networks_of
from models.storage.network_files import collecting, files_of
from models.storage.state import adopt_new_optimizers, load_training_state, training_state
from util.base.plugins import own_method

if TYPE_CHECKING:
    from models.base_model import BaseModel


class TrainedModel:
    """What train.py and util/training do with a model.

    Attributes:
        model: the model itself.
    """

    def __init__(self, model: "BaseModel") -> None:
        self.model = model

    @property
    def loss_names(self) -> list[str]:
        """The names of the losses to report."""
        return [name for name in self.model.loss_names if isinstance(name, str)]

    # ---- a step -----------------------------------------------------------------------------

    def begin_batch(self) -> None:
        """Tell that a new batch begins; called before `set_input`."""
        adopt_new_optimizers(self.model)
        self.model._optimization.begin_batch()

    def set_input(self, input: dict[str, Any]) -> None:
        """Take a batch from the data set."""
        self.model.set_input(input)

    def forward(self) -> None:
        """Run the networks."""
        self.model.forward()

    def optimize_parameters(self) -> None:
        """Take one training step."""
        self.model.optimize_parameters()

    def loss_vector(self) -> tuple[list[str], Tensor]:
        """Return the losses' names, and one vector of them that stays on the device.

        Beside the losses in `loss_names` there is `G` if the model has a `loss_G`: the generators'
        loss, which `--lr_policy plateau` follows. A loss that was never set is left out.
        """
        model = self.model
        losses = {name: getattr(model, f"loss_{name}", None) for name in [*self.loss_names, "G"]}
        known = {
            name: loss for name, loss in losses.items() if isinstance(loss, Tensor | int | float)
        }
        tensors = (loss.device for loss in known.values() if isinstance(loss, Tensor))
        device = next(tensors, model.device)
        return list(known), _together(list(known.values()), device)

    def get_current_losses(self) -> Mapping[str, float]:
        """Return the losses by name, as numbers; waits for the device."""
        return self.model.get_current_losses()

    # ---- the end of an epoch ----------------------------------------------------------------

    @property
    def plateau_metric(self) -> float:
        """What `--lr_policy plateau` watches."""
        return self.model.metric

    @plateau_metric.setter
    def plateau_metric(self, value: float) -> None:
        self.model.metric = value

    def update_learning_rate(self) -> None:
        """Step all schedules; called once at the end of every epoch."""
        self.model.update_learning_rate()

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each optimiser: `G` stands for self.optimizer_G."""
        names = {id(value): name for name, value in vars(self.model).items()}
        return {
            names.get(id(optimizer), f"optimizer_{number}").removeprefix("optimizer_"): float(
                optimizer.param_groups[0]["lr"]
            )
            for number, optimizer in enumerate(self.model.optimizers)
        }

    # ---- images -----------------------------------------------------------------------------

    def compute_visuals(self) -> None:
        """Compute images that only people need."""
        self.model.compute_visuals()

    def get_current_visuals(self) -> Mapping[str, Any]:
        """Return the images by name."""
        return self.model.get_current_visuals()

    def get_image_paths(self) -> Sequence[str]:
        """Return where the current batch came from."""
        return self.model.get_image_paths()

    # ---- validation -------------------------------------------------------------------------

    @contextmanager
    def without_trace(self, *, evaluation: bool) -> Iterator[None]:
        """Lend the model to something that is not training, then be as before.

        Without gradients. Attributes, modes and the statistics of batch norm are put back.

        Args:
            evaluation: switch to evaluation: no dropout, statistics from training. Otherwise
                dropout stays and batch norm uses the batch, as test.py does without --eval.
        """
        model, nets = self.model, self.networks().values()
        attributes = dict(vars(model))
        modules = [module for net in nets for module in net.modules()]
        modes = [module.training for module in modules]
        buffers = [buffer for net in nets for buffer in net.buffers()]
        values = [buffer.clone() for buffer in buffers]
        try:
            if evaluation:
                model.eval()
            with torch.no_grad():
                yield
        finally:
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value)
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
            vars(model).clear()
            vars(model).update(attributes)

    def validation_losses(self) -> dict[str, Tensor]:
        """Return numbers that a validation batch gives, by name; lower is better.

        They come from the model's own `validation_losses()`; without one there are none.
        """
        found = self._answer("validation_losses")
        right = isinstance(found, Mapping) and all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
        )
        return dict(found) if right else {}

    def validation_pairs(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return images made from a validation batch with those they should equal, by name.

        Called after `forward` and `validation_losses`. Images are (N, C, H, W) in [-1, 1].

        They come from the model's own `validation_pairs()`. Without one: `fake_B` with `real_B`, if
        there are such images of one size, except with `--dataset_mode unaligned`, where `real_B` is
        just any image of domain B. Data sets of plugins are taken to give pairs: a model for one
        that does not returns {} there.
        """
        found = self._answer("validation_pairs")
        if _are_pairs(found):
            return dict(found)
        return {} if self.model.opt.dataset_mode == "unaligned" else self._made_and_real()

    def validation_sets(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return images that were made, and real ones of the same domain, by name.

        For FID and KID; they need not belong together. (N, C, H, W) in [-1, 1]. They come from the
        model's own `validation_sets()`. Without one: the pair without a name, else `fake_B` and
        `real_B`.
        """
        found = self._answer("validation_sets")
        if _are_pairs(found):
            return dict(found)
        pairs = self.validation_pairs()
        return {"": pairs[""]} if "" in pairs else self._made_and_real()

    def _made_and_real(self) -> dict[str, tuple[Tensor, Tensor]]:
        made, real = (getattr(self.model, name, None) for name in ("fake_B", "real_B"))
        if isinstance(made, Tensor) and isinstance(real, Tensor) and made.shape == real.shape:
            return {"": (made, real)}
        return {}

    def _answer(self, name: str) -> Any:
        method = own_method(self.model, name, arguments=0)
        return None if method is None else method()

    # ---- networks and state -----------------------------------------------------------------

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks in `model_names`, by name."""
        return networks_of(self.model)

    def broken_networks(self) -> list[str]:
        """Return the names of the networks that hold numbers which are infinite or nan."""
        names, sums = [], []
        for name, net in self.networks().items():
            for tensor in net.state_dict().values():
                if tensor.is_floating_point():
                    names.append(name)
                    # One bad number spoils the sum.
                    sums.append(tensor.detach().sum().to(self.model.device))
        finite = torch.stack(sums).isfinite().tolist() if sums else []
        return sorted({name for name, good in zip(names, finite, strict=True) if not good})

    def save_networks(self, label: int | str) -> dict[Path, object]:
        """Return what the model's `save_networks` would write, by file."""
        with collecting() as files:
            self.model.save_networks(label)
        return files

    def network_files(self, label: int | str) -> dict[str, Path]:
        """Return the files that belong to a label, by network."""
        return files_of(self.model, label)

    def load_networks(self, label: int | str) -> None:
        """Read all networks of a label."""
        self.model.load_networks(label)

    def training_state(self) -> dict[str, Any]:
        """Return all that training changes, except the networks: plain containers and tensors."""
        return training_state(self.model)

    def load_training_state(self, state: Mapping[str, Any], *, keep_rates: bool = False) -> None:
        """Take back what `training_state` returned; the networks are loaded separately.

        Args:
            state: what `training_state` returned.
            keep_rates: keep the learning rates and schedules that there are, and whatever else
                the optimisers' groups say; take their moments alone.

        Raises:
            UserError: the state was made by a model with other optimisers or image pools.
        """
        load_training_state(self.model, state, keep_rates=keep_rates)


def _together(losses: Sequence[Tensor | float], device: torch.device) -> Tensor:
    """Return one vector of losses; numbers are filled in on the device, which sends nothing."""
    if not losses:
        return torch.zeros(0, device=device)
    return torch.stack([_scalar(loss, device) for loss in losses])


def _scalar(loss: Tensor | float, device: torch.device) -> Tensor:
    if not isinstance(loss, Tensor):
        return torch.full((), float(loss), device=device)
    loss = loss.detach().to(device)
    return loss.reshape(()) if loss.numel() == 1 else loss.sum()


def _are_pairs(answer: object) -> bool:
    return isinstance(answer, Mapping) and all(
        isinstance(name, str)
        and isinstance(pair, tuple | list)
        and len(pair) == 2
        and all(isinstance(image, Tensor) for image in pair)
        for name, pair in answer.items()
    )
