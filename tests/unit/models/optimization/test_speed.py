"""What makes training fast changes no number, unless it is asked to."""

import copy
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import create_model, networks
from models.architectures import switches
from models.architectures.fast.convolutions import Conv2d
from models.architectures.fast.instance_norm import InstanceNorm2d
from models.architectures.synchronised import SharedDropout, SyncBatchNorm2d
from models.base_model import BaseModel
from models.cycle_gan_model import CycleGANModel
from models.optimization import speed
from models.optimization.precision import Precision
from models.optimization.speed import Speed, use_fused_steps
from models.storage.names import networks_of
from models.storage.trained_model import TrainedModel
from tests.support.small_models import (
    batch,
    build,
    noise,
    test_options,
    to_double,
    train_options,
    train_step,
    weights,
)
from tests.support.tiers import some
from util.base.errors import UserError
from util.base.torch_private import is_compiled
from util.processes import group

CPU = torch.device("cpu")


def double_batch(kind: str, seed: int, n: int = 1) -> dict[str, Any]:
    """Return a batch of noise in float64."""
    data = batch(kind, seed, n=n)
    return {
        key: value.double() if isinstance(value, Tensor) else value for key, value in data.items()
    }


def gradients(model: BaseModel) -> dict[str, Tensor]:
    """Return all gradients, except those of biases without effect."""
    return {
        f"{name}.{key}": parameter.grad.clone()
        for name in model.model_names
        for key, parameter in networks_of(model)[name].named_parameters()
        if parameter.grad is not None and parameter.grad.abs().max() > 1e-12
    }


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor], bound: float = 1e-10) -> None:
    """Compare tensor by tensor, relative to the largest entry."""
    assert one.keys() == other.keys()
    for key, value in one.items():
        gap = float((value - other[key]).abs().max() / other[key].abs().max().clamp(min=1e-12))
        assert gap <= bound, f"{key}: {gap}"


