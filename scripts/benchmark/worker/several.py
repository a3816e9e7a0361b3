"""Steps of several processes that train together: what they compute, and where time goes."""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.worker.interface import seed_all
from benchmark.worker.training import built, losses_of, noise_batch

LONGEST = 300.0  # seconds that one process waits for another
EXACT_STEPS = 3
NORMS = "norms"  # what is exchanged without another purpose


def join() -> dict[str, Any]:
    """Find the other processes, and return how many there are."""
    from util.processes import group

    group.join("cuda" if torch.cuda.device_count() > 1 else "cpu", LONGEST)
    return {"processes": group.count()}


def exact_steps(name: str, size: int, batch_size: int, file: str, *, whole: bool) -> dict[str, Any]:
    """Take the first steps in float64, and return the losses and a digest of the weights.

    Args:
        name: of the model, which is of no use for float32 afterwards.
        size: sides of the images.
        batch_size: images of all processes together.
        file: gets the weights (.npz), if there is a name.
        whole: take the whole batch alone, as a single process would.
    """
    from models.storage.trained_model import TrainedModel

    model, step = built[name], _step(name, size, batch_size, "whole" if whole else "together")
    for value in vars(model).values():
        if isinstance(value, nn.Module):
            value.double()
    torch.set_default_dtype(torch.float64)
    try:
        for seed in range(EXACT_STEPS):
            step(seed)
            with _as("whole" if whole else "together"):
                names, values = TrainedModel(model).loss_vector()
    finally:
        torch.set_default_dtype(torch.float32)
    weights = {
        f"{net}.{key}": value.detach().cpu().numpy()
        for net in model.model_names
        for key, value in getattr(model, f"net{net}").state_dict().items()
    }
    if file:
        np.savez(file, **weights)
    together = b"".join(weights[key].tobytes() for key in sorted(weights))
    digest = hashlib.blake2b(together).hexdigest()
    return {"losses": dict(zip(names, values.tolist(), strict=True)), "digest": digest}


def step(name: str, size: int, batch_size: int, seed: int, way: str) -> dict[str, Any]:
    """Take one step as train.py does, and return its wall time and losses.

    Args:
        name: of the model.
        size: sides of the images.
        batch_size: images of all processes together.
        seed: of the batch and of what the model draws.
        way: `together`; `apart`, the same share without a word to others; `beside`, the same while
            a message as large as all gradients travels; `whole`, the whole batch as a single
            process takes it.
    """
    take = _step(name, size, batch_size, way)
    with _as(way):
        _fill_pools(built[name], size)
    message = torch.zeros(_gradients_of(built[name]) if way == "beside" else 0)
    began = _now()
    travels = torch.distributed.all_reduce(message, async_op=True) if len(message) else None
    take(seed)
    if travels is not None:
        travels.wait()
    return {"wall": _now() - began, "losses": losses_of(built[name])}


def own_pools(name: str, size: int) -> dict[str, float]:
    """Return the seconds that a model's pools take if each process has its own."""
    from util.image_pool import ImagePool
    from util.processes import group

    images = torch.rand(1, 3, size, size, device=built[name].device)
    pools = [ImagePool(pool.pool_size) for pool in _pools_of(built[name])]
    with group.alone():
        for pool in pools:
            pool.query(images.expand(pool.pool_size, -1, -1, -1))
        began = _now()
        for pool in pools:
            pool.query(images)
        return {"seconds": _now() - began}


def parts(name: str, size: int, batch_size: int, seed: int) -> dict[str, Any]:
    """Take one step together, and return seconds, bytes and messages of each of its exchanges.

    Before each exchange all processes meet: `waiting` is how long this one waited there for the
    slowest, so that what is left is the exchange alone.
    """
    take, watch = _step(name, size, batch_size, "together"), Watch()
    _fill_pools(built[name], size)
    with watch.of_everything():
        watch.meet()
        watch.seconds.clear()
        began = _now()
        take(seed)
        found = {"seconds": watch.seconds, "bytes": watch.bytes, "messages": watch.messages}
        return {"wall": _now() - began, **found}


