"""What the built-in networks are put together from: convolutions with norms, padding."""

import functools
from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.fast.batch_norm import BatchNorm2d, count_batches
from models.architectures.fast.convolutions import Conv2d, ConvTranspose2d, with_dead_biases
from models.architectures.fast.instance_norm import InstanceNorm2d
from models.architectures.synchronised import SyncBatchNorm2d
from util.base.errors import ChoiceError, UserError, suggest
from util.base.torch_private import has_hook
from util.processes import group

NormLayer = Callable[[int], nn.Module]


class Identity(nn.Module):
    """Return the input: stands where `--norm none` leaves a norm out."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` unchanged."""
        return x


# The partials' `func` is part of the interface: third-party networks compare it with
# nn.InstanceNorm2d to decide whether a convolution needs a bias.
NORM_LAYERS: dict[str, NormLayer] = {
    "batch": functools.partial(nn.BatchNorm2d, affine=True, track_running_stats=True),
    "syncbatch": functools.partial(SyncBatchNorm2d, affine=True, track_running_stats=True),
    "instance": functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False),
    "none": lambda _channels: Identity(),
}


def get_norm_layer(norm_type: str = "instance") -> NormLayer:
    """Return the constructor of a norm: batch, syncbatch, instance or none."""
    if norm_type not in NORM_LAYERS:
        hint = suggest(norm_type, NORM_LAYERS)
        raise ChoiceError(f"normalization layer [{norm_type}] is not found. {hint}")
    if norm_type == "syncbatch" and group.is_of_script():
        return functools.partial(nn.SyncBatchNorm, affine=True, track_running_stats=True)
    return NORM_LAYERS[norm_type]


def needs_bias(norm_layer: NormLayer) -> bool:
    """Tell whether a convolution before this norm carries a bias: exactly before instance norm.

    Batch norm brings its own shift; for `none` this is the reference's rule.
    """
    return _made_by(norm_layer) is nn.InstanceNorm2d


def conv_norm_act(
    conv: type[Conv2d] | type[ConvTranspose2d],
    channels_in: int,
    channels_out: int,
    norm_layer: NormLayer,
    activation: nn.Module | None = None,
    **settings: Any,
) -> list[nn.Module]:
    """Return a convolution, its norm and the activation behind it as layers of a network.

    torch's batch norm and plain instance norm are built as ours, which compute the same faster.
    The places of the layers, which decide a checkpoint's keys, do not depend on the norm.
    """
    settings.setdefault("bias", needs_bias(norm_layer))
    kind, given = _made_by(norm_layer), getattr(norm_layer, "keywords", {})
    is_plain = not (given.get("affine") or given.get("track_running_stats"))
    convolution = conv(channels_in, channels_out, **settings)
    if kind is nn.InstanceNorm2d and is_plain:
        convolution.has_dead_bias = True
        norm_layer = functools.partial(InstanceNorm2d, **given)
    elif kind is nn.BatchNorm2d:
        norm_layer = functools.partial(BatchNorm2d, **given)
    norm = norm_layer(channels_out)
    guard_instance_norm(norm)
    return [convolution, norm, *([] if activation is None else [activation])]


def _made_by(norm_layer: NormLayer) -> object:
    return norm_layer.func if isinstance(norm_layer, functools.partial) else norm_layer


class ReflectionPad2d(nn.ReflectionPad2d):
    """Pad with the mirrored border.

    torch's own backward pass adds up in any order on GPUs, and refuses to under
    `--deterministic`; there the same padding is put together from flipped strips.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pad (N, C, H, W)."""
        if not torch.jit.is_scripting():
            needs_strips = x.is_cuda and torch.are_deterministic_algorithms_enabled()
            if needs_strips:
                return mirror_border(x, self.padding)
        return F.pad(x, self.padding, "reflect")


def mirror_border(x: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """Return (N, C, H, W) with so many mirrored pixels at the left, right, top and bottom."""
    left, right, top, bottom = padding
    width, height = x.shape[-1], x.shape[-2]
    before, after = x[..., 1 : left + 1], x[..., width - 1 - right : width - 1]
    x = torch.cat([before.flip(-1), x, after.flip(-1)], dim=-1)
    before, after = x[..., 1 : top + 1, :], x[..., height - 1 - bottom : height - 1, :]
    return torch.cat([before.flip(-2), x, after.flip(-2)], dim=-2)


def pad_by_one(padding_type: str) -> tuple[list[nn.Module], int]:
    """Return the layers that pad by one pixel, and by how many the convolution itself pads."""
    match padding_type:
        case "reflect":
            return [ReflectionPad2d(1)], 0
        case "replicate":
            return [nn.ReplicationPad2d(1)], 0
        case "zero":
            return [], 1
    hint = suggest(padding_type, ["reflect", "replicate", "zero"])
    raise ChoiceError(f"padding [{padding_type}] is not implemented. {hint}")


class BuiltInNetwork(nn.Module):
    """What the built-in networks share: a check of sizes, a memory layout, one count of batches.

    Attributes:
        channels_last_on: devices on which to compute in this layout, which convolutions like.
    """

    def __init__(self, *, channels_last_on: Collection[str] = ("cpu",)) -> None:
        super().__init__()
        self.channels_last_on = channels_last_on

    def require_size(self, height: int, width: int) -> None:
        """Raise a UserError if images of this size cannot be taken."""

    def run_layers(self, layers: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Run images, (N, C, H, W), through the layers; what comes out is contiguous."""
        self.require_size(*x.shape[-2:])
        if x.device.type in self.channels_last_on and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        try:
            made = layers(x).contiguous()
        except RuntimeError:
            self._require_channels(x.shape[-3])
            raise
        count_batches(self)
        return with_dead_biases(self, made)

    def _require_channels(self, given: int) -> None:
        """Raise a UserError if images have other channels than the first convolution takes."""
        first = next(module for module in self.modules() if isinstance(module, nn.Conv2d))
        if given != first.in_channels:
            raise UserError(
                f"This network takes images of {first.in_channels} channels, but these have "
                f"{given}. --input_nc and --output_nc must say what the data set gives: 3 for "
                "colours, 1 for grey; a data set of your own may give others."
            )


def guard_instance_norm(net: nn.Module) -> None:
    """Keep the backward pass of torch's own instance norm right on the CPU.

    With batch 1 and a gradient in channels_last, torch 2.13 and 2.15 silently compute a wrong
    input gradient (as large as the gradient itself). The guard makes that gradient contiguous,
    without a copy where it is. Calling it twice does no harm.
    """
    for module in net.modules():
        is_torchs = isinstance(module, nn.InstanceNorm2d) and not isinstance(module, InstanceNorm2d)
        if is_torchs and not has_hook(module, _contiguous_gradient):
            module.register_forward_hook(_contiguous_gradient)


def _contiguous_gradient(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
    is_affected = output.requires_grad and output.device.type == "cpu" and output.shape[0] == 1
    if not torch.jit.is_scripting() and is_affected:
        output.register_hook(Tensor.contiguous)
