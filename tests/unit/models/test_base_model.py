"""What BaseModel makes of the names that a model lists, and of its files."""

import math
import re
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from models import networks
from models.base_model import BaseModel
from models.storage.names import networks_of
from models.storage.trained_model import TrainedModel
from tests.support.checkpoints import save_state
from tests.support.small_models import build, noise, test_options, train_options, weights
from util.base.errors import UserError
from util.storage.checkpoint import CheckpointError


class PlainModel(BaseModel):
    """One convolution; tests change the lists."""

    def __init__(self, opt: Namespace) -> None:
        BaseModel.__init__(self, opt)
        self.loss_names = ["G_GAN", "G_L1"]
        self.visual_names = ["real_A", "fake_B"]
        self.model_names = ["G_A"]
        self.netG_A = nn.Conv2d(3, 3, 3, padding=1)
        if self.isTrain:
            self.optimizer = torch.optim.Adam(self.netG_A.parameters(), lr=opt.lr)
            self.optimizers.append(self.optimizer)

    def set_input(self, input: dict[str, Any]) -> None:
        """Take a batch."""
        self.real_A = input["A"].to(self.device)
        self.image_paths = input["A_paths"]

    def forward(self) -> None:
        """Translate."""
        self.fake_B = self.netG_A(self.real_A)

    def optimize_parameters(self) -> None:
        """Step without the framework's help."""
        self.forward()
        self.optimizer.zero_grad()
        self.loss_G_GAN = self.fake_B.mean()
        self.loss_G_L1 = (self.fake_B - self.real_A).abs().mean()
        (self.loss_G_GAN + self.loss_G_L1).backward()
        self.optimizer.step()


@pytest.fixture
def opt(tmp_path: Path) -> Namespace:
    return train_options(tmp_path, "template", "--name", "plain")


@pytest.fixture
def model(opt: Namespace) -> PlainModel:
    made = PlainModel(opt)
    made.setup(opt)
    return made


def stepped(model: PlainModel) -> PlainModel:
    """Give the model its losses and images."""
    model.set_input({"A": noise((1, 3, 8, 8)), "A_paths": ["a.png"]})
    model.optimize_parameters()
    return model


# ---- names --------------------------------------------------------------------------------


def test_network_that_was_never_made_is_named_with_a_near_miss(opt: Namespace) -> None:
    model = PlainModel(opt)
    model.model_names = ["G_a"]
    with pytest.raises(UserError) as raised:
        model.setup(opt)
    text = str(raised.value)
    assert "PlainModel lists 'G_a' in model_names" in text
    assert "self.netG_a" in text
    assert "Did you mean 'G_A'?" in text


@pytest.mark.parametrize("call", ["save_networks", "load_networks"])
def test_network_that_was_never_made_is_named_wherever_it_is_used(
    model: PlainModel, call: str
) -> None:
    model.model_names.append("G_AA")
    with pytest.raises(UserError, match="self.netG_AA.*Did you mean 'G_A'"):
        getattr(model, call)("G_AA")


def test_attribute_that_is_no_network_is_not_taken_for_one(model: PlainModel) -> None:
    model.model_names = ["G_B"]
    model.netG_B = "not a network"
    with pytest.raises(UserError, match="has no network self.netG_B"):
        networks_of(model)["G_B"]


def test_loss_that_was_never_set_is_named_with_a_near_miss(model: PlainModel) -> None:
    stepped(model).loss_names = ["G_GAN", "G_l1"]
    with pytest.raises(UserError) as raised:
        model.get_current_losses()
    text = str(raised.value)
    assert "PlainModel lists 'G_l1' in loss_names" in text
    assert "self.loss_G_l1" in text
    assert "Did you mean 'loss_G_L1'?" in text
    assert "loss_names" not in text.split("Available")[1]


def test_visual_that_was_never_set_is_named_with_a_near_miss(model: PlainModel) -> None:
    stepped(model).visual_names = ["real_A", "fake_b"]
    with pytest.raises(UserError) as raised:
        model.get_current_visuals()
    text = str(raised.value)
    assert "PlainModel lists 'fake_b' in visual_names" in text
    assert text.endswith("Did you mean 'fake_B'? Available: real_A, fake_B.")


