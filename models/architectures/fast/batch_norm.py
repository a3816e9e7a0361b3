"""Batch norm as the built-in networks compute it: fewer operations, the same numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from util.base.torch_private import add_to_each, is_transformed


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that leaves counting to `count_batches`; the count is only for checkpoints."""

    parts = 1  # batches that were put together into one, and are normalised each on its own

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over N, H and W."""
        if not torch.jit.is_scripting():
            if self.parts == 1:
                return self.normalise(input)
            return torch.cat([self.normalise(part) for part in input.chunk(self.parts)])
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, self.momentum, self.eps,  # type: ignore[arg-type]
        )  # fmt: skip

    def normalise(self, x: Tensor) -> Tensor:
        """Normalise one batch."""
        if not self.is_counted_with_others or is_transformed():
            return super().forward(x)
        self._check_input_dim(x)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training, self.momentum or 0.0, self.eps,
        )  # fmt: skip

    @property
    def is_counted_with_others(self) -> bool:
        """Tell whether the statistics are kept as usual, so that the count decides nothing."""
        return (
            self.momentum is not None and self.track_running_stats and self.running_mean is not None
        )


def count_batches(net: nn.Module) -> None:
    """Let all batch norms of a built-in network that is being trained count one batch more."""
    norms = [norm for norm in net.modules() if isinstance(norm, BatchNorm2d) and norm.training]
    counts = [norm.num_batches_tracked for norm in norms if norm.is_counted_with_others]
    if counts and not is_transformed():
        add_to_each(counts, norms[0].parts)  # type: ignore[arg-type]


@contextmanager
def separate_batch_statistics(net: nn.Module, parts: int) -> Iterator[None]:
    """Take a batch for several that were put together: batch norm keeps them apart, in order."""
    norms = [module for module in net.modules() if isinstance(module, BatchNorm2d)]
    for norm in norms:
        norm.parts = parts
    try:
        yield
    finally:
        for norm in norms:
            norm.parts = 1
