"""How StarGAN v2 takes its steps: who learns, in which ways, with what memory."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.optimization.memory import graph_bytes
from models.stargan_v2_model import StarGANv2Model
from models.storage.trained_model import TrainedModel
from options.train_options import TrainOptions
from util.training import memory

NETS = ("G", "F", "E", "D")


@pytest.fixture
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(folder: Path, *more: str) -> StarGANv2Model:
    argv = ["--dataroot", str(folder), "--checkpoints_dir", str(folder), "--model", "stargan_v2"]
    argv += ["--crop_size", "16", "--ngf", "1", "--ndf", "1", "--gpu_ids", "-1", "--ema", "0"]
    opt = TrainOptions().parse([*argv, "--domains", "a,b,c", *more], quiet=True)
    torch.manual_seed(1)
    model = StarGANv2Model(opt)
    model.setup(opt)
    return model


def batch(count: int, seed: int = 0, side: int = 16) -> dict[str, Any]:
    draws = torch.Generator().manual_seed(seed)
    A, B, B2 = (torch.rand(count, 3, side, side, generator=draws) * 2 - 1 for _ in range(3))
    labels = torch.randint(0, 3, (2, count), generator=draws)
    return {"A": A, "B": B, "B2": B2, "A_domain": labels[0], "B_domain": labels[1],
            "A_paths": ["x"] * count}  # fmt: skip


def part(of: dict[str, Any], items: slice) -> dict[str, Any]:
    return {name: value[items] for name, value in of.items()}


def step(model: StarGANv2Model, items: dict[str, Any]) -> None:
    trained = TrainedModel(model)
    trained.begin_batch()
    model.set_input(items)
    model.optimize_parameters()


def weights(model: StarGANv2Model) -> dict[str, list[Tensor]]:
    return {n: [p.detach().clone() for p in getattr(model, f"net{n}").parameters()] for n in NETS}


def changed(before: dict[str, list[Tensor]], model: StarGANv2Model) -> str:
    after = weights(model)
    moved = {
        n: any(not torch.equal(a, b) for a, b in zip(before[n], after[n], strict=True))
        for n in NETS
    }
    return "".join(name for name, has_moved in moved.items() if has_moved)


def test_each_step_changes_the_networks_that_learn_by_it_and_no_others(tmp_path: Path) -> None:
    model = build(tmp_path)
    model.set_input(batch(2))
    for take, learners in (
        (lambda: model.step_D("latent"), "D"),
        (lambda: model.step_D("ref"), "D"),
        (lambda: model.step_G("latent", "GFE"), "GFE"),
        (lambda: model.step_G("ref", "G"), "G"),
    ):
        before = weights(model)
        take()
        assert changed(before, model) == learners


def test_the_weight_of_diversity_falls_to_zero_and_stays_there(tmp_path: Path) -> None:
    model = build(tmp_path, "--lambda_ds", "2", "--ds_iter", "4")
    seen = []
    for _ in range(6):
        seen.append(model.loss_lambda_ds)
        step(model, batch(1))
    assert seen == [2.0, 1.5, 1.0, 0.5, 0.0, 0.0]


def test_rates_are_those_of_their_options(tmp_path: Path) -> None:
    rates = TrainedModel(build(tmp_path, "--lr_D", "0.5")).learning_rates()
    assert rates == {"G": 1e-4, "F": 1e-6, "E": 1e-4, "D": 0.5}


@pytest.mark.usefixtures("double_precision")
def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """Of the first step of each network; the later ones of a batch begin from other weights."""
    whole, parts = build(tmp_path), build(tmp_path, "--accumulate", "2")
    items = batch(4)
    before = weights(whole)
    step(whole, items)
    draws = whole.z, whole.z_2
    for half in (slice(0, 2), slice(2, 4)):
        trained = TrainedModel(parts)
        trained.begin_batch()
        parts.set_input(part(items, half))
        parts.z, parts.z_2 = (z[half] for z in draws)
        assert changed(before, parts) == ""
        parts.optimize_parameters()
    assert changed(before, parts) == "GFED"
    for ours, theirs in zip(parts.netF.parameters(), whole.netF.parameters(), strict=True):
        assert (ours - theirs).abs().max() < 1e-5  # F's one step, of 1e-6 at most


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_with_nearly_the_same_losses(precision: str, tmp_path: Path) -> None:
    losses = []
    for choice in ("fp32", precision):
        model = build(tmp_path, "--precision", choice)
        torch.manual_seed(5)
        step(model, batch(2))
        losses.append(model.get_current_losses())
        assert TrainedModel(model).broken_networks() == []
    for name, value in losses[0].items():
        assert losses[1][name] == pytest.approx(value, rel=0.1, abs=0.05), name


@pytest.mark.usefixtures("double_precision")
def test_blocks_computed_twice_change_no_number(tmp_path: Path) -> None:
    found = []
    for more in ((), ("--grad_checkpoint",)):
        model = build(tmp_path, *more)
        torch.manual_seed(5)
        step(model, batch(2))
        found.append(weights(model))
    for name in NETS:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch looks at it
@pytest.mark.usefixtures("double_precision")
def test_compiled_networks_have_the_penalty_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1 is a gradient of a gradient, which compiled networks do not know."""
    compile_fully = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda net, **_: compile_fully(net, backend="eager"))
    monkeypatch.setattr("models.optimization.speed.check_compiler", lambda device: None)
    found = []
    for more in ((), ("--compile",)):
        model = build(tmp_path, *more)
        torch.manual_seed(5)
        step(model, batch(2))
        found.append(model.get_current_losses())
    assert found[0]["D_latent_reg"] > 0
    assert found[0] == pytest.approx(found[1], rel=1e-8)


