"""One training step: its phases, its optimiser steps, and no waiting for the device."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models.base_model import BaseModel
from models.cycle_gan_model import CycleGANModel
from models.optimization.speed import Speed
from models.storage.names import networks_of
from tests.support.small_models import batch, build, train_options, train_step

# model -> phases in the order in which one step runs them
PHASES = {
    "cycle_gan": ["forward", "backward_G", "backward_D_A", "backward_D_B"],
    "pix2pix": ["forward", "backward_D", "backward_G"],
    "colorization": ["forward", "backward_D", "backward_G"],
    "template": ["forward", "backward"],
}
# model -> each optimiser step with the networks it trains
STEPS = {
    "cycle_gan": [("optimizer_G", ["G_A", "G_B"]), ("optimizer_D", ["D_A", "D_B"])],
    "pix2pix": [("optimizer_D", ["D"]), ("optimizer_G", ["G"])],
    "colorization": [("optimizer_D", ["D"]), ("optimizer_G", ["G"])],
    "template": [("optimizer", ["G"])],
}
CONFIGURATIONS = [
    ("cycle_gan", ()),
    ("cycle_gan", ("--lambda_identity", "0", "--pool_size", "0")),
    ("cycle_gan", ("--gan_mode", "wgangp")),
    ("pix2pix", ()),
    ("pix2pix", ("--gan_mode", "wgangp")),
    ("colorization", ()),
    ("template", ()),
]
IDS = ["-".join([name, *more]).replace("--", "") for name, more in CONFIGURATIONS]


def wrapped(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, note: Any) -> None:
    """Call `note(*args)` before a method of an object."""
    original = getattr(owner, name)

    def call(*args: Any, **keywords: Any) -> Any:
        note(*args, **keywords)
        return original(*args, **keywords)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("kind", PHASES)
def test_step_consists_of_named_phases(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(train_options(tmp_path, kind))
    order: list[str] = []
    for phase in PHASES[kind]:
        wrapped(monkeypatch, model, phase, lambda *_, name=phase: order.append(name))
    train_step(model, batch(kind, 1))
    assert order == PHASES[kind]


# The two identity terms come last.
PHASES_OF_CYCLE_GAN = {
    "losses in parts": ["equation_3", *["backward"] * 4],
    "passes put together": ["equation_3", "backward"],
    "losses at once": ["forward", "backward_G", "equation_3", "backward"],
}


@pytest.mark.parametrize("way", PHASES_OF_CYCLE_GAN)
def test_each_way_of_a_cycle_gan_step_has_its_phases(
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = ("--lambda_identity", "0") if way == "losses at once" else ()
    if way != "losses in parts":  # as on a GPU
        monkeypatch.setattr(Speed, "merges_forward_passes", lambda *_: True)
    model: Any = build(train_options(tmp_path, "cycle_gan", *more))
    assert f", {way}\n" in capsys.readouterr().out
    order: list[str] = []
    for phase in ("forward", "backward_G", "equation_3"):
        wrapped(monkeypatch, type(model), phase, lambda *_, name=phase: order.append(name))

    def note(_: Tensor, optimizer: Optimizer) -> None:
        if optimizer is model.optimizer_G:
            order.append("backward")

    wrapped(monkeypatch, model._optimization, "backward", note)
    train_step(model, batch("cycle_gan", 1))
    assert order == PHASES_OF_CYCLE_GAN[way]


def test_a_subclass_may_let_its_forward_train_a_discriminator(tmp_path: Path) -> None:
    """The original runs `forward` before it freezes the discriminators."""

    class Own(CycleGANModel):
        def forward(self) -> None:
            super().forward()
            self.judged = self.netD_A(self.fake_B.detach())

        def backward_D_A(self) -> None:
            super().backward_D_A()
            assert self.judged.requires_grad

    model: Any = Own(train_options(tmp_path, "cycle_gan"))
    model.setup(model.opt)
    train_step(model, batch("cycle_gan", 1))


def test_a_gpu_computes_in_parts_where_memory_is_dear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build(train_options(tmp_path, "cycle_gan", "--grad_checkpoint"))
    assert ", losses in parts\n" in capsys.readouterr().out
    on_gpu = torch.empty(0, device="meta")
    assert not model._optimization.speed.merges_forward_passes(on_gpu)
    model = build(train_options(tmp_path, "cycle_gan"))
    assert model._optimization.speed.merges_forward_passes(on_gpu)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_subclass_of_cycle_gan_trains_alike_on_every_device(
    on_gpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it overrides is called, in the original's order."""
    order: list[str] = []

    class Own(CycleGANModel):
        def forward(self) -> None:
            order.append("forward")
            super().forward()

        def backward_D_A(self) -> None:
            order.append("backward_D_A")
            super().backward_D_A()

    opt = train_options(tmp_path, "cycle_gan")
    model = Own(opt)
    model.setup(opt)
    monkeypatch.setattr(model._optimization.speed, "merges_forward_passes", lambda _: on_gpu)
    train_step(model, batch("cycle_gan", 1))
    assert order == ["forward", "backward_D_A"]


