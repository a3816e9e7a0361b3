"""Every interface that torch does not promise to keep: nothing else in models/ and data/ names one.

Each has a test of its own in `tests/unit/util/base/test_torch_private.py`.
"""

import multiprocessing.process
from collections.abc import Sequence
from contextlib import AbstractContextManager
from multiprocessing.process import BaseProcess
from traceback import walk_tb
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore as PrefixStore
from torch._C._distributed_c10d import Store as Store
from torch._C._distributed_c10d import TCPStore as TCPStore
from torch.autograd import forward_ad
from torch.optim import Optimizer
from torch.utils.data import DataLoader, _utils
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

PATIENCE = 1.0  # seconds that a worker gets to end by itself


def is_transformed() -> bool:
    """Tell whether torch looks at operations (compiling, tracing, torch.func) and needs its own."""
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def is_watched() -> bool:
    """Tell whether somebody watches or replaces operations by a dispatch mode."""
    return torch._C._len_torch_dispatch_stack() > 0


def has_amx() -> bool:
    """Tell whether this processor has units for products of matrices in half precision."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def sides_of_one_are_no_special_case() -> AbstractContextManager[object]:
    """Let torch.export keep images general whose sides shrink to one pixel inside a network."""
    from torch.fx.experimental import _config  # who exports nothing need not wait for it

    return _config.patch(  # type: ignore[attr-defined]
        backed_size_oblivious=True
    )


def count_hooks(module: nn.Module) -> tuple[int, int]:
    """Return how many functions are called before a module's forward pass, and after it."""
    return len(module._forward_pre_hooks), len(module._forward_hooks)


def has_hook(module: nn.Module, hook: Any) -> bool:
    """Tell whether this function is called after a module's forward pass."""
    return hook in module._forward_hooks.values()


def is_compiled(module: nn.Module) -> bool:
    """Tell whether `module.compile()` was called."""
    return module._compiled_call_impl is not None


def add_to_each(tensors: Sequence[Tensor], number: int) -> None:
    """Add a number to tensors in place, all in one operation."""
    torch._foreach_add_(list(tensors), number)


def multiply_each(tensors: Sequence[Tensor], number: float) -> None:
    """Multiply tensors by a number in place, all in one operation."""
    torch._foreach_mul_(list(tensors), number)


def copy_each(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy values into tensors, all in one operation."""
    if tensors:  # torch refuses empty lists
        with torch.no_grad():
            torch._foreach_copy_(list(tensors), list(values))


def move_each(tensors: Sequence[Tensor], towards: Sequence[Tensor], share: float) -> None:
    """Move tensors in place by a share of the way towards others, all in one operation."""
    if tensors:
        torch._foreach_lerp_(list(tensors), list(towards), share)


def leave_scale_to(optimizer: Optimizer) -> None:
    """Let GradScaler leave the scale of gradients to an optimiser whose steps are fused."""
    optimizer._step_supports_amp_scaling = True  # type: ignore[attr-defined]


def count_as_stepped(optimizer: Optimizer) -> None:
    """Let schedules step before an optimiser does in this process, without a warning."""
    optimizer._opt_called = True  # type: ignore[attr-defined]


def batches_of(loader: DataLoader[Any]) -> Any:
    """Return an iterator over a loader's batches, which `stop_workers` can end early."""
    return loader._get_iterator()


def has_workers(loader: DataLoader[Any]) -> bool:
    """Tell whether a loader's persistent processes have been started."""
    return loader._iterator is not None


def stop_workers(batches: Any) -> None:
    """End the processes behind an iterator from `batches_of`, also those that do not answer.

    One that not even force can end waits for a disk that has gone: Python must not wait for it.
    """
    interval, _utils.MP_STATUS_CHECK_INTERVAL = _utils.MP_STATUS_CHECK_INTERVAL, PATIENCE
    try:
        batches._shutdown_workers()
    finally:
        _utils.MP_STATUS_CHECK_INTERVAL = interval
    for worker in filter(BaseProcess.is_alive, batches._workers):
        worker.kill()
        worker.join(PATIENCE)
        multiprocessing.process._children.discard(worker)  # type: ignore[attr-defined]


def end_half_started(error: BaseException) -> None:
    """End the workers of an iterator that raised this while starting more; torch leaves them."""
    for frame, _ in walk_tb(error.__traceback__):
        batches = frame.f_locals.get("self")
        if isinstance(batches, _MultiProcessingDataLoaderIter):
            batches._shutdown = True  # else it would look for what it had not come to yet
            for worker in getattr(batches, "_workers", []):
                worker.kill()
                worker.join(PATIENCE)


def forget_running_batches(loader: DataLoader[Any]) -> Any | None:
    """Let a loader start workers anew; return the iterator whose workers go on, if there is one."""
    running, loader._iterator = loader._iterator, None
    return running


def shared_bytes(size: int) -> torch.UntypedStorage:
    """Return memory that processes share; the system provides what is written to."""
    storage: torch.UntypedStorage = torch.UntypedStorage._new_shared(size)
    return storage


def address_of(storage: torch.UntypedStorage) -> int:
    """Return what tells a storage from all others that are alive, whatever device it is on."""
    return int(storage._cdata)
