"""Layers that see the batch of all processes: what they compute does not depend on their number."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.architectures.fast.batch_norm import BatchNorm2d
from models.architectures.fast.memory_format import layout_of
from util.processes import group


class SyncBatchNorm2d(BatchNorm2d):
    """Batch norm whose statistics are those of all processes' batches together.

    It runs on every device, while torch's own refuses the CPU. With one process it is
    `nn.BatchNorm2d`, whose keys it has.
    """

    is_counted_with_others = False

    def normalise(self, x: Tensor) -> Tensor:
        """Normalise (N, C, ...) over all dimensions but C."""
        uses_batch = self.training or self.running_mean is None
        if group.count() == 1 or not uses_batch:
            return super().normalise(x)
        with torch.autocast(x.device.type, enabled=False):  # half precision cannot count so far
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            return self._normalise_together(wide).to(x.dtype)

    def _normalise_together(self, x: Tensor) -> Tensor:
        """Normalise by sums of values and of their squares, which travel in one message.

        They are small, and added up in float64: their differences are as exact as they are.
        """
        channels, dimensions = x.shape[1], [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        is_mine = float(group.share(x.shape[0]).counts)  # what counts nowhere is in no mean either
        values = is_mine * x.numel() / channels
        own_mean = x.mean(dimensions)
        centred = x - own_mean.view(shape)
        own_mean, spread = own_mean.double(), centred.square().mean(dimensions).double()
        own = torch.cat([own_mean, spread + own_mean.square(), own_mean.new_ones(1)])
        totals = _SumOverProcesses.apply(values * own)
        sums, squares, count = totals.split([channels, channels, 1])
        mean = sums / count
        variance = squares / count - mean.square()
        if self.track_running_stats:
            self._remember(mean.detach(), (variance * count / (count - 1)).detach())
        scale = torch.rsqrt(variance + self.eps)
        shift = (own_mean - mean) * scale
        if self.weight is not None:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        return centred * scale.to(x.dtype).view(shape) + shift.to(x.dtype).view(shape)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), momentum)
        self.running_var.lerp_(variance.to(self.running_var), momentum)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take what any of torch's batch norms takes: this may stand for each of them."""


class _SumOverProcesses(torch.autograd.Function):
    """Add up a tensor over all processes; the gradient is added up likewise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return group.add_up(x.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _SumOverProcesses.apply(gradient)


# Dropout of values, and of whole channels, as one process computes it.
DROPOUTS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Dropout: F.dropout,
    nn.Dropout1d: F.dropout1d,
    nn.Dropout2d: F.dropout2d,
    nn.Dropout3d: F.dropout3d,
}


class SharedDropout(nn.Dropout):
    """Dropout that draws the mask for the batch of all processes, and uses its own rows of it."""

    def __init__(self, p: float = 0.5, kind: type[nn.Module] = nn.Dropout) -> None:
        super().__init__(p)
        self.kind = kind

    def forward(self, input: Tensor) -> Tensor:
        """Drop values of (N, ...), or its channels."""
        if group.count() == 1 or not self.training:
            return DROPOUTS[self.kind](input, self.p, self.training)
        of_channels = [*input.shape[:2], *[1] * (input.dim() - 2)]
        drawn = input.shape if self.kind is nn.Dropout else of_channels
        shape = group.rows_of_all(drawn)
        whole = torch.empty(shape, dtype=input.dtype, device=input.device)
        if input.dim() == 4:  # masks are drawn as values lie in memory
            whole = whole.contiguous(memory_format=layout_of(input))
        mask = group.own_rows(whole.bernoulli_(1 - self.p))
        return input * (mask / (1 - self.p))


def sees_others(net: nn.Module) -> bool:
    """Tell whether layers of a network compute with the batches of other processes."""
    layers = (SyncBatchNorm2d, SharedDropout, nn.SyncBatchNorm)
    return group.count() > 1 and any(isinstance(layer, layers) for layer in net.modules())


def synchronise(net: nn.Module) -> bool:
    """Let batch norms and dropout of a network see all processes' batches.

    Returns:
        Whether batch norms had to be exchanged.
    """
    had_batch_norms = False
    for parent in list(net.modules()):
        for name, layer in list(parent.named_children()):
            is_synchronised = isinstance(layer, SyncBatchNorm2d | nn.SyncBatchNorm)
            if isinstance(layer, _BatchNorm) and not is_synchronised:
                setattr(parent, name, _synchronised(layer))
                had_batch_norms = True
            elif type(layer) in DROPOUTS:
                shared = SharedDropout(float(layer.p), type(layer))  # type: ignore[arg-type]
                setattr(parent, name, shared.train(layer.training))
    return had_batch_norms


def _synchronised(norm: _BatchNorm) -> SyncBatchNorm2d:
    """Return a batch norm with the weights and statistics of another: the very same tensors."""
    made = SyncBatchNorm2d(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats,
        device="meta",
    )  # fmt: skip
    made._parameters.update(norm._parameters)
    made._buffers.update(norm._buffers)
    return made.train(norm.training)