def take_a_step(
    folder: Path, way: str, *argv: str, kind: str = "cycle_gan"
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Take a float64 step from a seed in one of the ways, and return losses and gradients."""
    model = build(train_options(folder, kind, *argv))
    to_double(model)
    if way == "together":
        model._optimization.speed.merges_forward_passes = lambda images: True  # type: ignore[method-assign]
    if way == "all at once":  # as for a model that somebody has changed
        model.backward_G = lambda: CycleGANModel.backward_G(model)  # type: ignore[attr-defined]
    losses = train_step(model, double_batch(kind, 5, n=2))
    return losses, gradients(model)


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("--lambda_identity", "0"),
        ("--gan_mode", "wgangp"),
        ("--norm", "none"),
        ("--norm", "batch"),
        ("--lambda_A", "3.7", "--lambda_B", "0.3", "--lambda_identity", "0.7"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("way", ["in parts", "together"])
def test_step_is_the_same_in_parts_and_together(
    way: str, argv: Sequence[str], tmp_path: Path
) -> None:
    losses, found = take_a_step(tmp_path, way, *argv)
    wanted_losses, wanted = take_a_step(tmp_path, "all at once", *argv)
    assert losses == pytest.approx(wanted_losses, rel=1e-10)
    assert_equal(found, wanted, 1e-9)


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_term_in_the_wrong_yield_is_explained(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = CycleGANModel.equation_3

    def with_one_more(self: CycleGANModel) -> Iterator[Tensor]:
        if place == "first":  # made for the second term only
            yield self.fake_A.abs().mean()
        yield from terms(self)
        yield self.rec_A.abs().mean()  # forgotten after the first term

    monkeypatch.setattr(CycleGANModel, "equation_3", with_one_more)
    model: Any = build(train_options(tmp_path, "cycle_gan"))
    with pytest.raises(UserError, match="let optimize_parameters call self.forward"):
        train_step(model, batch("cycle_gan", 3))
    model.set_input(batch("cycle_gan", 3))
    model.forward()
    model.backward_G()
    assert model.loss_G.isfinite()


@pytest.mark.parametrize(
    "argv", [(), ("--norm", "instance"), ("--gan_mode", "wgangp")], ids=" ".join
)
def test_pix2pix_is_the_same_together(argv: Sequence[str], tmp_path: Path) -> None:
    found = []
    for together in (True, False):
        model = build(train_options(tmp_path, "pix2pix", *argv))
        to_double(model)
        speed: Any = model._optimization.speed
        speed.merges_forward_passes = lambda _, way=together: way
        losses = train_step(model, double_batch("pix2pix", 5, n=2))
        statistics = {
            f"{name}.{key}": value.double()
            for name in model.model_names
            for key, value in networks_of(model)[name].named_buffers()
        }
        found.append((losses, gradients(model) | statistics))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-10)
    assert_equal(found[0][1], found[1][1], 1e-9)


def test_batches_are_counted_as_torch_does(tmp_path: Path) -> None:
    net = networks.define_D(3, 4, "basic", norm="batch")
    for _ in range(3):
        net(noise((1, 3, 32, 32)))
    net.eval()
    net(noise((1, 3, 32, 32)))
    counts = {int(value) for key, value in net.named_buffers() if key.endswith("tracked")}
    assert counts == {3}


def test_step_in_parts_draws_the_same_dropout(tmp_path: Path) -> None:
    options = train_options(tmp_path, "cycle_gan")
    options.no_dropout = False
    found = []
    for way in ("in parts", "all at once"):
        model = build(options)
        to_double(model)
        if way == "all at once":
            model.backward_G = lambda m=model: CycleGANModel.backward_G(m)  # type: ignore[attr-defined]
        losses = train_step(model, double_batch("cycle_gan", 5))
        found.append((losses, torch.rand(3).tolist()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-10)
    assert found[0][1] == found[1][1]


class CountPasses:
    """Count how often networks run."""

    def __init__(self, model: BaseModel) -> None:
        self.count: Counter[str] = Counter()
        for name in model.model_names:
            self._watch(name, networks_of(model)[name])

    def _watch(self, name: str, net: nn.Module) -> None:
        run = net.forward

        def forward(x: Tensor) -> Any:
            self.count.update([name])
            return run(x)

        net.forward = forward  # a hook would keep passes apart


def test_passes_are_put_together_only_where_images_do_not_mix(tmp_path: Path) -> None:
    expected = {"instance": {"G_A": 2, "G_B": 2, "D_A": 2, "D_B": 2}}
    expected["batch"] = {"G_A": 3, "G_B": 3, "D_A": 2, "D_B": 2}
    for norm, wanted in expected.items():
        model = build(train_options(tmp_path, "cycle_gan", "--norm", norm))
        model._optimization.speed.merges_forward_passes = lambda images: True  # type: ignore[method-assign]
        passes = CountPasses(model)
        train_step(model, batch("cycle_gan", 1))
        assert passes.count == wanted


def test_images_of_two_sizes_are_not_put_together(tmp_path: Path) -> None:
    model = build(train_options(tmp_path, "cycle_gan"))
    model._optimization.speed.merges_forward_passes = lambda images: True  # type: ignore[method-assign]
    data = batch("cycle_gan", 1)
    data["B"] = noise((1, 3, 32, 48))
    train_step(model, data)
    assert model.rec_B.shape == data["B"].shape  # type: ignore[attr-defined]


def test_networks_of_others_are_taken_as_they_are() -> None:
    class Mine(networks.ResnetGenerator):
        """A network whose forward pass may do anything."""

    assert switches.is_batch_independent(networks.define_G(3, 3, 4, "resnet_6blocks", "instance"))
    assert not switches.is_batch_independent(Mine(3, 3, 4, norm_layer=nn.InstanceNorm2d))
    assert not switches.is_batch_independent(nn.Conv2d(3, 3, 1))
    dropout = networks.define_G(3, 3, 4, "resnet_6blocks", "instance", use_dropout=True)
    assert not switches.is_batch_independent(dropout)


# ---- memory -------------------------------------------------------------------------------


def test_recomputed_blocks_change_no_gradient(tmp_path: Path) -> None:
    losses, found = take_a_step(tmp_path, "in parts", "--grad_checkpoint")
    wanted_losses, wanted = take_a_step(tmp_path, "in parts")
    assert losses == wanted_losses
    assert_equal(found, wanted)


def test_recomputed_blocks_keep_less(tmp_path: Path) -> None:
    kept = []
    for argv in ((), ("--grad_checkpoint",)):
        model = build(train_options(tmp_path, "cycle_gan", *argv))
        sizes: list[int] = []

        def keep(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            networks_of(model)["G_A"](noise((1, 3, 64, 64)))
        kept.append(sum(sizes))
    assert kept[1] < 0.6 * kept[0]


def test_recomputing_needs_a_resnet_without_batch_norm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train_options(tmp_path, "pix2pix", "--netG", "unet_128", "--grad_checkpoint")
    assert "--grad_checkpoint computes the blocks of a ResNet" in capsys.readouterr().err


# ---- accumulated steps --------------------------------------------------------------------


def halves(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a batch of two into two batches."""
    return [{key: value[i : i + 1] for key, value in data.items()} for i in range(2)]


def test_two_accumulated_batches_are_one_of_twice_the_size(tmp_path: Path) -> None:
    """Exactly so for the generators; the pool sees the same images in the same order."""
    argv = ("--pool_size", "0")
    data = double_batch("cycle_gan", 7, n=2)
    whole = build(train_options(tmp_path, "cycle_gan", *argv, "--batch_size", "2"))
    to_double(whole)
    train_step(whole, data)
    parts = build(train_options(tmp_path, "cycle_gan", *argv, "--accumulate", "2"))
    to_double(parts)
    before = weights(parts)
    for number, half in enumerate(halves(data)):
        train_step(parts, half)
        unchanged = all(torch.equal(before[key], value) for key, value in weights(parts).items())
        assert unchanged == (number == 0)
    assert_equal(weights(parts), weights(whole), 1e-7)  # Adam divides by tiny gradients


def test_accumulation_is_not_quite_a_larger_batch_for_pix2pix_and_help_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The discriminator steps before the last of the generator's gradients."""
    argv = ("--norm", "instance", "--no_dropout")
    data = double_batch("pix2pix", 7, n=2)
    whole = build(train_options(tmp_path, "pix2pix", *argv, "--batch_size", "2"))
    parts = build(train_options(tmp_path, "pix2pix", *argv, "--accumulate", "2"))
    for model, batches in ((whole, [data]), (parts, halves(data))):
        to_double(model)
        for each in batches:
            train_step(model, each)
    found, wanted = weights(parts), weights(whole)
    for part, is_equal in (("D.", True), ("G.", False)):
        keys = [key for key in wanted if key.startswith(part)]
        near = all(torch.allclose(found[key], wanted[key], rtol=0, atol=1e-7) for key in keys)
        assert near == is_equal
    with pytest.raises(SystemExit):
        train_options(tmp_path, "pix2pix", "--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "not for pix2pix, whose generator then learns from a discriminator that has not" in said


def test_accumulation_goes_on_after_a_resume(tmp_path: Path) -> None:
    options = train_options(tmp_path, "cycle_gan", "--accumulate", "3")
    batches = [double_batch("cycle_gan", seed) for seed in range(5)]
    straight = build(options)
    to_double(straight)
    for data in batches:
        train_step(straight, data)

    first = build(options)
    to_double(first)
    for data in batches[:4]:  # one waits for two more
        train_step(first, data)
    second = build(options, seed=9)
    to_double(second)
    for name in first.model_names:
        networks_of(second)[name].load_state_dict(networks_of(first)[name].state_dict())
    TrainedModel(second).load_training_state(copy.deepcopy(TrainedModel(first).training_state()))
    before = weights(second)
    train_step(second, batches[4])
    assert all(torch.equal(before[key], value) for key, value in weights(second).items())
    for model in (straight, second):
        train_step(model, batches[0])
    found, wanted = weights(second), weights(straight)
    assert any(not torch.equal(before[key], value) for key, value in found.items())
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("argv", [("--accumulate", "2"), ("--precision", "fp16")], ids=" ".join)
def test_models_that_step_by_themselves_are_told(argv: Sequence[str], tmp_path: Path) -> None:
    model = build(train_options(tmp_path, "template", *argv))
    model.set_input(batch("template", 1))
    model.forward()
    model.output.sum().backward()  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="needs a model that takes its steps by self.opt"):
        model.optimizers[0].step()


# ---- precision ----------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix", "template"])
def test_half_precision_is_inside_the_networks_only(
    kind: str, precision: str, tmp_path: Path
) -> None:
    model = build(train_options(tmp_path, kind, "--precision", precision))
    inside = []
    for name in model.model_names:
        for module in networks_of(model)[name].modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda _m, _i, out: inside.append(out.dtype))
    losses = train_step(model, batch(kind, 1))
    assert set(inside) == {model._optimization.speed.precision.dtype}
    assert {type(value) for value in losses.values()} == {float}
    for image in model.get_current_visuals().values():
        assert image.dtype == torch.float32
    assert all(
        value.dtype != model._optimization.speed.precision.dtype
        for value in weights(model).values()
    )


