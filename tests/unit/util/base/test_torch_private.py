"""Each private interface of torch is there, and does what we rely on: one test for each."""

import multiprocessing
import os
import signal
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from util.base import torch_private


def seen_inside(call: Any) -> bool:
    """Return what `is_transformed` says while `call` runs a function that asks it."""
    answers = []

    def ask(x: Tensor) -> Tensor:
        answers.append(torch_private.is_transformed())
        return x * 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.jit is on its way out
        call(ask)
    return answers[0]


def in_forward_mode(ask: Any) -> None:
    with forward_ad.dual_level():
        ask(torch.ones(2))


@pytest.mark.parametrize(
    "call",
    [
        lambda ask: torch.jit.trace(ask, torch.ones(2), check_trace=False),
        lambda ask: torch.func.vmap(ask)(torch.ones(2)),
        in_forward_mode,
    ],
    ids=["tracing", "torch.func", "forward mode"],
)
def test_transformations_are_noticed(call: Any) -> None:
    assert seen_inside(call)
    assert not torch_private.is_transformed()


def test_dispatch_modes_are_noticed() -> None:
    class Watching(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            answers.append(True)
            return func(*args, **(kwargs or {}))

    answers: list[bool] = []
    assert not torch_private.is_watched()
    with Watching():
        assert torch_private.is_watched()


def test_amx_is_what_the_processor_says() -> None:
    # The one interface that may be missing: then slower ways are taken.
    assert hasattr(torch.cpu, "_is_amx_tile_supported")
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            assert torch_private.has_amx() == ("amx_tile" in file.read())


def test_hooks_are_counted_and_found() -> None:
    def hook(*_: Any) -> None:
        """Do nothing."""

    module = nn.Identity()
    assert torch_private.count_hooks(module) == (0, 0)
    module.register_forward_pre_hook(hook)
    assert torch_private.count_hooks(module) == (1, 0)
    assert not torch_private.has_hook(module, hook)
    module.register_forward_hook(hook)
    assert torch_private.count_hooks(module) == (1, 1)
    assert torch_private.has_hook(module, hook)


@pytest.mark.slow  # torch's compiler takes long to import
def test_compiled_modules_are_recognised() -> None:
    module = nn.Identity()
    assert not torch_private.is_compiled(module)
    module.compile(backend="eager")
    assert torch_private.is_compiled(module)
    assert not torch_private.is_compiled(nn.Sequential(module))


def test_lists_of_tensors_change_in_place() -> None:
    tensors = [torch.ones(2), torch.zeros((), dtype=torch.long)]
    torch_private.add_to_each(tensors, 3)
    assert [tensor.tolist() for tensor in tensors] == [[4, 4], 3]
    torch_private.multiply_each(tensors[:1], 0.5)
    assert tensors[0].tolist() == [2, 2]
    torch_private.move_each(tensors[:1], [torch.tensor([4.0, 0.0])], 0.25)
    assert tensors[0].tolist() == [2.5, 1.5]
    weight = nn.Parameter(torch.zeros(2))
    torch_private.copy_each([weight, tensors[1]], [tensors[0], torch.tensor(7)])
    assert (weight.tolist(), int(tensors[1])) == ([2.5, 1.5], 7)
    torch_private.copy_each([], [])
    torch_private.move_each([], [], 0.5)


def test_fused_optimisers_get_the_scale() -> None:
    class Stepping(torch.optim.SGD):
        """What GradScaler hands over to one that says so."""

        seen: Any = None

        def step(self, closure: Any = None) -> Any:
            self.seen = getattr(self, "grad_scale", None)

    weight = nn.Parameter(torch.ones(2))
    for supports in (False, True):
        optimizer = Stepping([weight])
        scaler = GradScaler("cpu", init_scale=4.0)
        if supports:
            torch_private.leave_scale_to(optimizer)
        scaler.scale(weight.sum()).backward()
        scaler.step(optimizer)
        assert (optimizer.seen is not None) is supports


@pytest.mark.parametrize("counted", [False, True])
def test_schedules_may_step_first(counted: bool) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    if counted:
        torch_private.count_as_stepped(optimizer)
        schedule.step()
    else:
        with pytest.warns(UserWarning, match="lr_scheduler.step"):
            schedule.step()


@pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks")
def test_workers_end_when_asked_to() -> None:
    loader: Any = DataLoader(torch.arange(4), num_workers=1)  # type: ignore[arg-type]
    batches = torch_private.batches_of(loader)
    assert int(next(batches)) == 0
    workers = list(batches._workers)
    torch_private.stop_workers(batches)
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks")
def test_workers_that_do_not_answer_are_ended_by_force() -> None:
    loader: Any = DataLoader(torch.arange(4), num_workers=1)  # type: ignore[arg-type]
    batches = torch_private.batches_of(loader)
    (worker,) = batches._workers
    os.kill(worker.pid, signal.SIGSTOP)
    torch_private.stop_workers(batches)
    assert worker.exitcode == -signal.SIGKILL
    assert worker not in multiprocessing.active_children()


@pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks")
def test_workers_end_if_the_next_one_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, started = os.fork, list[int]()

    def fork_once() -> int:
        if started:
            raise BlockingIOError("on purpose")
        started.append(fork())
        return started[0]

    monkeypatch.setattr(os, "fork", fork_once)
    before = multiprocessing.active_children()
    with pytest.raises(BlockingIOError) as caught:
        torch_private.batches_of(DataLoader(torch.arange(4), num_workers=2))  # type: ignore[arg-type]
    torch_private.end_half_started(caught.value)
    assert len(started) == 1
    assert multiprocessing.active_children() == before


@pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks")
def test_workers_that_go_on_are_found_and_forgotten() -> None:
    loader: Any = DataLoader(torch.arange(2), num_workers=1, persistent_workers=True)  # type: ignore[arg-type]
    assert torch_private.forget_running_batches(loader) is None
    assert not torch_private.has_workers(loader)
    batches = iter(loader)
    assert torch_private.has_workers(loader)
    assert torch_private.forget_running_batches(loader) is batches
    assert torch_private.forget_running_batches(loader) is None
    torch_private.stop_workers(batches)


def test_shared_bytes_are_seen_by_other_processes() -> None:
    memory = torch_private.shared_bytes(3)
    assert memory.is_shared()
    values = torch.tensor([], dtype=torch.uint8).set_(memory)
    values.zero_()
    child = torch.multiprocessing.get_context("fork").Process(target=values.fill_, args=(7,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that forking beside threads is dangerous
        child.start()
    child.join()
    assert values.tolist() == [7, 7, 7]


def test_exported_programs_take_sides_that_shrink_to_one_pixel() -> None:
    class Pool(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            halved = x[:, ::2]
            return halved + halved.sum(dim=1, keepdim=True)

    side = 2 * torch.export.Dim("half", min=1)
    with torch_private.sides_of_one_are_no_special_case():
        program = torch.export.export(Pool(), (torch.ones(1, 6),), dynamic_shapes=({1: side},))
    assert program.module()(torch.ones(1, 2)).tolist() == [[2]]