@pytest.mark.parametrize("odd", [None, 3, ("G_A",)])
def test_entries_that_are_no_strings_are_skipped(model: PlainModel, odd: Any) -> None:
    for names in (model.model_names, model.loss_names, model.visual_names):
        names.insert(0, odd)
    model.setup(model.opt)
    stepped(model)
    assert list(model.get_current_losses()) == ["G_GAN", "G_L1"]
    assert list(model.get_current_visuals()) == ["real_A", "fake_B"]
    model.eval()
    model.save_networks("latest")
    model.load_networks("latest")
    files = [file.name for file in Path(model.save_dir).glob("*.pth")]
    assert files == ["latest_net_G_A.pth"]


def test_losses_come_as_numbers_in_the_order_of_the_list(model: PlainModel) -> None:
    stepped(model).loss_names = ["G_L1", "constant", "G_GAN", "half"]
    model.loss_constant = 2
    model.loss_half = torch.tensor(0.5, dtype=torch.float16)
    losses = model.get_current_losses()
    assert isinstance(losses, OrderedDict)
    assert list(losses) == ["G_L1", "constant", "G_GAN", "half"]
    assert all(type(value) is float for value in losses.values())
    assert losses["constant"] == 2
    assert losses["half"] == 0.5
    assert losses["G_L1"] == pytest.approx(float(model.loss_G_L1.detach()))


def test_losses_of_shape_one_are_taken_too(model: PlainModel) -> None:
    """Old plugins add scalars of shape () and (1,)."""
    stepped(model).loss_G_L1 = torch.ones(1, requires_grad=True)
    assert model.get_current_losses()["G_L1"] == 1


def test_no_losses_at_all_are_fine(model: PlainModel) -> None:
    model.loss_names = []
    assert model.get_current_losses() == {}


def test_visuals_are_what_the_model_holds(model: PlainModel) -> None:
    stepped(model)
    visuals = model.get_current_visuals()
    assert visuals["fake_B"] is model.fake_B
    assert model.get_image_paths() == ["a.png"]


# ---- setup --------------------------------------------------------------------------------


def test_setup_moves_networks_that_were_left_behind(tmp_path: Path) -> None:
    opt = test_options(tmp_path, "test", "--name", "plain")
    model = PlainModel(opt)
    model.device = torch.device("meta")  # stands for a GPU
    model.load_networks = lambda epoch: None
    model.setup(opt)
    assert {p.device.type for p in model.netG_A.parameters()} == {"meta"}


@pytest.mark.parametrize("deterministic", [False, True])
def test_algorithms_are_tried_out_on_gpus_unless_runs_must_be_equal(
    deterministic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opt = test_options(tmp_path, "test", "--name", "plain")
    model = PlainModel(opt)
    model.device = torch.device("cuda")
    model.load_networks = lambda epoch: None
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: self)  # there is none
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    model.setup(opt)
    assert torch.backends.cudnn.benchmark is not deterministic


def test_setup_keeps_the_networks_and_their_parameters(opt: Namespace) -> None:
    model = PlainModel(opt)
    net, parameters = model.netG_A, list(model.netG_A.parameters())
    model.setup(opt)
    assert networks_of(model)["G_A"] is model.netG_A
    assert model.netG_A is net
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))


def test_plugin_may_call_an_attribute_net(model: PlainModel) -> None:
    model.net = nn.Identity()
    model.setup(model.opt)
    model.save_networks("latest")


