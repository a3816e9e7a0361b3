"""What a run is, in five lines before it begins; where to look when it has ended."""

from argparse import Namespace
from collections.abc import Mapping

import torch

from util.base.commands import command
from util.base.log import link_to
from util.base.new_options import new_option
from util.images.sizes import ImageSize
from util.processes import group
from util.storage.run_folder import RunFolder, option_for
from util.training.length import Length


def summary(
    opt: Namespace,
    images: int,
    parameters: Mapping[str, int],
    device: torch.device,
    to_validate: int,
    why_none: str,
) -> str:
    """Return the five lines.

    `images` are those of the data set, `parameters` those of each network; `why_none` says why
    there is nothing `to_validate`.
    """
    batch = f"batches of {opt.batch_size}" if opt.batch_size > 1 else "one by one"
    length = Length.of(opt).in_words
    sizes = ", ".join(f"{name} {_millions(count)}" for name, count in parameters.items())
    lines = {
        "data": f"{images:,} images {batch} in {length}, from {opt.dataroot}",
        "networks": f"{sizes or 'none'} (parameters)",
        "device": f"{_device(device)}, {new_option(opt, 'precision')}{_processes()}",
        "validation": _validation(opt, to_validate) if to_validate else f"none: {why_none}",
        "page": "none: --no_html" if opt.no_html else _page(opt),
    }
    return "\n".join(f"{name + ':':<12}{text}" for name, text in lines.items())


def _processes() -> str:
    return f", {group.count()} processes" if group.count() > 1 else ""


def what_next(opt: Namespace, label: str, phase: str) -> str:
    """Say where the page of a run is that has ended, and how to test it on images of a phase."""
    page = [] if opt.no_html else [f"Losses and images: {_page(opt)}"]
    options = {name: getattr(opt, name) for name in ("dataroot", "name", "model", "dataset_mode")}
    options |= option_for(label)
    options |= size.for_test() if (size := ImageSize.of(vars(opt))) else {}
    options |= {} if phase == "test" else {"phase": phase}
    options["checkpoints_dir"] = opt.checkpoints_dir
    return "\n".join([*page, f"Translate images with:\n  {command('test.py', options)}"])


def _page(opt: Namespace) -> str:
    return link_to(RunFolder(opt.checkpoints_dir, opt.name).web / "index.html")


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"


def _device(device: torch.device) -> str:
    if device.type != "cuda":
        threads = torch.get_num_threads()
        return f"CPU, {threads} thread{'s' * (threads != 1)}"
    memory = torch.cuda.get_device_properties(device).total_memory
    return f"{device}, {torch.cuda.get_device_name(device)}, {memory / 2**30:.0f} GiB"


def _validation(opt: Namespace, images: int) -> str:
    every = new_option(opt, "val_freq")
    return f"{images:,} images after {'each epoch' if every == 1 else f'every {every} epochs'}"
