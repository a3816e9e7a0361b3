"""The tools of a step: scaled losses, accumulated gradients, optimisers made later, averages."""

import copy
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from models import networks
from models.base_model import BaseModel
from models.optimization.averages import Averages
from models.optimization.step import Optimization
from models.storage.names import networks_of
from models.storage.trained_model import TrainedModel
from tests.support.small_models import batch, train_options
from util.base.errors import UserError

CPU = torch.device("cpu")
X = torch.tensor([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]]).double()


class Two:
    """Two networks with an optimiser each, and the tools to train them."""

    def __init__(self, **options: Any) -> None:
        torch.manual_seed(0)
        self.G, self.D = nn.Linear(3, 3).double(), nn.Linear(3, 1).double()
        self.optimizer_G = torch.optim.SGD(self.G.parameters(), lr=0.125, momentum=0.5)
        self.optimizer_D = torch.optim.SGD(self.D.parameters(), lr=0.25)
        self.tools = Optimization(Namespace(**options), CPU)
        self.tools.set_up({}, [self.optimizer_G, self.optimizer_D])

    def loss(self, scale: float = 1.0) -> Tensor:
        """Return a loss that trains both."""
        return (self.D(self.G(X)) * scale).square().mean()

    def weights(self) -> list[Tensor]:
        """Return copies of all weights."""
        return [p.detach().clone() for net in (self.G, self.D) for p in net.parameters()]

    def state(self) -> dict[str, Any]:
        """Return what the next steps depend on."""
        return copy.deepcopy(self.tools.state_dict([self.optimizer_G, self.optimizer_D]))