def test_setup_prints_the_size_of_each_network(
    model: PlainModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model.netG_A = nn.Conv2d(1, 1000, 1)
    model.model_names = ["G_A"]
    model.print_networks(False)
    quiet = capsys.readouterr().out
    assert "[Network G_A] Total number of parameters : 0.002 M" in quiet
    assert "Conv2d" not in quiet
    model.print_networks(True)
    assert "Conv2d(1, 1000" in capsys.readouterr().out


def test_updating_the_learning_rate_reports_it(
    model: PlainModel, capsys: pytest.CaptureFixture[str]
) -> None:
    stepped(model)
    capsys.readouterr()
    model.update_learning_rate()
    assert capsys.readouterr().out == "learning rate 0.0002000 -> 0.0002000\n"


def test_a_model_that_lists_no_optimiser_is_told_how(model: PlainModel) -> None:
    stepped(model).optimizers = []
    with pytest.raises(UserError, match=r"PlainModel lists no optimiser in self\.optimizers"):
        model.update_learning_rate()


def test_a_schedule_of_a_subclass_waits_for_measurements_too(model: PlainModel) -> None:
    schedule = ReduceLROnPlateau(stepped(model).optimizer, patience=0)
    model.schedulers = [schedule]
    for metric in (math.nan, 1.0, math.nan, math.nan):
        model.metric = metric
        model.update_learning_rate()
    assert (schedule.last_epoch, schedule.num_bad_epochs) == (1, 0)


def test_set_requires_grad_takes_one_network_or_several(model: PlainModel) -> None:
    other = nn.Conv2d(1, 1, 1)
    model.set_requires_grad(model.netG_A)
    assert not any(p.requires_grad for p in model.netG_A.parameters())
    model.set_requires_grad([model.netG_A, other, None], True)
    assert all(p.requires_grad for p in model.netG_A.parameters())
    model.set_requires_grad((model.netG_A, other), False)
    assert not any(p.requires_grad for net in (model.netG_A, other) for p in net.parameters())


def test_test_runs_without_gradients_and_computes_the_images(model: PlainModel) -> None:
    called = []
    model.compute_visuals = lambda: called.append(torch.is_grad_enabled())
    model.set_input({"A": noise((1, 3, 8, 8)), "A_paths": ["a.png"]})
    model.test()
    assert called == [False]
    assert not model.fake_B.requires_grad


def test_eval_switches_every_network(tmp_path: Path) -> None:
    model = build(train_options(tmp_path, "cycle_gan"))
    model.eval()
    assert not any(networks_of(model)[name].training for name in model.model_names)


# ---- files --------------------------------------------------------------------------------


def test_saved_files_are_plain_state_dicts_on_the_cpu(model: PlainModel) -> None:
    model.save_networks(7)
    path = Path(model.save_dir, "7_net_G_A.pth")
    state = torch.load(path, weights_only=True)  # noqa: TID251 - as other programs read it
    assert type(state) is OrderedDict
    assert list(state) == list(model.netG_A.state_dict())
    assert hasattr(state, "_metadata")
    for key, value in state.items():
        assert value.device.type == "cpu"
        assert not value.requires_grad
        assert torch.equal(value, model.netG_A.state_dict()[key])


def test_saving_leaves_the_live_network_alone(model: PlainModel) -> None:
    before = {key: value.data_ptr() for key, value in model.netG_A.state_dict().items()}
    model.save_networks("latest")
    after = {key: value.data_ptr() for key, value in model.netG_A.state_dict().items()}
    assert after == before


def test_saved_networks_are_loaded_again(tmp_path: Path) -> None:
    first = build(train_options(tmp_path, "cycle_gan"), seed=1)
    first.save_networks("latest")
    second = build(train_options(tmp_path, "cycle_gan", "--continue_train"), seed=2)
    for key, value in weights(first).items():
        assert torch.equal(weights(second)[key], value), key


def test_networks_keep_their_names_when_wrapped_keys_are_loaded(model: PlainModel) -> None:
    state = {f"module.{key}": value + 1 for key, value in model.netG_A.state_dict().items()}
    wanted = {key: value + 1 for key, value in model.netG_A.state_dict().items()}
    save_state(state, Path(model.save_dir, "old_net_G_A.pth"))
    model.load_networks("old")
    for key, value in model.netG_A.state_dict().items():
        assert torch.equal(value, wanted[key])


def test_loading_says_which_file_it_reads(
    model: PlainModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_networks("latest")
    capsys.readouterr()
    model.load_networks("latest")
    path = Path(model.save_dir, "latest_net_G_A.pth")
    assert capsys.readouterr().out == f"loading the model from {path}\n"


def test_missing_file_is_named_with_its_neighbours(model: PlainModel) -> None:
    model.save_networks("latest")
    model.save_networks(5)
    with pytest.raises(CheckpointError) as raised:
        model.load_networks(10)
    text = str(raised.value)
    assert str(Path(model.save_dir, "10_net_G_A.pth")) in text
    assert "5_net_G_A.pth, latest_net_G_A.pth" in text
    assert "--epoch" in text


def test_missing_folder_is_named(tmp_path: Path) -> None:
    opt = test_options(tmp_path, "test")
    model = PlainModel(opt)
    model.save_dir = str(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=re.escape(f"folder {tmp_path / 'nowhere'}")):
        model.setup(opt)


def test_continuing_asks_for_the_iteration_when_one_is_given(tmp_path: Path) -> None:
    opt = train_options(tmp_path, "cycle_gan", "--continue_train", "--load_iter", "12")
    with pytest.raises(CheckpointError, match="iter_12_net_G_A.pth"):
        build(opt)


def test_file_for_another_network_is_refused_with_advice(tmp_path: Path) -> None:
    build(train_options(tmp_path, "pix2pix", "--norm", "batch")).save_networks("latest")
    opt = train_options(tmp_path, "pix2pix", "--norm", "instance", "--continue_train")
    with pytest.raises(CheckpointError) as raised:
        build(opt)
    text = str(raised.value)
    assert "latest_net_G.pth does not fit" in text
    assert "--norm" in text
    assert "model." in text  # which keys


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\3\4 cut off"])
def test_broken_file_is_refused_with_its_name(model: PlainModel, content: bytes) -> None:
    path = Path(model.save_dir, "latest_net_G_A.pth")
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        model.load_networks("latest")


def test_file_that_holds_something_else_is_refused(model: PlainModel) -> None:
    save_state({"epoch": 3}, Path(model.save_dir, "latest_net_G_A.pth"))
    with pytest.raises(CheckpointError, match="holds no state dict"):
        model.load_networks("latest")


def test_forks_that_load_by_themselves_drop_old_instance_norm_keys_by_the_originals_name(
    model: PlainModel,
) -> None:
    norm = networks.get_norm_layer("instance")
    net = networks.NLayerDiscriminator(3, 4, 2, norm)
    state: dict[str, Any] = dict(net.state_dict())
    kept = list(state)
    state |= {f"model.3.{name}": torch.ones(8) for name in ("running_mean", "running_var")}
    drop: Any = model._BaseModel__patch_instance_norm_state_dict  # type: ignore[attr-defined]
    for key in list(state):
        drop(state, net, key.split("."))
    assert list(state) == kept
    state["model.3.running_mean"] = torch.ones(8)
    drop(state, net.model, ["model", "3", "running_mean"], 1)
    assert list(state) == kept


def test_old_instance_norm_keys_are_passed_over(model: PlainModel) -> None:
    model.netG_A = networks.NLayerDiscriminator(3, 4, 2, networks.get_norm_layer("instance"))
    state: dict[str, Tensor] = dict(model.netG_A.state_dict())
    state["model.3.running_mean"] = torch.zeros(8)
    state["model.3.running_var"] = torch.ones(8)
    save_state(state, Path(model.save_dir, "latest_net_G_A.pth"))
    model.load_networks("latest")


def test_test_model_loads_the_generator_that_the_suffix_names(tmp_path: Path) -> None:
    trained = build(train_options(tmp_path, "cycle_gan", "--norm", "instance"))
    trained.save_networks("latest")
    opt = test_options(tmp_path, "test", "--model_suffix", "_B")
    tested = build(opt, seed=9)  # --no_dropout is seen in the checkpoint
    found, wanted = (
        networks_of(tested)["G_B"].state_dict(),
        networks_of(trained)["G_B"].state_dict(),
    )
    assert list(found) == list(wanted)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_test_model_refuses_to_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        train_options(tmp_path, "test")
    assert raised.value.code == 2
    assert "cannot be used during training" in capsys.readouterr().err


# ---- validation -----------------------------------------------------------------------------


def validated(folder: Path, *more: str) -> PlainModel:
    """Return a model that has made an image from a batch that has a real one too."""
    opt = train_options(folder, "template", "--name", "plain", *more)
    model = PlainModel(opt)
    model.fake_B, model.real_B = noise((1, 3, 8, 8)), noise((1, 3, 8, 8))
    return model


def test_images_of_pairs_are_compared(tmp_path: Path) -> None:
    model = validated(tmp_path, "--dataset_mode", "aligned")
    ((made, real),) = TrainedModel(model).validation_pairs().values()
    assert made is model.fake_B
    assert real is model.real_B
    assert list(TrainedModel(model).validation_sets()) == [""]
    model.real_B = noise((1, 3, 8, 4))
    assert TrainedModel(model).validation_pairs() == TrainedModel(model).validation_sets() == {}


def test_images_that_do_not_belong_together_are_compared_as_sets_only(tmp_path: Path) -> None:
    model = validated(tmp_path, "--dataset_mode", "unaligned")
    assert TrainedModel(model).validation_pairs() == {}
    ((made, real),) = TrainedModel(model).validation_sets().values()
    assert made is model.fake_B
    assert real is model.real_B
