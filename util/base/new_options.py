"""Options that the original framework does not have: their defaults, and what they are set to.

People's models and data sets may have options of the same names. Those are theirs, whatever their
type; ours then keeps its default. So nothing of ours reads `opt.seed`: it asks `new_option`.
"""

from argparse import Action, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

DEFAULTS: Mapping[str, Any] = {
    "seed": None, "deterministic": False,
    "speed": "faithful", "precision": "fp32", "compile": False,
    "grad_checkpoint": False, "accumulate": 1, "ema": 0.0, "no_ema": False,
    "cache": "none", "cache_gb": None, "skip_bad_images": False,
    "pretrained": "", "keep_last": 0, "keep_states": "2", "on_nan": "stop",
    "total_steps": 0, "val_steps": 0, "decay_steps": None,
    "lr_G": None, "lr_D": None, "lr_gamma": 0.1,
    "lambda_gp": 10.0,  # Gulrajani et al. 2017, section 4
    "val_freq": 1, "num_val": 200, "val_eval": False, "save_best": "", "early_stop": 0,
    "lpips_weights": "", "inception_weights": "",
    "animation": "webp", "visuals": "", "result_format": None, "natural_order": False,
    "test_norm": None, "test_dropout": None,
    "epoch_size": 0, "balanced": False,
    "vertical_flip": False, "rotate90": False, "jitter": "", "jitter_both": False,
    "value_range": None,
    "tile": 0, "overlap": 0, "keep_size": False, "large_pictures": False,
    "processes": 1, "dist_timeout": 600.0, "dist_compress": "none",
    "start_visdom": False, "visdom_log": False, "tensorboard": False,
}  # fmt: skip

# The attribute of `opt` that holds our values where a plugin has taken the name.
OURS = "framework_options"


class NewOption(Action):
    """An option of ours, of the type that its default has; one that is False is a switch.

    Where the default has no type, `type` and `nargs` are as of other options.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, **keywords: Any) -> None:
        default = DEFAULTS[dest]
        nargs = 0 if default is False else keywords.pop("nargs", None)
        if nargs is None and default is not None:
            keywords["type"] = type(default)
        super().__init__(option_strings, dest, nargs=nargs, default=default, **keywords)

    def __call__(self, parser: Any, namespace: Namespace, values: Any, flag: Any = None) -> None:
        """Set what the command line gives."""
        setattr(namespace, self.dest, True if self.nargs == 0 else values)


def new_option(opt: Namespace, name: str) -> Any:
    """Return what an option of ours is set to; its default, where a fork's parser has none."""
    ours = getattr(opt, OURS, {})
    return ours[name] if name in ours else getattr(opt, name, DEFAULTS[name])


def with_ours(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return saved options, with ours where a plugin has taken a name."""
    ours = saved.get(OURS)
    return {**saved, **ours} if isinstance(ours, dict) else saved


def framework_option(opt: Namespace, name: str) -> Any:
    """Return what any option of the framework is set to, None if there is none of this name."""
    return new_option(opt, name) if name in DEFAULTS else getattr(opt, name, None)


def set_new_option(opt: Namespace, name: str, value: Any) -> None:
    """Set an option of ours, never a plugin's of the same name."""
    ours = getattr(opt, OURS, {})
    if name in ours:
        setattr(opt, OURS, {**ours, name: value})
    else:
        setattr(opt, name, value)


def keep_ours(opt: Namespace, taken: Sequence[str]) -> None:
    """Let the named options belong to whoever defined them, and ours have their defaults."""
    if taken:
        setattr(opt, OURS, {name: DEFAULTS[name] for name in taken})