@pytest.mark.parametrize(("kind", "more"), CONFIGURATIONS, ids=IDS)
def test_every_optimiser_step_goes_through_the_one_place(
    kind: str, more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(train_options(tmp_path, kind, *more))
    asked: list[tuple[Optimizer, tuple[nn.Module, ...]]] = []
    stepped: list[Optimizer] = []
    wrapped(monkeypatch, model._optimization, "step", lambda opt, *nets: asked.append((opt, nets)))
    for optimizer in model.optimizers:
        wrapped(monkeypatch, optimizer, "step", lambda opt=optimizer: stepped.append(opt))
    train_step(model, batch(kind, 1))

    assert [id(optimizer) for optimizer, _ in asked] == [id(optimizer) for optimizer in stepped]
    wanted = [
        (getattr(model, optimizer), tuple(networks_of(model)[name] for name in names))
        for optimizer, names in STEPS[kind]
    ]
    assert len(asked) == len(wanted)
    for (optimizer, nets), (wanted_optimizer, wanted_nets) in zip(asked, wanted, strict=True):
        assert optimizer is wanted_optimizer
        assert all(a is b for a, b in zip(nets, wanted_nets, strict=True))


@pytest.mark.parametrize("kind", PHASES)
def test_step_is_told_exactly_the_networks_that_the_optimiser_trains(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(train_options(tmp_path, kind))

    def check(optimizer: Optimizer, *nets: nn.Module) -> None:
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert trained == {id(p) for net in nets for p in net.parameters()}

    wrapped(monkeypatch, model._optimization, "step", check)
    train_step(model, batch(kind, 1))


@pytest.mark.parametrize("kind", PHASES)
def test_skipped_steps_leave_all_weights(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever replaces `step` decides whether weights move: there is no second way."""
    model = build(train_options(tmp_path, kind))
    monkeypatch.setattr(model._optimization, "step", lambda *_: None)
    before = {n: [p.clone() for p in networks_of(model)[n].parameters()] for n in model.model_names}
    train_step(model, batch(kind, 1))
    for name, parameters in before.items():
        for old, new in zip(parameters, networks_of(model)[name].parameters(), strict=True):
            assert torch.equal(old, new), name


# ---- no waiting ---------------------------------------------------------------------------

WAITING = (
    *["item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__"],
    *["__repr__", "__format__", "__array__", "nonzero", "is_nonzero"],
)


class WaitedError(AssertionError):
    """Somebody waited for the device."""


@contextmanager
def no_waiting() -> Iterator[None]:
    """Let every method that turns a tensor into a number or moves it to the host raise.

    The optimisers themselves may read their step counters, which live on the host.
    """

    def refuse(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            caller = str(sys._getframe(1).f_globals.get("__name__"))
            if caller.startswith("torch.optim"):
                return original(*args, **keywords)
            raise WaitedError(f"Tensor.{name} called from {caller}")

        return call

    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in WAITING:
            monkeypatch.setattr(Tensor, name, refuse(name, getattr(Tensor, name)))
        yield


@pytest.mark.parametrize("name", ["item", "cpu", "tolist", "numpy"])
def test_waiting_is_noticed(name: str) -> None:
    x = torch.ones(())
    with pytest.raises(WaitedError), no_waiting():
        getattr(x, name)()


@pytest.mark.parametrize("convert", [float, int, bool, str])
def test_waiting_in_disguise_is_noticed(convert: Callable[[Any], Any]) -> None:
    x = torch.ones(())
    with pytest.raises(WaitedError), no_waiting():
        convert(x)


@pytest.mark.parametrize(("kind", "more"), CONFIGURATIONS, ids=IDS)
def test_step_never_waits_for_the_device(kind: str, more: tuple[str, ...], tmp_path: Path) -> None:
    pool = () if "--pool_size" in more or kind == "template" else ("--pool_size", "2")
    model: Any = build(train_options(tmp_path, kind, *more, *pool))
    for number in range(4):  # the pool is full after two
        with no_waiting():
            model.set_input(batch(kind, number))
            model.optimize_parameters()
    for name in model.loss_names:
        loss = getattr(model, f"loss_{name}")
        left_out = name.startswith("idt") and "--lambda_identity" in more
        assert left_out or isinstance(loss, Tensor), name
    assert isinstance(model.loss_G, Tensor)


@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix"])
def test_losses_are_finite_numbers_once_asked_for(kind: str, tmp_path: Path) -> None:
    model = build(train_options(tmp_path, kind))
    losses = train_step(model, batch(kind, 1))
    assert list(losses) == model.loss_names
    assert all(type(value) is float and abs(value) < 1e3 for value in losses.values())


# ---- what a step does to its inputs -------------------------------------------------------


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix", "template"])
def test_set_input_only_moves_data(kind: str, direction: str, tmp_path: Path) -> None:
    model: Any = build(train_options(tmp_path, kind, "--direction", direction))
    data = batch(kind, 1)
    before = torch.get_rng_state()
    model.set_input(data)
    assert torch.equal(torch.get_rng_state(), before)
    source, target = ("A", "B") if direction == "AtoB" else ("B", "A")
    names = ("data_A", "data_B") if kind == "template" else ("real_A", "real_B")
    assert torch.equal(getattr(model, names[0]), data[source])
    assert torch.equal(getattr(model, names[1]), data[target])
    assert model.image_paths == data[f"{source}_paths"]


@pytest.mark.parametrize("kind", PHASES)
def test_all_networks_learn(kind: str, tmp_path: Path) -> None:
    model = build(train_options(tmp_path, kind))
    before = {n: [p.clone() for p in networks_of(model)[n].parameters()] for n in model.model_names}
    train_step(model, batch(kind, 1))
    for name, parameters in before.items():
        moved = [
            not torch.equal(old, new)
            for old, new in zip(parameters, networks_of(model)[name].parameters(), strict=True)
        ]
        assert sum(moved) > len(moved) / 2, name


@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix"])
def test_generator_step_leaves_no_gradient_in_the_discriminators(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = build(train_options(tmp_path, kind))
    names = [name for name in model.model_names if name.startswith("D")]
    before: dict[str, list[Tensor | None]] = {}
    compared: list[Optimizer] = []

    def look() -> dict[str, list[Tensor | None]]:
        return {
            name: [
                None if p.grad is None else p.grad.clone()
                for p in networks_of(model)[name].parameters()
            ]
            for name in names
        }

    def note(_: BaseModel, nets: object, requires_grad: bool) -> None:
        if not requires_grad:  # the generators' turn
            before.update(look())

    # The class's methods: with others of its own, a CycleGAN would compute in another way.
    wrapped(monkeypatch, type(model), "set_requires_grad", note)

    def compare(optimizer: Optimizer, *_: nn.Module) -> None:
        if optimizer is not model.optimizer_G:
            return
        compared.append(optimizer)
        for name, gradients in look().items():
            for old, new in zip(before[name], gradients, strict=True):
                assert (old is None) == (new is None)
                assert old is None or new is None or torch.equal(old, new)

    wrapped(monkeypatch, model._optimization, "step", compare)
    train_step(model, batch(kind, 1))
    train_step(model, batch(kind, 2))
    assert len(compared) == 2


@pytest.mark.parametrize("kind", ["colorization"])
def test_colorization_shows_rgb_images(kind: str, tmp_path: Path) -> None:
    model = build(train_options(tmp_path, kind))
    train_step(model, batch(kind, 1, n=2))
    model.compute_visuals()
    visuals = model.get_current_visuals()
    assert list(visuals) == ["real_A", "real_B_rgb", "fake_B_rgb"]
    for name in ("real_B_rgb", "fake_B_rgb"):
        assert visuals[name].shape == (32, 32, 3)
        assert visuals[name].min() >= 0
        assert visuals[name].max() <= 255


def test_grey_becomes_grey(tmp_path: Path) -> None:
    model: Any = build(train_options(tmp_path, "colorization"))
    lightness = torch.linspace(-1, 1, 16).view(1, 1, 4, 4)
    rgb = model.lab2rgb(lightness, torch.zeros(1, 2, 4, 4))
    assert abs(rgb - rgb.mean(axis=2, keepdims=True)).max() < 0.05
    assert rgb.reshape(-1, 3)[0] == pytest.approx(0, abs=0.05)
    assert rgb.reshape(-1, 3)[-1] == pytest.approx(255, abs=0.05)
