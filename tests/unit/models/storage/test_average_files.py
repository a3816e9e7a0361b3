"""Averages of a model's weights: whose, where they start, on disk, and where they are used."""

import copy
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import models.pix2pix_model
from models.base_model import BaseModel
from models.networks import define_G
from models.pix2pix_model import Pix2PixModel
from models.storage.names import networks_of
from models.storage.trained_model import TrainedModel
from tests.support.small_models import batch, build, test_options, train_options, weights
from util.base.errors import UserError
from util.base.new_options import OURS
from util.storage import checkpoint

Capture = pytest.CaptureFixture[str]
EMA = ("--ema", "0.9")


class Model(Pix2PixModel):
    """pix2pix that the tests derive from."""


@pytest.fixture
def pix2pix(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[BaseModel]], None]:
    """Return a function that lets `--model pix2pix` be another class."""

    def let(model: type[BaseModel]) -> None:
        model.__name__ = "Pix2PixModel"
        monkeypatch.setattr(models.pix2pix_model, "Pix2PixModel", model)

    return let


def training(folder: Path, *more: str, kind: str = "pix2pix") -> TrainedModel:
    return TrainedModel(build(train_options(folder, kind, "--lr", "0.1", *more)))


def take(trained: TrainedModel, steps: int = 2, kind: str = "pix2pix") -> None:
    for number in range(steps):
        trained.begin_batch()
        trained.model.set_input(batch(kind, number))
        trained.model.optimize_parameters()


def averages_of(trained: TrainedModel) -> dict[str, list[Tensor]]:
    return {
        name: [value.clone() for value in values]
        for name, values in trained.model._optimization.averages.values().items()
    }


def same(one: dict[str, list[Tensor]], other: dict[str, list[Tensor]]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(a, b) for name in one for a, b in zip(one[name], other[name], strict=True)
    )


def save(trained: TrainedModel, label: str = "latest") -> list[str]:
    files = trained.save_networks(label)
    with checkpoint.FileSet() as written:
        for path, state in files.items():
            written.add(path, state)
    return sorted(path.name for path in files)


def first_weight(state: Any) -> Tensor:
    return next(iter(state.values()))


# ---- whose, and where they start ------------------------------------------------------------


@pytest.mark.parametrize(("kind", "names"), [("pix2pix", ["G"]), ("cycle_gan", ["G_A", "G_B"])])
def test_generators_have_averages_that_start_from_their_weights(
    kind: str, names: list[str], tmp_path: Path, capsys: Capture
) -> None:
    trained = training(tmp_path, *EMA, kind=kind)
    assert f"averages of {', '.join(names)} (--ema 0.9)" in capsys.readouterr().out
    found, nets = averages_of(trained), networks_of(trained.model)
    assert list(found) == names
    for name in names:
        assert all(map(torch.equal, found[name], nets[name].parameters()))
    take(trained, kind=kind)
    for name, values in averages_of(trained).items():
        assert not torch.equal(values[0], found[name][0])


def test_without_the_option_there_are_none(tmp_path: Path, capsys: Capture) -> None:
    trained = training(tmp_path)
    assert trained.model._optimization.averages is None
    assert save(trained) == ["latest_net_D.pth", "latest_net_G.pth"]
    assert "averages" not in capsys.readouterr().out


def test_a_model_says_whose_and_where_they_start(
    tmp_path: Path, pix2pix: Callable[[type[BaseModel]], None]
) -> None:
    class Own(Model):
        def __init__(self, opt: Namespace) -> None:
            super().__init__(opt)
            if self.isTrain:
                self.start = copy.deepcopy(self.netD)
                nn.init.ones_(next(self.start.parameters()))

        def averaged_networks(self) -> dict[str, nn.Module]:
            return {"D": self.start, "G": self.netG}

    pix2pix(Own)
    trained = training(tmp_path, *EMA)
    values = averages_of(trained)
    assert list(values) == ["D", "G"]
    assert torch.equal(values["D"][0], torch.ones_like(values["D"][0]))
    save(trained)
    for more in (("--continue_train",), ("--pretrained", str(tmp_path / "run"))):
        other = averages_of(training(tmp_path, *EMA, *more))
        is_one = bool((other["D"][0] == 1).all())
        assert is_one == (more[0] == "--continue_train")  # else from what was loaded


