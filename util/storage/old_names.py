"""Names that options had from 2017 to 2019, and what they are called today."""

from collections.abc import Mapping
from typing import Any

OLD_NAMES: Mapping[str, str] = {
    "which_model_netG": "netG", "which_model_netD": "netD",
    "which_direction": "direction", "which_epoch": "epoch",
    "loadSize": "load_size", "fineSize": "crop_size", "resize_or_crop": "preprocess",
    "batchSize": "batch_size", "nThreads": "num_threads", "device_ids": "gpu_ids",
    "niter": "n_epochs", "niter_decay": "n_epochs_decay",
    "how_many": "num_test", "ntest": "num_test",
    "identity": "lambda_identity",
    "lambda_A": "lambda_L1",  # of pix2pix; CycleGAN has its own
    "display_single_pane_ncols": "display_ncols",
}  # fmt: skip

# Values that an option had under the name that it had then.
OLD_VALUES: Mapping[str, Mapping[str, str]] = {
    "model": {"one_direction_test": "test"},
    "resize_or_crop": {"": "none"},
    "lr_policy": {"lambda": "linear"},
}

# Switches that are a value of another option now: that option, its value with and without them.
OLD_SWITCHES: Mapping[str, tuple[str, Any, Any]] = {
    "no_lsgan": ("gan_mode", "vanilla", "lsgan"),
    "align_data": ("dataset_mode", "aligned", "unaligned"),
    "use_dropout": ("no_dropout", False, True),
}


def with_old_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, and those that had another name under that one too."""
    return {old: values[new] for old, new in OLD_NAMES.items() if new in values} | dict(values)


def in_names_of_today(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an option file says, old names also as those of today, unless it has both."""
    values = {name: OLD_VALUES.get(name, {}).get(str(it), it) for name, it in saved.items()}
    switches = {
        new: with_it if str(saved[old]) == "True" else without_it
        for old, (new, with_it, without_it) in OLD_SWITCHES.items()
        if old in saved
    }
    older = {OLD_NAMES[name]: value for name, value in values.items() if name in OLD_NAMES}
    return {**switches, **older, **values}
