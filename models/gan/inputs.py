"""Batches as the models take them, and whether what is made of them fits."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

from torch import Tensor

from models.storage.names import Model
from util.base.errors import UserError


def both_sides(model: Model, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Sequence[str]]:
    """Return a batch's source and target on the model's device, and the paths of the source.

    `--direction BtoA` swaps what the data set calls A and B.
    """
    opt = model.opt
    source, target = ("A", "B") if opt.direction == "AtoB" else ("B", "A")
    require_keys(
        model, batch, {source, target, f"{source}_paths"}, "images of both domains",
        "another --dataset_mode, or --model test for single images",
    )  # fmt: skip
    return (
        batch[source].to(model.device, non_blocking=True),
        batch[target].to(model.device, non_blocking=True),
        batch[f"{source}_paths"],
    )


def require_keys(
    model: Model, batch: Mapping[str, Any], keys: Set[str], what: str, instead: str
) -> None:
    """Refuse a batch without these keys, which hold `what` the model needs; use something else."""
    if missing := keys - batch.keys():
        raise UserError(
            f"--model {model.opt.model} needs {what}, but --dataset_mode {model.opt.dataset_mode} "
            f"gives no {' and no '.join(sorted(missing))}. Use {instead}."
        )


def require_equal_size(made: Tensor, target: Tensor) -> None:
    """Refuse images that cannot be compared with what the generator makes of them."""
    if made.shape == target.shape:
        return
    channels = "" if made.shape[1] == target.shape[1] else " and channels"
    sizes = [f"{w}x{h} images of {c} channels" for _, c, h, w in (made.shape, target.shape)]
    raise UserError(
        f"The generator makes {sizes[0]}, to be compared with {sizes[1]}: sizes{channels} "
        "must agree. ResNets round sides up to a multiple of 4: use a --crop_size that is one, or "
        "--preprocess none, which rounds images too. In pairs, both halves must be equally wide."
    )