def all_equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Tell whether these are bit for bit the same."""
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def train_both(two: Two, batches: int, each: Callable[[Two, int], None]) -> list[Tensor]:
    """Take the steps of some batches, and return the weights."""
    for number in range(batches):
        two.tools.begin_batch()
        each(two, number)
    return two.weights()


def one_loss_for_both(two: Two, number: int) -> None:
    """Train both networks by one loss."""
    for optimizer in (two.optimizer_G, two.optimizer_D):
        two.tools.clear(optimizer)
    two.tools.backward(two.loss(1 + number), two.optimizer_G, two.optimizer_D)
    two.tools.step(two.optimizer_G, two.G)
    two.tools.step(two.optimizer_D, two.D)


def two_steps_of_D(two: Two, number: int) -> None:
    """Let D step twice, then G once."""
    for scale in (1 + number, 0.5):
        two.tools.clear(two.optimizer_D)
        two.tools.backward(two.loss(scale), two.optimizer_D)
        two.tools.step(two.optimizer_D, two.D)
    two.tools.clear(two.optimizer_G)
    two.tools.backward(two.loss(2), two.optimizer_G)
    two.tools.step(two.optimizer_G, two.G)


# ---- scaled losses --------------------------------------------------------------------------


@pytest.mark.parametrize("each", [one_loss_for_both, two_steps_of_D])
def test_scaled_losses_give_the_same_steps(each: Callable[[Two, int], None]) -> None:
    """Scales are powers of two, so that no bit changes."""
    wanted = train_both(Two(), 3, each)
    assert all_equal(train_both(Two(precision="fp16"), 3, each), wanted)
    assert not all_equal(Two().weights(), wanted)


@pytest.mark.parametrize("each", [one_loss_for_both, two_steps_of_D])
def test_one_infinite_loss_lowers_the_scale_once_and_moves_nothing(
    each: Callable[[Two, int], None],
) -> None:
    two = Two(precision="fp16")
    train_both(two, 1, each)
    scale, before = two.state()["scales"][0]["scale"], two.weights()
    two.tools.clear(two.optimizer_G)
    two.tools.clear(two.optimizer_D)
    two.tools.backward(two.loss() * torch.inf, two.optimizer_G, two.optimizer_D)
    two.tools.step(two.optimizer_G)
    two.tools.step(two.optimizer_D)
    assert all_equal(two.weights(), before)
    assert [state["scale"] for state in two.state()["scales"]] == [scale / 2]


def test_gradients_that_wait_keep_the_scale() -> None:
    """The scale would fall after D's step, but G's gradients were made with the old one."""
    two, plain = Two(precision="fp16"), Two()
    for each in (two, plain):
        loss = each.loss()
        each.tools.backward(loss, each.optimizer_G, each.optimizer_D)
    assert two.D.weight.grad is not None
    two.D.weight.grad[0, 0] = torch.inf
    two.tools.step(two.optimizer_D, two.D)
    before = two.state()["scales"][0]["scale"]
    for each in (two, plain):
        each.tools.step(each.optimizer_G, each.G)
    assert torch.equal(two.G.weight, plain.G.weight)
    assert two.state()["scales"][0]["scale"] == before / 2


def test_a_second_step_while_gradients_of_others_wait_is_refused() -> None:
    two = Two(precision="fp16")
    two.tools.backward(two.loss(), two.optimizer_G, two.optimizer_D)
    two.tools.step(two.optimizer_D, two.D)
    two.tools.clear(two.optimizer_D)
    with pytest.raises(UserError, match="Take all steps of a loss before"):
        two.tools.backward(two.loss(), two.optimizer_D)
    two.tools.clear(two.optimizer_G)  # they are thrown away
    two.tools.backward(two.loss(), two.optimizer_D)


def test_a_step_without_a_scaled_loss_is_refused() -> None:
    two = Two(precision="fp16")
    two.loss().backward()
    with pytest.raises(UserError, match=r"by self.optimization.backward\(loss, optimizer\)"):
        two.tools.step(two.optimizer_D, two.D)


def test_scales_of_earlier_versions_are_taken() -> None:
    """They had one for each optimiser."""
    two = Two(precision="fp16")
    scales = two.state()["scales"] * 2
    scales = [scales[0] | {"scale": 512.0}, scales[1] | {"scale": 64.0}]
    two.tools.load_state_dict({"scales": scales}, [two.optimizer_G, two.optimizer_D])
    assert two.state()["scales"][0]["scale"] == 64.0


# ---- accumulated gradients ------------------------------------------------------------------


def test_both_steps_of_a_batch_wait_for_themselves() -> None:
    two = Two(accumulate=2)
    before = two.weights()
    train_both(two, 1, two_steps_of_D)
    assert all_equal(two.weights(), before)

    wanted = Two()
    gradients = [
        torch.autograd.grad(wanted.loss(scale), list(wanted.D.parameters())) for scale in (1, 0.5)
    ]
    of_G = torch.autograd.grad(wanted.loss(2), list(wanted.G.parameters()))
    for first, scale in zip(gradients, (2, 0.5), strict=True):  # the second batch
        second = torch.autograd.grad(wanted.loss(scale), list(wanted.D.parameters()))
        for parameter, one, other in zip(wanted.D.parameters(), first, second, strict=True):
            parameter.grad = (one + other) / 2
        wanted.optimizer_D.step()
    second_of_G = torch.autograd.grad(wanted.loss(2), list(wanted.G.parameters()))
    for parameter, one, other in zip(wanted.G.parameters(), of_G, second_of_G, strict=True):
        parameter.grad = (one + other) / 2
    wanted.optimizer_G.step()

    two.tools.begin_batch()
    two_steps_of_D(two, 1)
    assert all_equal(two.weights(), wanted.weights())


def test_a_step_that_is_not_asked_for_in_every_batch_waits_longer() -> None:
    two = Two(accumulate=2)
    taken: list[int] = []
    two.optimizer_D.register_step_post_hook(lambda *_: taken.append(number))
    for number in range(8):
        two.tools.begin_batch()
        if number % 2 == 0:
            one_loss_for_both(two, number)
    assert taken == [2, 6]


def test_without_batches_each_step_counts_as_one() -> None:
    """A fork's own train.py tells no batches."""
    told, untold = Two(accumulate=3), Two(accumulate=3)
    wanted = train_both(told, 7, one_loss_for_both)
    for number in range(7):
        one_loss_for_both(untold, number)
    assert all_equal(untold.weights(), wanted)
    assert not all_equal(Two().weights(), wanted)