def test_half_precision_is_near_float32(tmp_path: Path) -> None:
    exact = train_step(build(train_options(tmp_path, "cycle_gan")), batch("cycle_gan", 1))
    model = build(train_options(tmp_path, "cycle_gan", "--precision", "bf16"))
    assert train_step(model, batch("cycle_gan", 1)) == pytest.approx(exact, rel=0.02)


def test_test_py_takes_the_precision(tmp_path: Path) -> None:
    model = build(train_options(tmp_path, "cycle_gan"))
    model.save_networks("latest")
    tested = build(test_options(tmp_path, "test", "--model_suffix", "_A", "--precision", "bf16",
                                "--no_dropout"))  # fmt: skip
    tested.set_input(batch("test", 1))
    tested.test()
    assert tested.fake.dtype == torch.float32  # type: ignore[attr-defined]


def test_a_copy_of_a_network_in_half_precision_is_itself() -> None:
    net = networks.define_G(3, 3, 4, "resnet_6blocks", "instance")
    Precision("bf16", CPU).attach(net)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    x = noise((1, 3, 32, 32))
    assert other(x).abs().max() == 0
    assert net(x).abs().max() > 0
    assert net(x).dtype == torch.float32


def test_an_error_inside_leaves_autocast() -> None:
    net = networks.define_G(3, 3, 4, "resnet_6blocks", "instance")
    Precision("bf16", CPU).attach(net)
    with pytest.raises(UserError):
        net(noise((1, 3, 2, 2)))
    assert not torch.is_autocast_enabled("cpu")
    assert nn.Conv2d(3, 3, 1)(noise((1, 3, 4, 4))).dtype == torch.float32