class Watch:
    """Watch what a step exchanges with other processes, for each purpose."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.bytes: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self._purpose = NORMS
        self._meet = torch.distributed.all_reduce

    @contextmanager
    def of_everything(self) -> Iterator[None]:
        """Watch all steps that are taken in a `with` block."""
        from models.optimization.processes import SharedGradients
        from models.storage.trained_model import TrainedModel
        from util.image_pool import ImagePool
        from util.processes import group

        doors = {
            "gradients": (SharedGradients, "of"),
            "pools": (ImagePool, "query"),
            "losses": (TrainedModel, "loss_vector"),
            "agreement": (group, "highest"),
        }
        with ExitStack() as stack:
            for purpose, (place, name) in doors.items():
                watched = self._purposely(getattr(place, name), purpose)
                stack.enter_context(patch.object(place, name, watched))
            for name in ("all_reduce", "all_gather", "all_to_all_single"):
                exchange = self._exchange(getattr(torch.distributed, name))
                stack.enter_context(patch.object(torch.distributed, name, exchange))
            yield

    def meet(self) -> None:
        """Wait until all processes have come here."""
        began = _now()
        self._meet(torch.zeros(1))
        self.seconds["waiting"] += time.perf_counter() - began

    def _purposely(self, real: Callable[..., Any], purpose: str) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            before, self._purpose = self._purpose, purpose
            began, waited = _now(), self.seconds["waiting"]
            try:
                return real(*arguments)
            finally:
                took = _now() - began - (self.seconds["waiting"] - waited)
                self.seconds[purpose] += took
                self._purpose = before

        return watched

    def _exchange(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **more: Any) -> Any:
            self.meet()
            *_, tensor = (each for each in arguments if isinstance(each, Tensor))  # what is sent
            self.bytes[self._purpose] += tensor.numel() * tensor.element_size()
            self.messages[self._purpose] += 1
            began = _now()
            result = real(*arguments, **more)
            took = _now() - began
            self.seconds[f"{self._purpose}, moved"] += took
            if self._purpose == NORMS:
                self.seconds[NORMS] += took
            return result

        return watched


def _step(name: str, size: int, batch_size: int, way: str) -> Callable[[int], None]:
    """Return a function that takes a step on the batch that a seed gives."""
    from models.storage.trained_model import TrainedModel
    from util.processes import group
    from util.processes.agreement import all_or_none

    model = built[name]
    trained = TrainedModel(model)

    def take(seed: int) -> None:
        batch = noise_batch(size, batch_size, seed)
        if torch.get_default_dtype() is torch.float64:
            batch = {k: v.double() if isinstance(v, Tensor) else v for k, v in batch.items()}
        group.begin_batch(batch_size)
        if way != "whole":
            batch = {key: value[group.share().rows] for key, value in batch.items()}
        seed_all(seed)
        with _as(way):
            all_or_none(lambda: None)
            model.set_input(batch)
            model.optimize_parameters()
            trained.loss_vector()

    return take


@contextmanager
def _as(way: str) -> Iterator[None]:
    from util.processes import group

    with nullcontext() if way == "together" else group.alone():
        yield


def _fill_pools(model: Any, size: int) -> None:
    """Fill pools with images that each process makes, so that steps exchange some."""
    from util.processes import group

    for pool in _pools_of(model):
        pool.images, pool.num_imgs = [], 0
        group.begin_batch(pool.pool_size)
        own = group.share(pool.pool_size).size
        pool.query(torch.rand(own, 3, size, size, device=model.device))


def _gradients_of(model: Any) -> int:
    """Return how many numbers all gradients of a step are."""
    groups = [group for optimizer in model.optimizers for group in optimizer.param_groups]
    return sum(parameter.numel() for group in groups for parameter in group["params"])


def _pools_of(model: Any) -> list[Any]:
    from util.image_pool import ImagePool

    return [value for value in vars(model).values() if isinstance(value, ImagePool)]


def _now() -> float:
    """Return the wall time when all that was asked of a GPU is done."""
    if torch.cuda.device_count() > 1:
        torch.cuda.synchronize()
    return time.perf_counter()
