"""A few training steps from a seed: losses, weights, optimisers, visuals, random numbers.

The sharp test runs in float64, where rounding moves losses by 1e-14. In float32 CycleGAN with
instance norm is chaotic: only the first step is compared tightly, later ones with five times what
rounding alone was seen to do, when it was recorded or on this machine.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import create_model
from models.base_model import BaseModel
from options.train_options import TrainOptions
from tests.golden.conftest import Largest
from tests.golden.formulas import (
    difference,
    fill,
    flat,
    ids,
    load,
    next_draws,
    noise,
    relative_difference,
    seed_everything,
    summary,
)
from tests.support.tiers import LONG

pytestmark = [
    pytest.mark.golden,
    # Some records step the schedule before the first step of the optimiser, as the reference did.
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step"),
    pytest.mark.filterwarnings("ignore:TF32 acceleration"),  # switching oneDNN off warns of GPUs
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # torch's compiler looks
]

SEEDED, FORMULA = load("trajectories"), load("trajectories_formula")

SHARP = 1e-6
RECORDED_DIGITS = 1e-8
FIRST_FLOAT32_STEP = 1e-5
SPREAD_FACTOR = 5
# Orthogonal weights come from LAPACK's QR in float32, whose last digits differ from one processor
# to the next. Then only the first step can be compared: later ones magnify the difference.
OTHER_QR = 1e-5
FIRST_STEP_OF_OTHER_QR = 1e-5
# Biases that feed an instance norm have no effect, so no gradient but rounding noise.
NOISE_BIAS_BOUND = 1e-6
# Losses near zero (wgangp) are compared as the spread was measured.
LOSS_FLOOR = 1e-3

# The CycleGAN runs of the fast tier; those of the other models are quick enough to be there all.
FAST_CYCLE_GAN = {"cg_default", "cg_nc1_2_BtoA", "cg_pool2_b2", "cg_dropout", "cg_lr_linear"}

# Modes that claim the same numbers in float64, and records that they have something to do in.
MODES: dict[str, tuple[list[str], list[str]]] = {
    "as on a GPU": (
        [],
        ["cg_default", "cg_idt0", "cg_pool2_b2", "cg_wgangp", "cg_unet_batch", "cg_dropout",
         "cg_rect", "px_default_dropout", "px_nodrop_b2", "px_wgangp", "px_pixelD", "co_default"],
    ),
    "grad_checkpoint": (
        ["--grad_checkpoint"],
        ["cg_default", "cg_pool2_b2", "cg_wgangp", "cg_norm_none_nlayers2", "px_resnet_inst"],
    ),
    "compile": (
        ["--compile"],  # half a minute for each; a small network: tests/unit/.../test_speed.py
        ["px_resnet_inst", "cg_wgangp", "cg_default", "cg_pool2_b2", "cg_rect"] * LONG,
    ),
    "as large networks": (
        [],
        ["cg_default", "cg_pool2_b2", "cg_wgangp", "cg_dropout", "cg_rect", "cg_unet_batch",
         "px_resnet_inst", "px_default_dropout", "px_nodrop_b2", "px_wgangp", "px_nlayers4",
         "co_default"],
    ),
    "speed max": (
        ["--speed", "max"],
        ["cg_default", "cg_pool2_b2", "px_nodrop", "px_resnet_inst", "co_nodrop_lsgan_b2"],
    ),
}  # fmt: skip


def cases(records: list[dict[str, Any]]) -> list[Any]:
    """Return the records as parameters; the ones that take long are slow."""
    return [
        pytest.param(record, id=name, marks=() if is_fast(name) else pytest.mark.slow)
        for record, name in zip(records, ids(records, "name"), strict=True)
    ]


def is_fast(name: str) -> bool:
    """Tell whether a run belongs to the fast tier."""
    return name in FAST_CYCLE_GAN or not name.startswith("cg_")


@dataclass
class Steps:
    """What the steps of a run gave."""

    losses: list[list[float]]
    lr_used: list[float]


def options(record: Mapping[str, Any], folder: Path, *more: str) -> Any:
    """Parse a record's command line and apply its changes."""
    argv = [*shlex.split(record["argv"]), "--dataroot", "X", "--gpu_ids", "-1", *more]
    opt = TrainOptions().parse([*argv, "--checkpoints_dir", str(folder)])
    for name, value in record["overrides"].items():
        setattr(opt, name, value)
    opt.lambda_gp = 0  # the reference never added the penalty
    return opt


