"""Options for several processes: how many there will be, on which GPU, with how many images."""

from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterator, Sequence

import torch

from util.base import system
from util.base.errors import UserError
from util.base.new_options import NewOption, new_option
from util.processes import launching


def add_options(parser: ArgumentParser, *, training: bool = False) -> None:
    """Add the options for several processes."""
    title = "several processes (see docs/multi_gpu.md)"
    add = parser.add_argument_group(title).add_argument
    add("--processes", action=NewOption, help="start so many of these on this machine, which share "
        "the images; --gpu_ids 0,1 starts one for each GPU, and torchrun any number")  # fmt: skip
    add("--dist_timeout", action=NewOption, help="seconds that a process waits for the others")
    if training:
        add("--dist_compress", action=NewOption, help="bf16: gradients travel in 16 bits between "
            "processes, for slow networks")  # fmt: skip


def own_gpus(gpu_ids: Sequence[int]) -> list[int]:
    """Return the GPU of this process if torchrun has started it among others, else all given.

    The n-th process of a machine takes the n-th GPU of `--gpu_ids`; without a list, GPU n.
    """
    number, here = system.processes_here()
    if not gpu_ids or system.processes_started() == 1:
        return list(gpu_ids)
    if list(gpu_ids) == [0]:  # the default
        gpu_ids = range(torch.cuda.device_count())
    if len(gpu_ids) < here:
        raise UserError(
            f"{here} processes were started on this machine for {len(gpu_ids)} GPUs. Start as many "
            "(torchrun --nproc_per_node), or give --gpu_ids -1 for the CPU."
        )
    return [gpu_ids[number]]


def settle(
    opt: Namespace, gpu_ids: Sequence[int], given: Collection[str], *, training: bool
) -> list[str]:
    """Let `--batch_size` be that of all processes; return what is wrong."""
    count, asked = launching.count_of(opt, gpu_ids), new_option(opt, "processes")
    problems = []
    if asked < 1:
        problems.append(f"--processes {asked}: give 1 or more.")
    if asked > 1 and len(gpu_ids) not in (0, 1, asked):
        problems.append(
            f"--processes {asked} and --gpu_ids {opt.gpu_ids}: there is one process for each GPU. "
            "Leave --processes out."
        )
    if asked > 1 and len(gpu_ids) == 1 and system.processes_started() == 1:
        problems.append(
            f"--processes {asked} on one GPU: give a GPU for each, as in --gpu_ids 0,1, or "
            "--gpu_ids -1 for the CPU."
        )
    if asked > 1 and "processes" in given and system.processes_started() not in (1, asked):
        problems.append(
            f"--processes {asked}, but torchrun has started {count} processes. Leave one of them "
            "out."
        )
    if new_option(opt, "dist_timeout") <= 0:
        problems.append(f"--dist_timeout {new_option(opt, 'dist_timeout'):g}: give seconds.")
    if (compress := new_option(opt, "dist_compress")) not in ("none", "bf16"):
        problems.append(f"--dist_compress {compress} is not known: give bf16, or none.")
    if training and not problems and count > 1:
        problems += _divide(opt, count, is_given="batch_size" in given)
    return problems


def notes(opt: Namespace, gpu_ids: Sequence[int], given: Collection[str]) -> Iterator[str]:
    """Yield what people should know about the batches of a training."""
    count = launching.count_of(opt, gpu_ids)
    if count > 1 and "batch_size" not in given and not opt.continue_train:
        each = opt.batch_size // count
        yield (
            f"--batch_size is not given: {opt.batch_size}, {each} image{'s' * (each > 1)} in each "
            f"of {count} processes."
        )


def _divide(opt: Namespace, count: int, *, is_given: bool) -> list[str]:
    """Make a batch divisible; one that nobody chose is 1 image for each process, or the default."""
    size = opt.batch_size
    if size % count == 0:
        return []
    if not is_given and not opt.continue_train:
        opt.batch_size = -(-size // count) * count
        return []
    divisors = ", ".join(str(n) for n in range(1, size + 1) if size % n == 0)
    source = "" if is_given else ", which the continued run has,"
    return [
        f"--batch_size {size}{source} is that of all processes together, and {count} of them "
        f"cannot share it evenly. Give a multiple of {count}; {size} can be shared by {divisors} "
        f"process{'es' * (size > 1)}."
    ]
