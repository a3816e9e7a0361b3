"""The cases of the benchmark as data: modes with their options, goals, sizes.

Another way of switching something on needs a change here and nowhere else.
"""

from benchmark.results import Goal

MODELS = ("cycle_gan", "pix2pix")
GROUPS = (
    "numerics", "step", "memory", "counts", "data", "test", "save", "page", "plot", "list",
    "startup", "stall", "gpu", "dist",
)  # fmt: skip
GOAL_SIZE = 256  # goals of steps and memory were set for images of this size

# What a mode adds to the command line of ours; the reference always runs without.
MODES: dict[str, list[str]] = {
    "default": [],
    "compile": ["--compile"],
    "bf16": ["--precision", "bf16"],
    "bf16 max": ["--precision", "bf16", "--speed", "max"],
    "least memory": ["--grad_checkpoint"],
    "max": ["--speed", "max"],
    "cached": ["--cache", "resized"],
    "gpu": ["--precision", "bf16", "--speed", "max", "--compile"],
}

STEP_GOALS: dict[str, dict[str, Goal | None]] = {
    "cycle_gan": {
        "default": Goal("faster", 1.15),
        "compile": None,  # it is for GPUs
        "bf16 max": Goal("faster", 5),
        "least memory": None,
    },
    "pix2pix": {"default": Goal("faster", 1.25), "bf16 max": Goal("faster", 1.9)},
}
MEMORY_GOALS = {"default": 0.66, "bf16 max": 0.75, "least memory": 0.6}  # of cycle_gan
OPERATIONS = {"cycle_gan": 1050, "pix2pix": 235}
OPERATIONS_OF_ORIGINAL = {"cycle_gan": 2146, "pix2pix": 280}
GPU_GOALS = (("cycle_gan", 1, 4.0), ("cycle_gan", 8, 10.0), ("pix2pix", 1, 4.0))

LOADER_CACHED = Goal("faster", 12)
FIRST_BATCH = {"fork": Goal("faster", 5), "spawn": Goal("faster", 100)}
TEST_GOALS = {"default": 1.3, "bf16": 5}
SAVING = Goal("faster", 7)
PAGE = PLOT = Goal("faster", 200)
LISTING, START = Goal("faster", 2), Goal("faster", 1)
STALL = Goal("limit", 1)  # per cent of a step
NOTHING = Goal("limit", 0, exact=True)
GLOBAL_POOL = Goal("limit", 3)  # per cent of a step
OVERLAP = Goal("limit", 10)  # per cent that sending gradients during the backward pass could save

EXACT = 1e-10  # relative difference in float64 that numerics may have
FIRST_LOSSES = 1e-5  # the same of the first losses in float32


def pix2pix_size(size: int) -> int:
    """Return the size at which pix2pix runs: its U-Nets need 128 or 256."""
    return max(size, 128)


def model_options(model: str, size: int) -> list[str]:
    """Return the options of a model on images of this size."""
    network = ["--netG", "unet_256" if size % 256 == 0 else "unet_128"]
    return ["--model", model, *(network if model == "pix2pix" else [])]
