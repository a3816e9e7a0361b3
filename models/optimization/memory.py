"""How much memory a backward pass needs."""

from collections.abc import Callable

import torch
from torch import Tensor

from util.base.torch_private import address_of


def graph_bytes(compute: Callable[[], Tensor]) -> int:
    """Return how many bytes a computation keeps for its backward pass, weights included.

    On the device `meta` nothing is computed, and no memory is taken.
    """
    kept: dict[int, torch.UntypedStorage] = {}  # by address; kept here, so that none comes again

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[address_of(storage)] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        compute()
    return sum(storage.nbytes() for storage in kept.values())