def test_every_optimiser_counts_though_it_is_not_listed_or_steps_by_itself(
    tmp_path: Path, pix2pix: Callable[[type[BaseModel]], None]
) -> None:
    class Own(Model):
        def optimize_parameters(self) -> None:
            self.optimizers.remove(self.optimizer_G) if len(self.optimizers) > 1 else None
            self.optimizer_G.zero_grad()
            self.forward()
            self.fake_B.mean().backward()
            self.optimizer_G.step()

    pix2pix(Own)
    trained = training(tmp_path, *EMA)
    before = averages_of(trained)
    take(trained, 1)
    for old, now, weight in zip(
        before["G"], averages_of(trained)["G"], trained.model.netG.parameters(), strict=True
    ):
        torch.testing.assert_close(now, 0.9 * old + 0.1 * weight.detach())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({}, "--ema averages what averaged_networks() returns: none here. The networks of"),
        ({"E": nn.Identity()}, "averaged_networks() returns: E here"),
        ({"G": nn.Conv2d(1, 1, 1)}, "returns another kind of network as G than self.netG"),
    ],
)
def test_networks_that_cannot_be_averaged_are_refused(
    answer: dict[str, nn.Module],
    text: str,
    tmp_path: Path,
    pix2pix: Callable[[type[BaseModel]], None],
) -> None:
    class Own(Model):
        def averaged_networks(self) -> dict[str, nn.Module]:
            return answer

    pix2pix(Own)
    with pytest.raises(UserError) as caught:
        training(tmp_path, *EMA)
    assert text in str(caught.value)


def test_a_model_without_generators_by_that_letter_is_refused(
    tmp_path: Path, pix2pix: Callable[[type[BaseModel]], None]
) -> None:
    class Own(Model):
        def setup(self, opt: Namespace) -> None:
            self.model_names, self.netbar = ["bar"], self.netG
            super().setup(opt)

    pix2pix(Own)
    with pytest.raises(UserError, match=r"begins with G: none here\. The networks of .* are bar\."):
        training(tmp_path, *EMA)


@pytest.mark.parametrize("meaning", [7, lambda self: "mine", lambda self: {1: 2}])
def test_a_plugin_may_mean_something_else(
    meaning: object,
    tmp_path: Path,
    pix2pix: Callable[[type[BaseModel]], None],
    capsys: Capture,
) -> None:
    pix2pix(type("Own", (Model,), {"averaged_networks": meaning, "ema": 3, "averages": "mine"}))
    assert list(averages_of(training(tmp_path, *EMA))) == ["G"]
    told = "averaged_networks() returns something else than networks by name"
    assert (told in capsys.readouterr().err) == (meaning != 7)


def test_a_plugins_option_of_that_name_is_none_of_ours(
    tmp_path: Path, pix2pix: Callable[[type[BaseModel]], None]
) -> None:
    class Own(Model):
        @staticmethod
        def modify_commandline_options(parser: Any, is_train: bool = True) -> Any:
            parser = Pix2PixModel.modify_commandline_options(parser, is_train)
            parser.add_argument("--ema", default="yes")
            return parser

    pix2pix(Own)
    trained = training(tmp_path)
    assert trained.model.opt.ema == "yes"
    assert trained.model._optimization.averages is None
    assert vars(trained.model.opt)[OURS]["ema"] == 0


# ---- files -----------------------------------------------------------------------------------