def test_fp16_passes_over_steps_with_infinite_gradients(tmp_path: Path) -> None:
    model = build(train_options(tmp_path, "pix2pix", "--netG", "unet_128", "--precision", "fp16"))
    data = batch("pix2pix", 1, size=128)
    train_step(model, data)
    scales = model._optimization.state_dict(model.optimizers)["scales"]
    before = weights(model)
    model.set_input(data)
    model.forward()
    model._optimization.clear(model.optimizers[0])
    loss = model.fake_B.mean() * torch.inf  # type: ignore[attr-defined]
    model._optimization.backward(loss, model.optimizers[0])
    model._optimization.step(model.optimizers[0])
    after = weights(model)
    assert all(torch.equal(before[key], after[key]) for key in before if "running" not in key
               and "num_batches" not in key)  # fmt: skip
    fallen = model._optimization.state_dict(model.optimizers)["scales"][0]["scale"]
    assert fallen == scales[0]["scale"] / 2


def test_scale_of_the_losses_is_kept_in_the_state(tmp_path: Path) -> None:
    options = train_options(tmp_path, "template", "--precision", "fp16")
    model, other = build(options), build(options)
    train_step(model, batch("template", 1))
    state = TrainedModel(model).training_state()
    state["steps"]["scales"][0]["scale"] = 128.0
    TrainedModel(other).load_training_state(state)
    assert TrainedModel(other).training_state()["steps"]["scales"][0]["scale"] == 128.0