def construct(record: Mapping[str, Any], opt: Any) -> BaseModel:
    """Construct and set up the model from the record's seed."""
    seed_everything(record["seed"])
    model = create_model(opt)
    model.setup(opt)
    return model


def to_double(model: BaseModel) -> None:
    """Convert networks and the GAN criterion to float64."""
    for name in model.model_names:
        getattr(model, f"net{name}").double()
    if hasattr(model, "criterionGAN"):
        model.criterionGAN.double()


def step(model: BaseModel, record: Mapping[str, Any], opt: Any, dtype: torch.dtype) -> Steps:
    """Take the record's steps."""
    channels = {"A": opt.input_nc, "B": opt.output_nc}
    if opt.direction == "BtoA":  # A and B are the data set's sides
        channels = {"A": opt.output_nc, "B": opt.input_nc}
    steps = Steps([], [])
    for k in range(record["n_iters"]):
        if k in record["lr_update_before"]:
            model.update_learning_rate()
        batch: dict[str, Any] = {}
        for offset, side in enumerate("AB"):
            shape = (record["batch"], channels[side], record["H"], record["W"])
            batch[side] = noise(shape, record["stream"] + 2 * k + offset).to(dtype)
            batch[f"{side}_paths"] = [f"{side.lower()}{k}"]
        steps.lr_used.append(model.optimizers[0].param_groups[0]["lr"])
        model.set_input(batch)
        model.optimize_parameters()
        losses = model.get_current_losses()
        steps.losses.append([float(losses[name]) for name in record["loss_names"]])
    return steps


def noise_biases(net: nn.Module) -> set[str]:
    """Return the names of biases whose convolution feeds an instance norm."""
    names = set()
    for path, module in net.named_modules():
        if not isinstance(module, nn.Sequential):
            continue
        layers = list(module.named_children())
        for (key, layer), (_, following) in zip(layers, layers[1:], strict=False):
            if (
                isinstance(following, nn.InstanceNorm2d)
                and getattr(layer, "bias", None) is not None
            ):
                names.add(f"{path}.{key}.bias")
    return names


def compare_weights(
    group: str, model: BaseModel, recorded: Mapping[str, Any], bound: float, largest: Largest
) -> None:
    """Compare all networks, tensor by tensor: first value, mean, mean size."""
    assert list(recorded) == model.model_names
    for name, record in recorded.items():
        net = getattr(model, f"net{name}")
        compare_totals(group, net, record, bound, largest)
        tensors, noisy = record["per_tensor_first_mean_absmean"], noise_biases(net)
        assert list(net.state_dict()) == list(tensors)
        for key, entry in net.state_dict().items():
            if not entry.is_floating_point():
                assert int(entry) == tensors[key], key
                continue
            row = flat(entry)
            found, size = [row[0], row.mean(), np.abs(row).mean()], tensors[key][2]
            if key in noisy:
                gap = difference(found, tensors[key])
                largest(f"{group}: biases before instance norm", gap, NOISE_BIAS_BOUND)
            else:
                gap = difference(found, tensors[key]) / max(size, 1e-12)
                largest(f"{group}: tensors / mean size", gap, bound)


def is_of_other_qr(model: BaseModel, recorded: Mapping[str, Any]) -> bool:
    """Tell whether this processor's QR gives other last digits than the recording one's."""
    try:
        compare_weights("", model, recorded, RECORDED_DIGITS, expect_at_most)
    except AssertionError:
        return True
    return False


def expect_at_most(group: str, value: float, bound: float) -> None:
    """Check a bound without keeping the value."""
    assert value <= bound, group


def compare_totals(
    group: str, net: nn.Module, record: Mapping[str, Any], bound: float, largest: Largest
) -> None:
    """Compare the statistics over all parameters, and over all floating buffers."""
    kinds: dict[str, list[Tensor]] = {
        "param": list(net.parameters()),
        "buffer": [entry for entry in net.buffers() if entry.is_floating_point()],
    }
    for kind, entries in kinds.items():
        if f"{kind}_mean" not in record:
            assert not entries
            continue
        row = np.concatenate([flat(entry) for entry in entries])
        size = record[f"{kind}_absmean"]
        found = {"mean": row.mean(), "absmean": np.abs(row).mean()}
        gap = max(abs(found[key] - record[f"{kind}_{key}"]) / size for key in found)
        largest(f"{group}: totals", float(gap), bound)
        if kind == "param":
            length = float(np.sqrt((row**2).sum()))
            largest(f"{group}: totals", abs(length / record["param_l2"] - 1), bound)