def test_files_have_the_keys_of_their_networks_and_come_back_with_all_bits(tmp_path: Path) -> None:
    trained = training(tmp_path, *EMA)
    take(trained)
    assert save(trained) == ["latest_net_D.pth", "latest_net_G.pth", "latest_net_G_ema.pth"]
    files = [tmp_path / "run" / f"latest_net_{name}.pth" for name in ("G", "G_ema")]
    plain, average = (checkpoint.load_state(file) for file in files)
    assert list(average) == list(plain)
    assert not torch.equal(first_weight(average), first_weight(plain))
    grown = trained.save_bytes()[0] - training(tmp_path / "plain").save_bytes()[0]
    assert grown == sum(value.numel() * value.element_size() for value in average.values())
    for key, value in plain.items():
        if "running" in key:  # buffers are the network's own
            assert torch.equal(value, average[key])
    loaded = training(tmp_path, *EMA, "--continue_train")
    assert same(averages_of(loaded), averages_of(trained))
    before, after = weights(trained.model), weights(loaded.model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_model_that_saves_and_loads_by_itself_takes_part(
    tmp_path: Path, pix2pix: Callable[[type[BaseModel]], None]
) -> None:
    class Own(Model):
        def save_networks(self, epoch: int | str) -> None:
            with checkpoint.FileSet() as files:
                files.add(Path(self.save_dir, f"{epoch}_net_G.pth"), self.netG.state_dict())

        def load_networks(self, epoch: int | str) -> None:
            checkpoint.load_network(self.netG, Path(self.save_dir, f"{epoch}_net_G.pth"))

    pix2pix(Own)
    trained = training(tmp_path, *EMA)
    take(trained)
    assert save(trained) == ["latest_net_G_ema.pth"]
    wanted = averages_of(trained)
    take(trained)
    trained.load_networks("latest")
    assert same(averages_of(trained), wanted)
    assert same(averages_of(training(tmp_path, *EMA, "--continue_train")), wanted)


def test_a_save_without_averages_starts_them_from_the_weights(
    tmp_path: Path, capsys: Capture
) -> None:
    save(training(tmp_path))
    loaded = training(tmp_path, *EMA, "--continue_train")
    told = "No averages of G are saved for latest: they start from the weights there."
    assert told in capsys.readouterr().out
    assert all(map(torch.equal, averages_of(loaded)["G"], loaded.model.netG.parameters()))


def test_an_average_can_be_what_another_run_starts_from(tmp_path: Path, capsys: Capture) -> None:
    trained = training(tmp_path, *EMA, kind="cycle_gan")
    take(trained, kind="cycle_gan")
    save(trained)
    file = tmp_path / "run" / "latest_net_G_B_ema.pth"
    other = training(tmp_path / "other", "--pretrained", str(file), kind="cycle_gan")
    assert f"network G_B starts from {file}, all of it" in capsys.readouterr().out
    assert all(map(torch.equal, averages_of(trained)["G_B"], other.model.netG_B.parameters()))


def test_files_of_averages_that_have_ended_are_named_and_no_others(tmp_path: Path) -> None:
    trained = training(tmp_path, *EMA)
    assert trained.outdated_files("latest") == []
    state = trained.training_state()
    assert state["averaged"] == ["G"]
    later = training(tmp_path)
    assert later.outdated_files("latest") == []
    later.load_training_state({**state, "averaged": ["G", "../x"]})
    assert later.outdated_files(7) == [tmp_path / "run" / "7_net_G_ema.pth"]
    assert "G" in later.training_state()["averaged"]


def test_numbers_that_are_not_finite_are_found_in_averages(tmp_path: Path) -> None:
    trained = training(tmp_path, *EMA)
    assert trained.broken_networks() == []
    trained.model._optimization.averages.values()["G"][0].fill_(torch.nan)
    assert trained.broken_networks() == ["G"]


# ---- a network that is called as an average would be -----------------------------------------


class WithOwnAverage(Model):
    """A model of somebody who keeps another network under the name G_ema."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        of_G = (opt.ngf, opt.netG, opt.norm, not opt.no_dropout)
        self.netG_ema = define_G(opt.input_nc, opt.output_nc, *of_G)
        self.model_names.append("G_ema")


@pytest.fixture
def own_average(pix2pix: Callable[[type[BaseModel]], None]) -> None:
    pix2pix(type("Own", (WithOwnAverage,), {}))


@pytest.mark.usefixtures("own_average")
def test_a_network_of_that_name_is_no_average(tmp_path: Path, capsys: Capture) -> None:
    trained = training(tmp_path)
    assert "latest_net_G_ema.pth" in save(trained)
    wanted = weights(trained.model)
    tested = build(test_options(tmp_path, "pix2pix"))
    for name, value in weights(tested).items():
        assert torch.equal(value, wanted[name]), name
    assert "averages" not in capsys.readouterr().out
    with pytest.raises(UserError, match="cannot keep averages of G under the name G_ema"):
        training(tmp_path, *EMA)


@pytest.mark.usefixtures("own_average")
def test_nor_is_it_for_a_model_that_does_not_know_it(tmp_path: Path, capsys: Capture) -> None:
    trained = training(tmp_path)
    save(trained)
    tested = build(test_options(tmp_path, "test", "--norm", "batch"))
    assert torch.equal(next(tested.netG.parameters()), next(trained.model.netG.parameters()))
    assert "latest_net_G_ema.pth: left alone, since" in capsys.readouterr().out


# ---- use -------------------------------------------------------------------------------------


TESTED = {
    "pix2pix": ("G", ["pix2pix"]),
    "cycle_gan": ("G_B", ["test", "--model_suffix", "_B"]),
}


@pytest.mark.parametrize("kind", TESTED)
@pytest.mark.parametrize("more", [(), ("--no_ema",)])
def test_tests_compute_with_averages_unless_told_otherwise(
    kind: str, more: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    name, argv = TESTED[kind]
    trained = training(tmp_path, *EMA, kind=kind)
    take(trained, kind=kind)
    save(trained)
    opt = test_options(tmp_path, *argv, *more)
    capsys.readouterr()
    tested = build(opt)
    said = capsys.readouterr().out
    wanted = networks_of(trained.model)[name].parameters() if more else averages_of(trained)[name]
    assert all(map(torch.equal, networks_of(tested)[name].parameters(), wanted))
    assert (f"--no_ema: the last weights of {name}, not their averages" in said) == bool(more)
    assert (f"loading averages of {name} from " in said) == (not more)


def test_without_a_record_of_the_run_averages_are_taken(tmp_path: Path) -> None:
    trained = training(tmp_path, *EMA)
    take(trained)
    save(trained)
    for file in (tmp_path / "run").glob("*_opt.*"):
        file.unlink()
    tested = build(test_options(tmp_path, "pix2pix"))
    assert all(map(torch.equal, tested.netG.parameters(), averages_of(trained)["G"]))


@pytest.mark.parametrize(
    "more", [(), ("--precision", "bf16", "--grad_checkpoint", "--norm", "instance")]
)
@pytest.mark.parametrize("kind", ["pix2pix", "cycle_gan"])
def test_images_are_shown_as_averages_make_them_without_a_trace(
    kind: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    trained = training(tmp_path, *EMA, "--no_dropout", *more, kind=kind)
    take(trained, kind=kind)
    model = trained.model
    state, attributes, random = weights(model), dict(vars(model)), torch.get_rng_state()
    shown, of_step = trained.visuals(), model.get_current_visuals()
    assert torch.equal(random, torch.get_rng_state())
    assert vars(model) == attributes
    assert all(torch.equal(value, state[name]) for name, value in weights(model).items())
    assert list(shown) == list(of_step)
    for name, image in of_step.items():
        assert torch.equal(image, shown[name]) == name.startswith("real"), name
    with torch.no_grad(), model._optimization.averages.in_use():
        net = networks_of(model)["G" if kind == "pix2pix" else "G_A"]
        assert torch.equal(shown["fake_B"], net(model.real_A))


def test_a_forward_pass_that_fails_leaves_the_images_of_the_step(
    tmp_path: Path, pix2pix: Callable[[type[BaseModel]], None], capsys: Capture
) -> None:
    class Own(Model):
        def forward(self) -> None:
            if not torch.is_grad_enabled():
                raise ValueError("only in training")
            super().forward()

    pix2pix(Own)
    trained = training(tmp_path, *EMA)
    take(trained, 1)
    for _ in range(2):
        assert trained.visuals()["fake_B"] is trained.model.fake_B
    said = capsys.readouterr().err
    assert said.count("Images are shown as the last weights make them: ValueError: only in") == 1


def test_the_last_weights_validate_and_show_with_no_ema(tmp_path: Path, capsys: Capture) -> None:
    trained = training(tmp_path, *EMA, "--no_ema")
    assert "which --no_ema leaves unused" in capsys.readouterr().out
    take(trained)
    before = weights(trained.model)
    with trained.without_trace(evaluation=False):
        assert all(torch.equal(value, before[n]) for n, value in weights(trained.model).items())
    assert trained.visuals()["fake_B"] is trained.model.fake_B


def test_fixed_images_of_a_cyclegan_have_identities_of_their_own(tmp_path: Path) -> None:
    trained = training(tmp_path, kind="cycle_gan")
    take(trained, 1, "cycle_gan")
    model, other = trained.model, batch("cycle_gan", 5)
    with trained.without_trace(evaluation=False):
        model.set_input(other)
        model.forward()
        model.compute_visuals()
        found = model.get_current_visuals()["idt_A"]
        assert torch.equal(found, model.netG_A(other["B"]))
    assert model.idt_A.requires_grad  # that of the step