@pytest.mark.parametrize(
    ("option", "value"), [("--speed", "fastest"), ("--precision", "fp8"), ("--accumulate", "0")]
)
def test_unknown_values_are_refused(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train_options(tmp_path, "cycle_gan", option, value)
    assert f"{option} {value}" in capsys.readouterr().err


# ---- optimisers ---------------------------------------------------------------------------


def test_fused_steps_are_taken_unless_the_model_chose(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.zeros(3))
    plain = torch.optim.Adam([weight])
    assert use_fused_steps(plain)
    assert plain.param_groups[0]["fused"]
    assert not use_fused_steps(torch.optim.Adam([weight], foreach=True))
    assert not use_fused_steps(torch.optim.Adam([weight], fused=False))
    assert not use_fused_steps(torch.optim.RMSprop([weight]))
    meta = nn.Parameter(torch.zeros(3, device="meta"))
    assert not use_fused_steps(torch.optim.Adam([meta]))


def test_state_of_other_optimiser_settings_is_taken(tmp_path: Path) -> None:
    """States saved before there were fused steps."""
    model, other = (build(train_options(tmp_path, "template")) for _ in range(2))
    train_step(model, batch("template", 1))
    state = copy.deepcopy(TrainedModel(model).training_state())
    for each in state["optimizers"][0]["param_groups"]:
        each["fused"] = None
    del state["steps"]
    networks_of(other)["G"].load_state_dict(networks_of(model)["G"].state_dict())
    TrainedModel(other).load_training_state(state)
    assert other.optimizers[0].param_groups[0]["fused"]
    for one in (model, other):
        train_step(one, batch("template", 2))
    found, wanted = weights(other), weights(model)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


# ---- compiled networks --------------------------------------------------------------------


@pytest.fixture
def compile_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch's compiler take networks apart as ever, but run the parts: no minutes of C++.

    Its kernels are compared below, those of whole models in tests/golden/test_trajectories.py.
    """
    compile_fully = nn.Module.compile

    def compile_quickly(net: nn.Module, **settings: Any) -> None:
        assert settings["options"]["triton.cudagraphs"] is False
        compile_fully(net, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", compile_quickly)
    monkeypatch.setattr(speed, "check_compiler", lambda device: None)


looks_at_gradients = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


@pytest.mark.slow
@looks_at_gradients
def test_kernels_that_the_compiler_makes_give_the_same_output_and_gradients() -> None:
    net = networks.define_D(3, 4, "n_layers", n_layers_D=1, norm="instance").double()
    compiled = copy.deepcopy(net)
    speed.compile_network(compiled, CPU)
    found = []
    for each in (net, compiled):
        x = noise((2, 3, 16, 16), torch.Generator().manual_seed(1)).double().requires_grad_()
        output = each(x)
        output.square().sum().backward()
        of_weights = {key: parameter.grad for key, parameter in each.named_parameters()}
        found.append({"output": output.detach(), "input": x.grad, **of_weights})
    assert_equal(*found)


@pytest.mark.slow
@looks_at_gradients
@pytest.mark.usefixtures("compile_without_kernels")
@pytest.mark.parametrize(
    "argv", some([("--norm", "batch"), (), ("--gan_mode", "wgangp")]), ids=" ".join
)
@pytest.mark.parametrize("way", ["in parts", "together"])
def test_compiled_networks_change_nothing_but_rounding(
    way: str, argv: Sequence[str], tmp_path: Path
) -> None:
    losses, found = take_a_step(tmp_path, way, *argv, "--compile")
    wanted_losses, wanted = take_a_step(tmp_path, way, *argv)
    assert losses == pytest.approx(wanted_losses, rel=1e-10)
    assert_equal(found, wanted, 1e-9)


@pytest.mark.slow
@looks_at_gradients
@pytest.mark.usefixtures("compile_without_kernels")
def test_compiled_networks_keep_keys_classes_and_messages(tmp_path: Path) -> None:
    plain = build(train_options(tmp_path, "cycle_gan"))
    model = build(train_options(tmp_path, "cycle_gan", "--compile", "--precision", "bf16"))
    assert weights(model).keys() == weights(plain).keys()
    net: Any = model.netG_A  # type: ignore[attr-defined]
    assert type(net) is networks.ResnetGenerator
    assert net(noise((1, 3, 32, 32))).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(UserError, match="too small for a ResNet"):
        net(noise((1, 3, 2, 2)))
    assert not torch.is_autocast_enabled("cpu")
    copied = copy.deepcopy(net)
    assert copied(noise((1, 3, 32, 32))).shape == (1, 3, 32, 32)


@pytest.mark.slow
@pytest.mark.usefixtures("compile_without_kernels")
def test_compiling_for_the_cpu_is_said_to_be_slower(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(train_options(tmp_path, "cycle_gan", "--compile"))
    assert "networks were slower with it" in capsys.readouterr().out
    build(train_options(tmp_path, "cycle_gan", "--speed", "max"))
    assert "compiled" not in capsys.readouterr().out


@pytest.mark.usefixtures("compile_without_kernels")
def test_networks_whose_layers_wait_for_other_processes_are_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one process draws its dropout in what was compiled, another one does not."""
    opt = train_options(tmp_path, "cycle_gan", "--compile")
    nets = {
        "plain": nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)),
        "norm": nn.Sequential(SyncBatchNorm2d(3)),
        "dropout": nn.Sequential(SharedDropout(0.5)),
    }
    assert "compiled networks" in Speed(opt, CPU).set_up({"norm": nets["norm"]})  # alone
    nets["norm"] = nn.Sequential(SyncBatchNorm2d(3))
    monkeypatch.setattr(group, "count", lambda: 2)
    *_, last = Speed(opt, CPU).set_up(nets)
    assert last == "compiled networks (not norm, dropout: layers wait for other processes)"
    assert [is_compiled(net) for net in nets.values()] == [True, False, False]


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be no C++ compiler."""

    def fail(*_: Any) -> Any:
        raise RuntimeError("no working C++ compiler found")

    speed.check_compiler.cache_clear()
    monkeypatch.setattr(torch, "compile", fail)


@pytest.mark.usefixtures("no_compiler")
def test_missing_compiler_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        build(train_options(tmp_path, "cycle_gan", "--compile"))


@pytest.mark.usefixtures("no_compiler")
def test_speed_max_goes_on_without_a_compiler(capsys: pytest.CaptureFixture[str]) -> None:
    options = Namespace(speed="max")
    chosen = Speed(options, torch.device("cuda"))  # where it would compile
    assert chosen.set_up({"G": nn.Conv2d(3, 3, 1)}) == ["speed max: fp32"]
    assert "goes on without compiled networks" in capsys.readouterr().err


# ---- what people do with networks and optimisers -------------------------------------------


def test_gradients_in_another_order_in_memory_are_taken_rightly(tmp_path: Path) -> None:
    """Somebody's own gradients, for example those of torch.autograd.grad in channels_last."""
    torch.manual_seed(0)
    start = torch.randn(4, 3, 3, 3)
    gradient = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    weights_after = []
    for fused in (True, False):
        weight = nn.Parameter(start.clone())
        optimizer = torch.optim.Adam([weight], lr=0.1)
        assert not fused or use_fused_steps(optimizer)
        weight.grad = gradient.clone(memory_format=torch.preserve_format)
        optimizer.step()
        weights_after.append(weight.detach())
    assert torch.allclose(weights_after[0], weights_after[1], atol=1e-6)