def compare_optimizers(
    group: str, model: BaseModel, recorded: list[dict[str, Any]], largest: Largest
) -> None:
    """Compare kind, groups, settings and state of the optimisers."""
    assert len(model.optimizers) == len(recorded)
    for optimizer, record in zip(model.optimizers, recorded, strict=True):
        assert type(optimizer).__name__ == record["class"]
        assert len(optimizer.param_groups) == record["n_groups"]
        parameters = [p for entry in optimizer.param_groups for p in entry["params"]]
        assert len(parameters) == record["n_params"]
        assert list(optimizer.param_groups[0]["betas"]) == record["betas"]
        states = [optimizer.state[p] for p in parameters if p in optimizer.state]
        assert len(states) == record["n_with_state"]
        mean = float(np.mean([float(state["exp_avg"].abs().mean()) for state in states]))
        largest(f"{group}: optimizer state", abs(mean / record["exp_avg_absmean"] - 1), SHARP)


def compare_visuals(
    group: str, model: BaseModel, recorded: Mapping[str, Any], largest: Largest
) -> None:
    """Compare what would be shown, in units of its mean size."""
    model.compute_visuals()
    visuals = model.get_current_visuals()
    assert list(visuals) == list(recorded)
    for name, record in recorded.items():
        image = visuals[name]
        assert type(image).__name__ == record["type"]
        assert str(image.dtype).removeprefix("torch.") == record["dtype"]
        assert list(image.shape) == record["shape"]
        found = summary(image.detach() if isinstance(image, Tensor) else image, record)
        gap = max(difference(found[key], record[key]) for key in found) / record["absmean"]
        largest(f"{group}: visuals / mean size", gap, SHARP)


def compare_draws(record: Mapping[str, Any]) -> None:
    """Compare the random numbers that come next."""
    from_torch, from_python = next_draws(4)
    assert from_torch == pytest.approx(record["torch_rand4"], abs=1e-8)
    assert from_python == pytest.approx(record["python_random"], abs=1e-8)


def compare_end(
    group: str,
    model: BaseModel,
    steps: Steps,
    record: Mapping[str, Any],
    values: Mapping[str, Any],
    largest: Largest,
) -> None:
    """Compare all that a float64 run leaves; `values` holds the float64 part of `record`."""
    compare_draws(record["rng_after"])
    assert model.loss_names == record["loss_names"]
    assert model.model_names == record["model_names"]
    assert model.visual_names == record["visual_names"]
    assert list(model.get_image_paths()) == record["image_paths"]
    assert steps.lr_used == pytest.approx(record["lr_used"], rel=RECORDED_DIGITS)
    gap = relative_difference(steps.losses, values["losses"], floor=LOSS_FLOOR)
    largest(f"{group}: losses", gap, SHARP)
    compare_weights(group, model, values["final"], SHARP, largest)
    compare_optimizers(group, model, values["optimizers"], largest)
    compare_visuals(group, model, values["visuals"], largest)


@pytest.mark.parametrize("record", cases(SEEDED))
def test_float64_steps_from_a_seed_are_the_recorded_ones(
    record: dict[str, Any], tmp_path: Path, largest: Largest
) -> None:
    opt = options(record, tmp_path)
    model = construct(record, opt)
    compare_draws(record["rng_after_construction"])
    if opt.init_type == "orthogonal" and is_of_other_qr(model, record["init"]):
        compare_weights("initial weights, other QR", model, record["init"], OTHER_QR, largest)
        to_double(model)
        steps = step(model, record, opt, torch.float64)
        compare_draws(record["rng_after"])
        gap = relative_difference(steps.losses[0], record["fp64"]["losses"][0], floor=LOSS_FLOOR)
        largest("float64 first step, other QR", gap, FIRST_STEP_OF_OTHER_QR)
        return
    compare_weights("initial weights", model, record["init"], RECORDED_DIGITS, largest)
    to_double(model)
    steps = step(model, record, opt, torch.float64)
    compare_end("float64 steps", model, steps, record, record["fp64"], largest)


