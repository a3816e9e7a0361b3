"""Training steps on a GPU."""

import warnings
from typing import Any

import torch

from benchmark.inside.interface import seed_all
from benchmark.inside.training import built, noise_batch


def steps(name: str, size: int, batch_size: int, count: int) -> dict[str, float]:
    """Take steps and return the times of one, from the GPU's own clock and on the wall."""
    model, batch = built[name], _pinned(size, batch_size)
    seed_all(0)
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    before.record()
    for _ in range(count):
        model.set_input(batch)
        model.optimize_parameters()
    after.record()
    torch.cuda.synchronize()
    return {"wall": before.elapsed_time(after) / 1000 / count}


def steady_state(name: str, size: int, batch_size: int, count: int) -> dict[str, Any]:
    """Count what steps that have settled should not do: wait for the GPU, ask for memory."""
    model, batch = built[name], _pinned(size, batch_size)
    torch.cuda.synchronize()
    before = torch.cuda.memory_stats()
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(count):
            model.set_input(batch)
            model.optimize_parameters()
    torch.cuda.set_sync_debug_mode("default")
    after = torch.cuda.memory_stats()
    waits = [str(each.message) for each in caught if "synchroniz" in str(each.message)]
    return {
        "waits": len(waits) / count,
        "from_driver": (after["num_device_alloc"] - before["num_device_alloc"]) / count,
        "from_cache": (
            after["allocation.all.allocated"] - before["allocation.all.allocated"]
        ) / count,
        "what_waits": sorted(set(waits))[:3],
    }  # fmt: skip


def _pinned(size: int, batch_size: int) -> dict[str, Any]:
    return {
        key: value.pin_memory() if isinstance(value, torch.Tensor) else value
        for key, value in noise_batch(size, batch_size, seed=0).items()
    }
