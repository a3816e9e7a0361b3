"""Steps of training, on the CPU or a GPU: times, losses, gradients, memory."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.worker.interface import create_model, seed_all, timed

built: dict[str, Any] = {}  # by the name that the parent gave


def build(name: str, argv: list[str], load: str = "") -> None:
    """Build a model; `load` is the label of the checkpoint that it starts from."""
    built[name] = create_model(argv, seed=0)
    if load:
        built[name].load_networks(load)


def save(name: str, label: str) -> None:
    """Write a model's networks, for the other side."""
    built[name].save_networks(label)


def forget(name: str) -> None:
    """Free a model."""
    del built[name]


def step(name: str, size: int, seed: int) -> dict[str, Any]:
    """Take a step on the batch that `seed` gives, and return its times and losses."""
    model = built[name]
    batch = noise_batch(size, 1, seed)
    seed_all(seed)  # of dropout and the image pools
    with timed() as times:
        model.set_input(batch)
        model.optimize_parameters()
    return {**times, "losses": losses_of(model)}


def step_with_gradients(
    name: str, size: int, seed: int, file: str, *, double: bool
) -> dict[str, Any]:
    """Take a step, write the gradients that the optimisers saw to `file` (.npz).

    Args:
        name: of the model.
        size: sides of the images.
        seed: of the batch, and of what the model draws.
        file: gets one array for each parameter that has a gradient.
        double: compute in float64. The model is of no use for float32 afterwards.
    """
    model, batch = built[name], noise_batch(size, 1, seed)
    gradients: dict[str, Tensor] = {}
    if double:
        for value in vars(model).values():
            if isinstance(value, nn.Module):
                value.double()
        batch = {key: value.double() if isinstance(value, Tensor) else value
                 for key, value in batch.items()}  # fmt: skip
        torch.set_default_dtype(torch.float64)
    names = _names_of_parameters(model)
    hooks = [
        optimizer.register_step_pre_hook(lambda of, *_: gradients.update(_gradients(of, names)))
        for optimizer in model.optimizers
    ]
    seed_all(seed)
    try:
        model.set_input(batch)
        model.optimize_parameters()
    finally:
        torch.set_default_dtype(torch.float32)
        for hook in hooks:
            hook.remove()
    arrays: dict[str, Any] = {key: value.numpy() for key, value in gradients.items()}
    np.savez(file, **arrays)
    return {"losses": losses_of(model), "parameters": sorted(names.values())}


def _names_of_parameters(model: Any) -> dict[int, str]:
    return {
        id(parameter): f"{name}.{key.removeprefix('module.')}"
        for name in model.model_names
        for key, parameter in getattr(model, f"net{name}").named_parameters()
    }


def _gradients(optimizer: torch.optim.Optimizer, names: dict[int, str]) -> dict[str, Tensor]:
    return {
        names[id(parameter)]: parameter.grad.detach().clone().contiguous()
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    }


def share_of_convolutions(name: str, size: int, seed: int) -> dict[str, float]:
    """Take a step, and return which part of its processor time convolutions take."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step(name, size, seed)
    times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    return {"share": sum(t for key, t in times.items() if "conv" in key) / sum(times.values())}


def noise_batch(size: int, batch_size: int, seed: int) -> dict[str, Any]:
    """Return what a data set of pairs gives: A and B (N, 3, size, size) in [-1, 1]."""
    random = torch.Generator().manual_seed(seed)
    a, b = (torch.rand(batch_size, 3, size, size, generator=random) * 2 - 1 for _ in range(2))
    names = [f"noise_{number}" for number in range(batch_size)]
    return {"A": a, "B": b, "A_paths": names, "B_paths": names}


def losses_of(model: Any) -> dict[str, float]:
    """Return the losses as numbers."""
    return {name: float(value) for name, value in model.get_current_losses().items()}


def peak_memory() -> dict[str, Any]:
    """Return the largest amount of memory that this process has had, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return {"megabytes": int(found[1]) / 1024}


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