def test_moments_in_another_order_in_memory_are_taken_rightly(tmp_path: Path) -> None:
    options = train_options(tmp_path, "template")
    model, other = build(options), build(options)
    train_step(model, batch("template", 1))
    state = copy.deepcopy(TrainedModel(model).training_state())
    for moments in state["optimizers"][0]["state"].values():
        for key in ("exp_avg", "exp_avg_sq"):
            if moments[key].dim() == 4:
                moments[key] = moments[key].contiguous(memory_format=torch.channels_last)
    networks_of(other)["G"].load_state_dict(networks_of(model)["G"].state_dict())
    TrainedModel(other).load_training_state(state)
    for one in (model, other):
        train_step(one, batch("template", 2))
    found, wanted = weights(other), weights(model)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize(("netG", "size"), [("resnet_6blocks", 32), ("unet_128", 128)])
def test_gradients_for_higher_derivatives_are_the_usual_ones(
    netG: str, size: int, norm: str
) -> None:
    torch.manual_seed(0)
    net = networks.define_G(3, 3, 4, netG, norm).double()
    x = noise((1, 3, size, size)).double().requires_grad_()
    parameters = list(net.parameters())
    found = [
        torch.autograd.grad(net(x).pow(2).sum(), [x, *parameters], create_graph=create_graph)
        for create_graph in (True, False)
    ]
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-8, atol=1e-8 * float(other.abs().max() + 1e-12))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_statistics_can_be_measured_anew(momentum: float | None) -> None:
    """As torch.optim.swa_utils.update_bn does for averaged weights."""
    torch.manual_seed(0)
    ours = networks.define_D(3, 4, "basic", norm="batch")
    theirs = copy.deepcopy(ours)
    for net in (ours, theirs):
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = momentum
                if net is theirs:
                    module.__class__ = nn.BatchNorm2d
    for seed in range(3):
        x = noise((2, 3, 32, 32), torch.Generator().manual_seed(seed))
        assert torch.equal(ours(x), theirs(x))
    for (name, one), (_, other) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("made_by", ["deepcopy", "save", "assign"])