def cases_of_modes() -> list[Any]:
    """Return each mode with its records."""
    by_name = {record["name"]: record for record in SEEDED}
    return [
        pytest.param(mode, argv, by_name[name], id=f"{mode}-{name}")
        for mode, (argv, names) in MODES.items()
        for name in (names if LONG else names[::2])
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "argv", "record"), cases_of_modes())
def test_modes_that_claim_the_same_numbers_have_them(
    mode: str,
    argv: list[str],
    record: dict[str, Any],
    tmp_path: Path,
    largest: Largest,
    request: pytest.FixtureRequest,
) -> None:
    if mode == "as large networks":
        request.getfixturevalue("fast_convolutions_always")
    opt = options(record, tmp_path, *argv)
    model = construct(record, opt)
    if mode == "as on a GPU":
        model._optimization.speed.merges_forward_passes = lambda images: True
    to_double(model)
    steps = step(model, record, opt, torch.float64)
    compare_end(f"float64, {mode}", model, steps, record, record["fp64"], largest)


def is_tried(name: str) -> bool:
    """Tell whether a run with weights of the formula is tried; those of CycleGAN take a second."""
    return LONG or name == "cg_default" or not name.startswith("cg_")


@pytest.mark.parametrize("record", cases([run for run in FORMULA if is_tried(run["name"])]))
def test_float64_steps_from_formula_weights_are_the_recorded_ones(
    record: dict[str, Any], tmp_path: Path, largest: Largest
) -> None:
    opt = options(record, tmp_path)
    model = construct(record, opt)
    for position, name in enumerate(model.model_names):
        fill(getattr(model, f"net{name}"), 1000 * position, record["weight_gain"])
    for name, totals in record["init_checksum"].items():
        net = getattr(model, f"net{name}")
        compare_totals("formula weights", net, totals, RECORDED_DIGITS, largest)
    to_double(model)
    steps = step(model, record, opt, torch.float64)
    compare_end("formula steps", model, steps, record, record, largest)


IN_FLOAT32 = SEEDED if LONG else SEEDED[::2]


@pytest.mark.slow
@pytest.mark.parametrize("record", IN_FLOAT32, ids=ids(IN_FLOAT32, "name"))
def test_float32_losses_stay_within_the_rounding_spread(
    record: dict[str, Any], tmp_path: Path, largest: Largest
) -> None:
    opt = options(record, tmp_path)
    found = float32_losses(record, opt)
    gaps = gaps_by_step(found, record["losses"])
    spread = widest_so_far(record["float32_spread"])
    if any(gap > bound_of(wide) for gap, wide in zip(gaps, spread, strict=True)):
        spread = np.maximum(spread, spread_of_this_machine(record, opt, found))
    for k, (gap, wide) in enumerate(zip(gaps, spread, strict=True)):
        name = "first step" if k == 0 else "later steps"
        largest(f"float32 losses, {name}", gap, bound_of(wide))


def bound_of(spread: float) -> float:
    """Return how far float32 losses may be off where rounding alone moves them by `spread`."""
    return max(FIRST_FLOAT32_STEP, SPREAD_FACTOR * spread)


def float32_losses(record: Mapping[str, Any], opt: Any) -> list[list[float]]:
    """Train from the record's seed in float32."""
    return step(construct(record, opt), record, opt, torch.float32).losses


def gaps_by_step(found: list[list[float]], expected: list[list[float]]) -> list[float]:
    """Return the largest relative difference of each step's losses."""
    return [
        relative_difference(*losses, floor=LOSS_FLOOR)
        for losses in zip(found, expected, strict=True)
    ]


def widest_so_far(spread: list[float]) -> Any:
    """A spread that happens to be small in one step does not bind the run after it."""
    return np.maximum.accumulate(spread)


def spread_of_this_machine(record: Mapping[str, Any], opt: Any, found: list[list[float]]) -> Any:
    """Measure how far the same run moves if only rounding changes: other kernels, and float64.

    The recorded spread is that of one processor; another one rounds in other places.
    """
    with torch.backends.mkldnn.flags(enabled=False):
        other_kernels = gaps_by_step(found, float32_losses(record, opt))
    model = construct(record, opt)
    to_double(model)
    exact = step(model, record, opt, torch.float64).losses
    return widest_so_far(np.maximum(other_kernels, gaps_by_step(found, exact)).tolist())