def test_gradients_that_other_losses_leave_do_not_count() -> None:
    """As a generator's loss leaves some in a discriminator that is not frozen."""

    def each(two: Two, number: int) -> None:
        two.tools.clear(two.optimizer_G)
        two.tools.backward(two.loss(number), two.optimizer_G)
        two.tools.step(two.optimizer_G, two.G)
        two.tools.clear(two.optimizer_D)
        two.tools.backward(two.loss(0.5), two.optimizer_D)
        two.tools.step(two.optimizer_D, two.D)

    clean = Two(accumulate=2)
    begin = clean.tools.clear

    def clear(optimizer: torch.optim.Optimizer) -> None:
        for net in (clean.G, clean.D):
            net.requires_grad_((optimizer is clean.optimizer_G) == (net is clean.G))
        begin(optimizer)

    clean.tools.clear = clear  # type: ignore[method-assign]
    assert all_equal(train_both(Two(accumulate=2), 4, each), train_both(clean, 4, each))


def test_a_model_may_clear_gradients_by_itself() -> None:
    def each(two: Two, number: int) -> None:
        two.optimizer_D.zero_grad()
        two.tools.backward(two.loss(number), two.optimizer_D)
        two.tools.step(two.optimizer_D, two.D)

    def with_clear(two: Two, number: int) -> None:
        two.tools.clear(two.optimizer_D)
        two.tools.backward(two.loss(number), two.optimizer_D)
        two.tools.step(two.optimizer_D, two.D)

    found, wanted = (train_both(Two(accumulate=3), 6, way) for way in (each, with_clear))
    assert all(torch.allclose(*pair, rtol=1e-14) for pair in zip(found, wanted, strict=True))
    assert not all_equal(Two().weights(), wanted)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_accumulation_goes_on_from_a_state(precision: str) -> None:
    options = {"accumulate": 3, "precision": precision}
    straight, first, second = Two(**options), Two(**options), Two(**options)
    wanted = train_both(straight, 6, one_loss_for_both)
    train_both(first, 5, one_loss_for_both)
    for name in ("G", "D"):
        getattr(second, name).load_state_dict(getattr(first, name).state_dict())
        optimizer = f"optimizer_{name}"
        getattr(second, optimizer).load_state_dict(getattr(first, optimizer).state_dict())
    second.tools.load_state_dict(first.state(), [second.optimizer_G, second.optimizer_D])
    second.tools.begin_batch()
    one_loss_for_both(second, 5)
    assert all_equal(second.weights(), wanted)


def test_waiting_gradients_of_earlier_versions_are_taken() -> None:
    """They knew one step of an optimiser in a batch: a number, and one list of gradients."""
    two = Two(accumulate=2)
    train_both(two, 1, one_loss_for_both)
    state = two.state()
    old = {name: [steps[0] for steps in state[name]] for name in ("waiting", "gradients")}
    assert old["waiting"] == [1, 1]
    other = Two(accumulate=2)
    other.tools.load_state_dict(old | {"scales": []}, [other.optimizer_G, other.optimizer_D])
    for each in (two, other):
        each.tools.begin_batch()
        one_loss_for_both(each, 1)
    assert all_equal(other.weights(), two.weights())
    assert not all_equal(other.weights(), Two().weights())


def test_two_steps_of_a_batch_cannot_be_scaled_and_accumulated() -> None:
    with pytest.raises(UserError, match="leave out --accumulate if an optimiser steps twice"):
        train_both(Two(accumulate=2, precision="fp16"), 2, two_steps_of_D)


# ---- averages of weights ------------------------------------------------------------------------


@pytest.mark.parametrize("each", [one_loss_for_both, two_steps_of_D])
@pytest.mark.parametrize(
    ("options", "every"), [({}, 1), ({"accumulate": 2}, 2), ({"precision": "fp16"}, 1)]
)
def test_averages_follow_once_in_each_batch_whose_steps_are_taken(
    each: Callable[[Two, int], None], options: dict[str, Any], every: int
) -> None:
    two = Two(**options)
    averages = two.tools.averages = Averages(0.5, {"G": two.G, "D": two.D})
    wanted = two.weights()
    for number in range(4):
        now = train_both(two, 1, lambda two, _: each(two, number))  # noqa: B023 - called at once
        if number % every == every - 1:
            wanted = [(old + new) / 2 for old, new in zip(wanted, now, strict=True)]
    found = averages.values()
    for value, formula in zip([*found["G"], *found["D"]], wanted, strict=True):
        torch.testing.assert_close(value, formula, rtol=1e-12, atol=0)