def test_all_parameters_of_copies_get_gradients(made_by: str, tmp_path: Path) -> None:
    net = networks.define_G(3, 3, 4, "resnet_6blocks", "instance")
    if made_by == "deepcopy":
        net = copy.deepcopy(net)
    elif made_by == "save":
        torch.save(net, tmp_path / "net.pt")  # noqa: TID251 - as others do
        net = torch.load(tmp_path / "net.pt", weights_only=False)  # noqa: TID251
    else:
        net.load_state_dict(copy.deepcopy(net.state_dict()), assign=True)
    net(noise((1, 3, 32, 32))).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    gradients = torch.autograd.grad(net(noise((1, 3, 32, 32))).sum(), list(net.parameters()))
    assert len(gradients) == len(list(net.parameters()))


def test_a_single_image_without_batch_is_translated() -> None:
    net = networks.define_G(3, 3, 4, "resnet_6blocks", "instance").double()
    x = noise((1, 3, 32, 32)).double()
    assert torch.allclose(net(x[0]), net(x)[0], atol=1e-10)


@pytest.mark.parametrize("change", ["dropout", "spectral norm", "parametrization", "hook"])
def test_changed_discriminators_judge_one_batch_at_a_time(change: str) -> None:
    net = networks.define_D(3, 4, "basic", norm="instance")
    x = noise((1, 3, 32, 32))
    assert switches.can_discriminate_as_one_batch(net, x, x)
    if change == "dropout":
        net.model.append(nn.Dropout(0.5))
    elif change == "spectral norm":
        torch.nn.utils.spectral_norm(net.model[0])
    elif change == "parametrization":
        torch.nn.utils.parametrizations.spectral_norm(net.model[0])
    else:
        net.model[0].register_forward_hook(lambda *_: None)
    assert not switches.can_discriminate_as_one_batch(net, x, x)


