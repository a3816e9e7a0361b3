"""Averages of weights over the steps: `--ema`.

What a generator makes changes from step to step, and the mean of its last weights often makes
something better (Yazici et al. 2019, "The Unusual Effectiveness of Averaging in GAN Training").
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from weakref import WeakMethod

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from models.architectures.fast.memory_format import laid_out_as
from models.optimization.accumulation import parameters_of
from util.base.log import say
from util.base.torch_private import copy_each, move_each


class Averages:
    """Let averages follow the weights of networks.

    A batch in which an optimiser has changed a network moves its averages once, whoever called the
    optimiser, and however often it has stepped:

        average = decay * average + (1 - decay) * weight

    Parameters have averages. Buffers, as the statistics of batch norm, are the network's own.

    A batch is over when the next one begins, or when somebody asks for the averages. In a training
    loop that never calls `begin_batch` (one of a fork) each step counts as a batch.

    Attributes:
        nets: the networks, by name; they may compute with their averages, see `in_use`.
    """

    def __init__(self, decay: float, nets: Mapping[str, nn.Module]) -> None:
        self.decay, self.nets = decay, dict(nets)
        self._values: dict[str, list[Tensor]] = {}
        self._changed: set[str] = set()  # which networks this batch has changed
        self._knows_batches = self._told = False
        for name, net in self.nets.items():
            self.start(name, net)
        # Of all optimisers, of which a model need not list each; the hook does not keep us alive.
        _forget_dead_hooks()
        method: WeakMethod[Callable[[Optimizer], None]] = WeakMethod(self._note)
        _hooks.append((method, register_optimizer_step_post_hook(_call_while_alive(method))))

    def start(self, name: str, where: nn.Module) -> None:
        """Let the averages of a network begin with the weights of a module that is made like it."""
        pairs = zip(weights_of(self.nets[name]), weights_of(where), strict=True)
        self._values[name] = [laid_out_as(weight, value) for weight, value in pairs]
        self._changed.discard(name)

    def begin_batch(self) -> None:
        """Tell that a new batch begins, and so that the one before is over."""
        self._knows_batches = True
        self._follow()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Lend the networks with their averages in the place of weights; they come back unchanged.

        Values are copied, tensors stay: compiled networks and optimisers notice nothing.
        """
        self._follow()
        tensors = [t for net in self.nets.values() for t in (*net.parameters(), *net.buffers())]
        before = [tensor.detach().clone() for tensor in tensors]
        try:
            for name, net in self.nets.items():
                copy_each(weights_of(net), self._values[name])
            yield
        finally:
            copy_each(tensors, before)

    def values(self) -> dict[str, list[Tensor]]:
        """Return the averages of each network."""
        self._follow()
        return self._values

    def _note(self, optimizer: Optimizer) -> None:
        """Note whose weights an optimiser has changed."""
        trained = set(map(id, parameters_of(optimizer)))
        for name, net in self.nets.items():
            if any(id(parameter) in trained for parameter in net.parameters()):
                self._changed.add(name)
        if self._changed and not self._knows_batches:
            self._tell_of_steps()
            self._follow()

    def _tell_of_steps(self) -> None:
        if not self._told:
            self._told = True
            say(
                "--ema: every step of an optimiser counts as a batch, since this training loop "
                "does not say when one begins (TrainedModel(model).begin_batch() says it)."
            )

    @torch.no_grad()
    def _follow(self) -> None:
        """Take the step of the batch that is over, if there is one to take."""
        for name in self._changed:
            move_each(self._values[name], weights_of(self.nets[name]), 1 - self.decay)
        self._changed.clear()


# Of all averages there were. One that ends may do so while torch goes through its hooks, so its
# own is not removed then, but when the next averages begin.
_hooks: list[tuple[WeakMethod[Callable[[Optimizer], None]], RemovableHandle]] = []


def _forget_dead_hooks() -> None:
    for method, handle in [each for each in _hooks if each[0]() is None]:
        handle.remove()
        _hooks.remove((method, handle))


def weights_of(net: nn.Module) -> list[Tensor]:
    """Return what of a network has averages: parameters, unless they count something."""
    return [p for p in net.parameters() if p.is_floating_point() or p.is_complex()]


def _call_while_alive(method: WeakMethod[Callable[[Optimizer], None]]) -> Callable[..., None]:
    def call(optimizer: Optimizer, *_: object) -> None:
        if (alive := method()) is not None:
            alive(optimizer)

    return call
