"""What training asks of any model beyond the original's surface.

Subclasses of `BaseModel` use whatever names they like for things of their own. So what is asked of
all models is no method of theirs; it is here, around the model.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from math import lcm
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.optimization.accumulation import gradients_of
from models.optimization.averages import Averages
from models.optimization.schedulers import counts_steps
from models.storage import average_files
from models.storage.names import names_in, networks_of, together
from models.storage.network_files import collecting
from models.storage.state import (
    Kept,
    adopt_new_optimizers,
    load_training_state,
    state_bytes,
    training_state,
)
from util.base import rng
from util.base.errors import UserError, in_words
from util.base.log import warn
from util.base.new_options import new_option
from util.base.plugins import own_method
from util.base.torch_private import count_as_stepped
from util.processes import group

Pairs = dict[str, tuple[Tensor, Tensor]]
Number = Tensor | int | float
MOST_DRIFT = 1e-2  # difference of sums between processes, as a part of the norm


class TrainedModel:
    """A model as train.py and util/training use it; `model` is the model itself."""

    def __init__(self, model: Any) -> None:
        self.model = model  # a `BaseModel`, which stands above this room
        self._told: set[str] = set()  # which of its answers were warned of
        self._losses: dict[str, Tensor] = {}  # of the last step

    def begin_batch(self) -> None:
        """Tell that a new batch begins; called before `set_input`."""
        average_files.begin(self.model)  # unless `setup` has
        adopt_new_optimizers(self.model)
        self.model._optimization.begin_batch()

    def forget_graphs(self) -> None:
        """Let go of what a backward pass through the last step would need: most of its memory."""
        for name, value in list(vars(self.model).items()):
            if isinstance(value, Tensor) and value.grad_fn is not None:
                setattr(self.model, name, value.detach())

    def loss_vector(self) -> tuple[list[str], Tensor]:
        """Return the losses' names, and one vector of them that stays on the device.

        Beside the losses in `loss_names` there is `G` if the model has a `loss_G`: the generators'
        loss, which `--lr_policy plateau` follows. A loss that was never set is left out.

        Of several processes they are the means, over the images of the whole batch.
        """
        names = [*dict.fromkeys([*names_in(self.model, "loss_names"), "G"])]
        losses = {name: getattr(self.model, f"loss_{name}", None) for name in names}
        known = {name: loss for name, loss in losses.items() if isinstance(loss, Number)}
        values = together(list(known.values()), self.model.device)
        if group.count() > 1:
            own = dict(zip(known, values.unbind(), strict=True))
            values = self._means_over_processes(names, own).to(values.dtype)
        self._losses = dict(zip(known, values.unbind(), strict=True))
        return list(known), values

    def _means_over_processes(self, names: Sequence[str], known: Mapping[str, Tensor]) -> Tensor:
        """Return means of the `known` losses over the images of all processes that have them.

        Others may have set others of `names`: each has its place in what is exchanged.
        """
        device = self.model.device
        own = together([known.get(name, 0.0) for name in names], device)
        here = together([float(name in known) for name in names], device)
        sums = group.share().fraction * torch.stack([own.double(), here.double()])
        means, shares = group.add_up(sums)
        means = means / shares.where(shares > 0, 1)
        # And nan, in all processes, if a loss that others have is no number.
        means = means + 0 * means.sum()
        return together(
            [mean for name, mean in zip(names, means, strict=True) if name in known], device
        )

    def current_losses(self) -> dict[str, float]:
        """Return the losses to print, as numbers: the model's own, or means over processes."""
        own = self.model.get_current_losses()
        if group.count() == 1:
            return own
        return {name: float(self._losses.get(name, value)) for name, value in own.items()}

    def parameters(self) -> dict[str, int]:
        """Return how many parameters each network has."""
        nets = networks_of(self.model).items()
        return {name: sum(each.numel() for each in net.parameters()) for name, net in nets}

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each optimiser: `G` stands for self.optimizer_G."""
        attributes = {id(value): name for name, value in vars(self.model).items()}
        rates = {}
        for number, optimizer in enumerate(self.model.optimizers):
            name = attributes.get(id(optimizer), f"optimizer_{number}")
            rates[name.removeprefix("optimizer_")] = float(optimizer.param_groups[0]["lr"])
        return rates

    def after_step(self) -> None:
        """Count a step, and step the schedules that count steps."""
        optimization = self.model._optimization
        optimization.steps += 1
        for scheduler in filter(counts_steps, self.model.schedulers):
            if optimization.rate_before is None:
                optimization.rate_before = float(self.model.optimizers[0].param_groups[0]["lr"])
            count_as_stepped(scheduler.optimizer)  # `--precision fp16` may have left its step out
            scheduler.step()

    def learns(self) -> bool:
        """Tell whether any weight has, or had, a gradient; of what no list names nobody knows."""
        optimizers, waits = self.model.optimizers, self.model._optimization.holds_gradients_of
        return not optimizers or any(
            each.state or gradients_of(each) or waits(each) for each in optimizers
        )

    def update_learning_rate(self, measured: float | None) -> None:
        """Step the other schedules at the end of an epoch; None: nothing new for `plateau`.

        The model's own method, which may be a plugin's, sees the schedules that it is to step.
        """
        model = self.model
        model.metric = math.nan if measured is None else measured
        every = model.schedulers
        in_steps = any(map(counts_steps, every))
        if in_steps:
            adopt_new_optimizers(model)
            model.schedulers = [each for each in every if not counts_steps(each)]
        try:
            model.update_learning_rate()
        finally:
            if in_steps:
                model.schedulers = every
            model._optimization.rate_before = None

    @contextmanager
    def without_trace(self, *, evaluation: bool) -> Iterator[None]:
        """Lend the model to something that is not training, without gradients; undo all it does.

        Networks compute with their averages, if there are any (`--ema`, `--no_ema`).

        In evaluation there is no dropout, and statistics are those of training. Otherwise dropout
        stays and batch norm uses the batch, as test.py does without --eval.
        """
        model, nets = self.model, networks_of(self.model).values()
        averages = self._averages_in_use()
        attributes = dict(vars(model))
        modes = [(module, module.training) for net in nets for module in net.modules()]
        buffers = [(buffer, buffer.clone()) for net in nets for buffer in net.buffers()]
        try:
            if evaluation:
                model.eval()
            used = averages.in_use() if averages else nullcontext()
            with torch.no_grad(), used, group.alone():
                yield
        finally:
            for buffer, value in buffers:
                buffer.copy_(value)
            for module, mode in modes:
                module.training = mode
            vars(model).clear()
            vars(model).update(attributes)

    def _averages_in_use(self) -> Averages | None:
        unused = new_option(self.model.opt, "no_ema")
        return None if unused else self.model._optimization.averages

    def visuals(self) -> Mapping[str, Any]:
        """Return the images of the last batch, by name.

        They are by-products of its step, without averages. With them, what counts is what these
        make of it: a forward pass more, each time that images are shown.
        """
        if self._averages_in_use():
            try:
                with rng.isolated(0), self.without_trace(evaluation=False):
                    self.model.forward()
                    return self._current_visuals()
            except Exception as error:  # noqa: BLE001 - images are for people alone
                if "visuals" not in self._told:
                    self._told.add("visuals")
                    warn(f"Images are shown as the last weights make them: {in_words(error)}")
        return self._current_visuals()

    def _current_visuals(self) -> Mapping[str, Any]:
        nets = networks_of(self.model).values() if group.count() > 1 else ()
        buffers = [(buffer, buffer.clone()) for net in nets for buffer in net.buffers()]
        with group.alone():
            self.model.compute_visuals()
        for buffer, value in buffers:  # statistics of batch norms: each has seen its own images
            buffer.copy_(value)
        visuals: Mapping[str, Any] = self.model.get_current_visuals()
        return visuals

    def validation_losses(self) -> dict[str, Tensor]:
        """Return what the model's own `validation_losses()` does: lower numbers are better."""
        found = self._answer("validation_losses", lambda value: isinstance(value, Number)) or {}
        return {name: torch.as_tensor(value) for name, value in found.items()}

    def validation_pairs(self) -> Pairs:
        """Return images made from a validation batch with those they should equal, by name.

        Called after `forward` and `validation_losses`. Images are (N, C, H, W) in [-1, 1].

        They come from the model's own `validation_pairs()`. Without one: `fake_B` with `real_B`, if
        there are such images of one size, except with `--dataset_mode unaligned`, where `real_B` is
        just any image of domain B. Data sets of plugins are taken to give pairs: a model for one
        that does not returns {} there.
        """
        if (pairs := self._answer("validation_pairs", _is_pair)) is not None:
            return pairs
        return {} if self.model.opt.dataset_mode == "unaligned" else self._made_and_real()

    def validation_sets(self) -> Pairs:
        """Return images that were made and real ones of the same domain, by name, for FID and KID.

        They need not belong together. They come from the model's own `validation_sets()`. Without
        one: the pair without a name, else `fake_B` and `real_B`.
        """
        if (sets := self._answer("validation_sets", _is_pair)) is not None:
            return sets
        pairs = self.validation_pairs()
        return {"": pairs[""]} if "" in pairs else self._made_and_real()

    def _made_and_real(self) -> Pairs:
        made, real = (getattr(self.model, name, None) for name in ("fake_B", "real_B"))
        if isinstance(made, Tensor) and isinstance(real, Tensor) and made.shape == real.shape:
            return {"": (made, real)}
        return {}

    def _answer(self, name: str, fits: Callable[[object], bool]) -> dict[str, Any] | None:
        """Return values that a method of the model's own gives by name; None for anything else."""
        method = own_method(self.model, name, arguments=0)
        found = None if method is None else method()
        if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
            return None
        strange = [key for key, value in found.items() if not fits(value)]
        if strange and name not in self._told:
            self._told.add(name)
            warn(
                f"{type(self.model).__name__}.{name}() returns something else than is asked for "
                f"as {strange[0]!r} (see BaseModel): validation does without all of it."
            )
        return None if strange else dict(found)

    def memory_per_image(self) -> int | None:
        """Return how many bytes a step needs for each image; None if the model does not say."""
        method = own_method(self.model, "memory_per_image", arguments=0)
        found = None if method is None else method()
        return found if isinstance(found, int) and found > 0 else None

    def divisor(self) -> int | None:
        """Return what sides of images must be multiples of; None if a generator does not say."""
        generators = (net for name, net in networks_of(self.model).items() if name[:1] == "G")
        stated = [getattr(net, "divisor", None) for net in generators]
        known = [number for number in stated if isinstance(number, int)]
        return lcm(*known) if stated and len(known) == len(stated) else None

    def broken_networks(self) -> list[str]:
        """Return the names of networks that are infinite or nan somewhere, averages included."""
        averages = self.model._optimization.averages
        tensors = [
            *((name, net.state_dict().values()) for name, net in networks_of(self.model).items()),
            *(averages.values().items() if averages else ()),
        ]
        of_numbers = [
            (name, tensor)
            for name, of_network in tensors
            for tensor in of_network
            if tensor.is_floating_point()
        ]
        names = [name for name, _ in of_numbers]
        sums = [tensor.sum() for _, tensor in of_numbers]  # one bad number spoils them
        every = group.stacked(together(sums, self.model.device))
        finite = every.isfinite().all(0)
        if group.count() > 1:
            norms = together([tensor.norm() for _, tensor in of_numbers], self.model.device)
            self._require_equality(names, every, MOST_DRIFT * group.stacked(norms)[0])
        return sorted({name for name, good in zip(names, finite.tolist(), strict=True) if not good})

    def _require_equality(self, names: Sequence[str], sums: Tensor, most: Tensor) -> None:
        """Raise a UserError if networks are no longer the same in all processes.

        Processors of several kinds round otherwise, so weights drift apart a little. Differences
        of one hundredth of each weight, at random, make one of a hundredth of the norm in the sum.
        """
        differ = ((sums - sums[0]).abs() > most).any(0).tolist()
        if different := sorted(
            {name for name, is_one in zip(names, differ, strict=True) if is_one}
        ):
            raise UserError(
                f"The weights of {', '.join(different)} are not the same in all processes: "
                "something trains them that is no optimiser of torch, or draws other random "
                "numbers in each. Train in one process, or see docs/multi_gpu.md."
            )

    def save_networks(self, label: int | str) -> dict[Path, object]:
        """Return what the model's `save_networks` would write, by file, and all averages."""
        with collecting() as files:
            self.model.save_networks(label)
        averages = self.model._optimization.averages
        paths = average_files.average_files(self.model, label)
        if averages and not all(paths[name] in files for name in averages.nets):
            files |= average_files.states(self.model, label)  # it has a way of its own
        return files

    def outdated_files(self, label: int | str) -> list[Path]:
        """Return what an earlier save of this label may have left that does not belong to it."""
        return average_files.outdated(self.model, label)

    def load_networks(self, label: int | str) -> None:
        """Bring networks and averages back to a save."""
        self.model.load_networks(label)
        average_files.load(self.model, label)

    def save_bytes(self) -> tuple[int, int]:
        """Return about how large the networks of a save are, and what else it holds."""
        averages = self.model._optimization.averages
        nets = [*networks_of(self.model).values(), *(averages.nets.values() if averages else ())]
        tensors = (tensor for net in nets for tensor in net.state_dict().values())
        return sum(t.numel() * t.element_size() for t in tensors), state_bytes(self.model)

    def training_state(self) -> dict[str, Any]:
        """Return all that training changes, except the networks: plain containers and tensors."""
        return training_state(self.model)

    def load_training_state(
        self,
        state: Mapping[str, Any],
        *,
        steps: int | None = None,
        keep_rates: bool = False,
        keep_momentum: bool = False,
        keep_metric: bool = False,
    ) -> None:
        """Take back what `training_state` returned, but what the options decide now (`Kept`).

        `steps` is how many were taken since training began; None: as many as the model knows of.
        """
        kept = Kept(keep_rates, keep_momentum, keep_metric)
        load_training_state(self.model, state, kept, steps)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and list(map(torch.is_tensor, value)) == [True, True]