@pytest.mark.parametrize("argv", [("--accumulate", "2"), ("--precision", "fp16")], ids=" ".join)
def test_frozen_networks_take_no_step(argv: Sequence[str], tmp_path: Path) -> None:
    """No gradients: torch's GradScaler would complain, and means of nothing fail."""
    model = build(train_options(tmp_path, "template", *argv))
    before = weights(model)
    for _ in range(2):
        model._optimization.step(model.optimizers[0])
    for name, value in weights(model).items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("netG", "argv", "amx", "wanted"),
    [
        ("unet_128", (), True, False),  # another layout would draw another dropout mask
        ("unet_128", ("--speed", "max"), True, False),  # slower in float32
        ("unet_128", ("--speed", "max", "--precision", "bf16"), False, False),
        ("unet_128", ("--speed", "max", "--precision", "bf16"), True, True),
        ("resnet_6blocks", (), False, False),
        ("resnet_6blocks", ("--no_dropout",), False, True),
        ("resnet_6blocks", ("--speed", "max"), False, True),
    ],
)
def test_networks_compute_in_the_layout_that_suits_them(
    netG: str, argv: Sequence[str], amx: bool, wanted: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    model: Any = build(train_options(tmp_path, "pix2pix", "--netG", netG, *argv))
    assert ("cpu" in model.netG.channels_last_on) is wanted


# ---- layers that somebody has replaced ----------------------------------------------------


def in_plain_torch(net: nn.Module) -> nn.Sequential:
    """Return the layers of a PatchGAN with instance norm, as torch has them."""
    made: Any = copy.deepcopy(net.model)
    for number, layer in enumerate(made):
        if isinstance(layer, InstanceNorm2d):
            made[number] = nn.InstanceNorm2d(layer.num_features)
        elif isinstance(layer, Conv2d):
            layer.__class__ = nn.Conv2d
    return made


@pytest.mark.parametrize(
    ("places", "other"),
    [((4, 7, 10), nn.ELU), ((1, 4, 7, 10), nn.ReLU), ((3, 6, 9), nn.Identity), ((3,), nn.Identity)],
    ids=["other activations", "known activations", "no norms", "one norm less"],
)
def test_layers_that_were_replaced_do_what_they_say(
    places: tuple[int, ...], other: Callable[[], nn.Module], tmp_path: Path
) -> None:
    model: Any = create_model(train_options(tmp_path, "cycle_gan"))
    twin = in_plain_torch(model.netD_A)
    for place in places:
        model.netD_A.model[place], twin[place] = other(), other()
    model.setup(model.opt)
    x = noise((2, 3, 32, 32))
    assert torch.allclose(model.netD_A(x), twin(x), atol=1e-5)


def test_a_bias_stays_out_when_the_norm_behind_it_is_replaced() -> None:
    """As docs/differences.md says: it stays as it was at first, which is 0."""
    net = networks.define_D(3, 4, "basic", norm="instance")
    net.model[3] = nn.Identity()
    x = noise((1, 3, 32, 32))
    before = net(x)
    nn.init.ones_(net.model[2].bias)
    after = net(x)
    assert torch.equal(after, before)
    after.sum().backward()
    assert not net.model[2].bias.grad.any()


def test_activations_that_were_replaced_inside_do_what_they_say(tmp_path: Path) -> None:
    """As people do who go through all modules."""
    model: Any = create_model(train_options(tmp_path, "cycle_gan"))
    twin = in_plain_torch(model.netD_A)
    for net in (model.netD_A, twin):
        for parent in list(net.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, nn.LeakyReLU):
                    setattr(parent, name, nn.ELU())
    model.setup(model.opt)
    x = noise((2, 3, 32, 32))
    assert torch.allclose(model.netD_A(x), twin(x), atol=1e-5)


def test_a_hook_that_copies_what_the_norm_made_changes_nothing() -> None:
    net = networks.define_D(3, 4, "basic", norm="instance")
    x = noise((1, 3, 32, 32))
    wanted = net(x)
    for module in net.modules():
        if isinstance(module, InstanceNorm2d):
            module.register_forward_hook(lambda _module, _input, made: made.clone())
    assert torch.allclose(net(x), wanted, atol=1e-6)


def test_hooks_of_a_discriminator_see_single_batches(tmp_path: Path) -> None:
    net = networks.define_D(3, 4, "basic", norm="instance")
    x = noise((1, 3, 32, 32))
    Precision("bf16", x.device).attach(net)
    assert switches.can_discriminate_as_one_batch(net, x, x)
    net.register_forward_hook(lambda *_: None)
    assert not switches.can_discriminate_as_one_batch(net, x, x)