def test_losses_that_are_not_finite_are_noticed(tmp_path: Path) -> None:
    model = build(tmp_path)
    with torch.no_grad():
        model.netG.to_rgb[2].weight.fill_(torch.nan)
    step(model, batch(1))
    _, values = TrainedModel(model).loss_vector()
    assert not values.isfinite().all()
    assert "G" in TrainedModel(model).broken_networks()


# ---- memory -------------------------------------------------------------------------------


def test_a_graph_is_measured_without_computing() -> None:
    with torch.device("meta"):
        layer, x = nn.Linear(10, 20, bias=False), torch.empty(3, 10)
        found = graph_bytes(lambda: layer(x).exp().sum())
    assert found == 4 * (3 * 10 + 3 * 20)  # what goes into the layer, and what exp makes


def test_an_image_needs_memory_by_its_size_and_asking_draws_nothing(tmp_path: Path) -> None:
    small, large = build(tmp_path), build(tmp_path, "--crop_size", "32")
    assert 1.5 < large.memory_per_image() / small.memory_per_image() < 3  # half as wide
    state = torch.get_rng_state()
    memory.tell_of_memory(small.opt, TrainedModel(small))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("free", "said"),
    [
        (10**12, None),
        (
            50 * 10**6,
            r"--batch_size 8 takes .+, but 50 MB are free. --batch_size [1-7] fits",
        ),
        (10**6, "Not even one image fits: give a smaller --crop_size"),
    ],
)
def test_a_batch_that_will_not_fit_is_told_with_one_that_does(
    free: int, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(memory, "free_memory", lambda: free)
    model = build(tmp_path)
    monkeypatch.setattr(StarGANv2Model, "memory_per_image", lambda self: 7 * 10**6)
    monkeypatch.setattr(memory, "LIKE_WEIGHTS", 1)
    memory.tell_of_memory(model.opt, TrainedModel(model))
    text = capsys.readouterr().err
    if said is None:
        assert "of memory" not in text
    else:
        assert re.search(said, text), text