# ---- optimisers made later -------------------------------------------------------------------


class Later(BaseModel):
    """Makes its second optimiser in its first batch."""

    steps_itself = False

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.loss_names = ["G"]
        self.model_names = ["G", "E"]
        self.netG, self.netE = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.optimizers = [torch.optim.Adam(self.netG.parameters(), lr=opt.lr)]

    def set_input(self, input: dict[str, Any]) -> None:
        self.real = input["A"]

    def forward(self) -> None:
        self.fake = self.netE(self.netG(self.real))

    def optimize_parameters(self) -> None:
        if len(self.optimizers) == 1:
            self.optimizers.append(torch.optim.Adam(self.netE.parameters(), lr=self.opt.lr))
        self.forward()
        self.loss_G = (self.fake - self.real).abs().mean()
        if self.steps_itself:
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            self.loss_G.backward()
            for optimizer in self.optimizers:
                optimizer.step()
            return
        for optimizer in self.optimizers:
            self.optimization.clear(optimizer)
        self.optimization.backward(self.loss_G, *self.optimizers)
        for optimizer in self.optimizers:
            self.optimization.step(optimizer)


def later(folder: Path, *more: str, kind: type[Later] = Later) -> TrainedModel:
    """Return such a model, ready to train for four epochs, in which its rates fall."""
    epochs = ("--n_epochs", "1", "--n_epochs_decay", "3")
    opt = train_options(folder, "template", *epochs, *more)
    torch.manual_seed(0)
    model = kind(opt)
    model.setup(opt)
    return TrainedModel(model)


def take(training: TrainedModel, steps: Sequence[int]) -> list[float]:
    """Take a step with each of these batches, and return the losses."""
    losses = []
    for number in steps:
        training.begin_batch()
        training.model.set_input(batch("template", number))
        training.model.optimize_parameters()
        losses.append(training.model.get_current_losses()["G"])
    return losses


def rates(training: TrainedModel) -> list[float]:
    """Return the learning rates."""
    return [float(o.param_groups[0]["lr"]) for o in training.model.optimizers]


POLICIES = ["linear", "step", "cosine", "plateau"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("epoch_count", ["1", "2"])
@pytest.mark.parametrize("waits", [0, 2])
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_an_optimiser_made_later_has_the_schedule_of_the_others(
    policy: str, epoch_count: str, waits: int, tmp_path: Path
) -> None:
    more = ("--lr_policy", policy, "--lr_decay_iters", "1", "--epoch_count", epoch_count)
    training = later(tmp_path, *more)
    for _ in range(waits):  # epochs before its first batch
        training.model.update_learning_rate()
    take(training, [0])
    assert training.model.optimizers[1].param_groups[0]["fused"]
    for _ in range(4 - waits - int(epoch_count)):
        training.model.update_learning_rate()
        assert rates(training)[0] == pytest.approx(rates(training)[1])
    schedulers: list[LRScheduler] = training.model.schedulers
    assert [each.last_epoch for each in schedulers] == [schedulers[0].last_epoch] * 2


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("more", [(), ("--accumulate", "2"), ("--precision", "fp16")])
def test_a_run_with_an_optimiser_made_later_goes_on_exactly(
    policy: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    options = ("--lr_policy", policy, "--lr_decay_iters", "1", *more)
    first, second = later(tmp_path, *options), later(tmp_path, *options)
    take(first, range(3))
    first.model.update_learning_rate()
    take(first, [3, 4])
    first.model.save_networks("latest")
    state = copy.deepcopy(first.training_state())
    wanted = take(first, range(5, 9))
    second.model.load_networks("latest")
    second.load_training_state(state)
    assert take(second, range(5, 9)) == wanted
    for training in (first, second):
        training.model.update_learning_rate()
    assert rates(second) == rates(first)
    assert len(set(wanted)) == 4


def test_an_optimiser_that_steps_by_itself_gets_its_state_after_its_first_step(
    tmp_path: Path,
) -> None:
    class Alone(Later):
        steps_itself = True

    first, second = later(tmp_path, kind=Alone), later(tmp_path, kind=Alone)
    take(first, range(3))
    state = copy.deepcopy(first.training_state())
    second.load_training_state(state)
    take(second, [3])
    assert len(second.model.schedulers) == 1
    second.begin_batch()
    assert len(second.model.schedulers) == 2
    found = second.model.optimizers[1].state_dict()["state"][0]["exp_avg"]
    assert torch.equal(found, state["optimizers"][1]["state"][0]["exp_avg"])


def test_a_state_from_before_the_later_optimiser_is_taken(tmp_path: Path) -> None:
    """As when a run goes back to its last save."""
    training = later(tmp_path)
    state = copy.deepcopy(training.training_state())
    take(training, [0, 1])
    training.load_training_state(state, keep_rates=True)
    assert len(training.model.schedulers) == len(training.model.optimizers) == 2


def test_a_state_with_optimisers_that_never_come_is_refused(tmp_path: Path) -> None:
    training = later(tmp_path)
    take(training, [0])
    state = training.training_state() | {"made_later": 0}
    with pytest.raises(UserError, match=r"other optimizers \(2\) than this Later \(1\)"):
        later(tmp_path).load_training_state(state)


def test_exchanged_optimisers_are_the_models_business(tmp_path: Path) -> None:
    training = later(tmp_path)
    training.model.optimizers[0] = torch.optim.Adam(networks_of(training.model)["G"].parameters())
    training.begin_batch()
    assert len(training.model.schedulers) == 1


def test_optimisers_may_be_put_before_the_others(tmp_path: Path) -> None:
    training = later(tmp_path, "--lr_policy", "step", "--lr_decay_iters", "1")
    new = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.0002)
    training.model.optimizers.insert(0, new)
    training.begin_batch()
    training.begin_batch()
    schedulers: list[LRScheduler] = training.model.schedulers
    assert [each.optimizer for each in schedulers] == training.model.optimizers[::-1]


def test_a_setup_of_ones_own_has_the_schedules_that_it_wants(tmp_path: Path) -> None:
    class Own(Later):
        def setup(self, opt: Namespace) -> None:
            self.schedulers = [networks.get_scheduler(each, opt) for each in self.optimizers]

    class Without(Later):
        def setup(self, opt: Namespace) -> None:
            """Train at one rate."""

    class Both(Later):
        def setup(self, opt: Namespace) -> None:
            super().setup(opt)
            new = torch.optim.Adam(self.netG.parameters(), lr=opt.lr)
            self.optimizers.append(new)
            self.schedulers.append(networks.get_scheduler(new, opt))

    for kind, wanted in ((Own, 1), (Without, 0), (Both, 2)):
        training = later(tmp_path, kind=kind)
        training.begin_batch()
        assert len(training.model.schedulers) == wanted, kind


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_going_back_to_a_save_leaves_the_epochs_that_were_counted(tmp_path: Path) -> None:
    training = later(tmp_path, "--lr_policy", "step", "--lr_decay_iters", "1")
    state = copy.deepcopy(training.training_state())
    training.model.update_learning_rate()
    training.load_training_state(state, keep_rates=True)
    take(training, [0])  # makes the other optimiser
    assert rates(training)[0] == pytest.approx(rates(training)[1])


def test_a_step_that_fails_leaves_the_others_refused() -> None:
    two = Two(accumulate=2)
    two.tools.prepare(two.optimizer_D)

    def fail(*_: Any) -> None:
        raise MemoryError

    handle = two.optimizer_D.register_step_post_hook(fail)
    with pytest.raises(MemoryError):
        train_both(two, 2, one_loss_for_both)
    handle.remove()
    with pytest.raises(UserError, match="--accumulate 2 needs a model"):
        two.optimizer_D.step()
