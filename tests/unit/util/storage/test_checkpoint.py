"""Checkpoint files: atomic, safe to read, plain, and tolerant of old keys."""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.support.checkpoints import save_set, save_state
from util.base.errors import UserError
from util.storage import checkpoint
from util.storage.checkpoint import (
    CheckpointError,
    cpu_state_dict,
    load_network,
    load_state,
)


def small_net() -> nn.Sequential:
    """Return a network with weights, buffers and a nested module."""
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Sequential(nn.Conv2d(3, 2, 1, bias=False))
    )


def old_format(state: object, path: Path) -> None:
    """Write as torch before 1.6 did; published checkpoints look like this."""
    torch.save(state, path, _use_new_zipfile_serialization=False)  # noqa: TID251


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert list(left) == list(right)
    for key in left:
        assert torch.equal(left[key], right[key]), key


# ---- writing -----------------------------------------------------------------------------------


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    state = {"step": 3, "rate": 0.5, "names": ["a", "b"], "weights": {"w": torch.arange(6.0)}}
    save_state(state, tmp_path / "state.pth")
    loaded = load_state(tmp_path / "state.pth")
    assert torch.equal(loaded["weights"].pop("w"), torch.arange(6.0))
    assert loaded == {"step": 3, "rate": 0.5, "names": ["a", "b"], "weights": {}}


class Unpicklable:
    """Fails in the middle of a save."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise OSError("disk full")


def test_a_save_that_fails_leaves_the_old_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G.pth"
    save_state({"w": torch.ones(3)}, path)
    with pytest.raises(OSError, match="disk full"):
        save_state({"w": torch.zeros(100_000), "broken": Unpicklable()}, path)
    assert torch.equal(load_state(path)["w"], torch.ones(3))
    assert os.listdir(tmp_path) == ["latest_net_G.pth"]


def test_a_set_that_fails_leaves_every_file_whole(tmp_path: Path) -> None:
    g, d = tmp_path / "latest_net_G.pth", tmp_path / "latest_net_D.pth"
    save_set({g: {"w": torch.ones(1)}, d: {"w": torch.ones(1)}})
    with pytest.raises(OSError, match="disk full"):
        save_set({g: {"w": torch.zeros(1)}, d: {"w": Unpicklable()}})
    assert load_state(g)["w"].shape == (1,)
    assert torch.equal(load_state(d)["w"], torch.ones(1))
    assert sorted(os.listdir(tmp_path)) == ["latest_net_D.pth", "latest_net_G.pth"]


def test_a_saved_network_is_an_ordered_dict_of_contiguous_cpu_tensors(tmp_path: Path) -> None:
    net: Any = small_net().to(memory_format=torch.channels_last)
    assert not net[0].weight.is_contiguous()
    save_state(cpu_state_dict(net), tmp_path / "1_net_G.pth")
    loaded = load_state(tmp_path / "1_net_G.pth")
    assert type(loaded) is OrderedDict
    assert vars(loaded)["_metadata"] == net.state_dict()._metadata
    assert list(loaded) == list(net.state_dict())
    for key, value in loaded.items():
        assert type(value) is Tensor, key
        assert value.device.type == "cpu", key
        assert value.is_contiguous(), key
        assert not value.requires_grad, key
        assert torch.equal(value, net.state_dict()[key]), key


def test_saving_leaves_the_live_network_alone() -> None:
    net: Any = small_net().to(memory_format=torch.channels_last)
    before = {key: (id(value), value.data_ptr()) for key, value in net.named_parameters()}
    values = {key: value.clone() for key, value in net.state_dict().items()}
    cpu_state_dict(net)
    assert {key: (id(value), value.data_ptr()) for key, value in net.named_parameters()} == before
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert_same(net.state_dict(), values)


def test_training_on_does_not_change_a_copy() -> None:
    net = nn.Linear(2, 2)
    copy = cpu_state_dict(net)
    before = copy["weight"].clone()
    with torch.no_grad():
        net.weight.add_(1.0)
    assert torch.equal(copy["weight"], before)


def test_a_file_holds_no_more_than_the_tensors_it_names(tmp_path: Path) -> None:
    class Slice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("part", torch.zeros(1_000_000)[:10])

    save_state(cpu_state_dict(Slice()), tmp_path / "1_net_G.pth")
    assert (tmp_path / "1_net_G.pth").stat().st_size < 10_000


# ---- reading what should not be trusted --------------------------------------------------------


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def raw_pickle(state: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(state, protocol=2))


@pytest.mark.parametrize("write", [save_state, old_format, raw_pickle])
def test_a_file_that_would_run_code_is_refused_and_does_not_run_it(
    tmp_path: Path, write: Callable[[object, Path], None]
) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "armed")))
    assert (tmp_path / "armed").is_dir()  # so the payload works where nothing stops it

    path, marker = tmp_path / "latest_net_G.pth", tmp_path / "marker"
    write({"weight": torch.ones(1), "payload": Payload(marker)}, path)
    with pytest.raises(CheckpointError, match=r"latest_net_G\.pth .*cannot be read") as caught:
        load_state(path)
    assert not marker.exists()
    assert "not a plain state dict" in str(caught.value)


def test_the_refusal_does_not_advise_to_switch_the_protection_off(tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G.pth"
    save_state({"payload": Payload(tmp_path / "marker")}, path)
    with pytest.raises(CheckpointError) as caught:
        load_state(path)
    assert "set to `False`" not in str(caught.value)
    assert "arbitrary code" not in str(caught.value)


# ---- broken and missing files ------------------------------------------------------------------


def test_the_error_is_one_for_the_user() -> None:
    assert issubclass(CheckpointError, UserError)


@pytest.mark.parametrize("write", [save_state, old_format])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_named_with_its_size_and_what_to_do(
    tmp_path: Path, write: Callable[[object, Path], None], share: float
) -> None:
    path = tmp_path / "latest_net_G.pth"
    write(small_net().state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError) as caught:
        load_state(path)
    message = str(caught.value)
    assert str(path) in message
    assert f"({path.stat().st_size} bytes)" in message
    assert "Copy or download it again" in message


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module", params=[save_state, old_format])
def good_file(request: pytest.FixtureRequest, scratch: Path) -> bytes:
    path = scratch / "good.pth"
    request.param(nn.Linear(2, 2).state_dict(), path)
    return path.read_bytes()


# A warning of torch's own; what matters here is how the attempt ends.
any_protocol = pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")


@any_protocol
@given(content=st.binary(max_size=60))
def test_no_content_whatever_ends_in_another_error(content: bytes, scratch: Path) -> None:
    path = scratch / "random.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"random\.pth"):
        load_state(path)


def outcome(path: Path, content: bytes) -> str:
    """Load such a file and say in one word how that ends."""
    path.write_bytes(content)
    try:
        load_state(path)
    except CheckpointError as error:
        return "refused" if str(path) in str(error) else "refused without its name"
    except Exception as error:  # noqa: BLE001 - collected, so that one run shows all kinds
        return type(error).__name__
    return "loaded"


def test_no_point_of_truncation_ends_in_another_error(good_file: bytes, scratch: Path) -> None:
    lengths = range(0, len(good_file), 3)
    ends = {outcome(scratch / "truncated.pth", good_file[:length]) for length in lengths}
    assert ends == {"refused"}


@any_protocol
def test_no_damaged_byte_ends_in_another_error(good_file: bytes, scratch: Path) -> None:
    ends = set()
    for place in range(0, len(good_file), 3):
        damaged = bytearray(good_file)
        damaged[place] ^= 0x20
        ends.add(outcome(scratch / "damaged.pth", bytes(damaged)))
    assert ends <= {"refused", "loaded"}  # damage to a weight passes unnoticed


def test_a_web_page_saved_as_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G.pth"
    path.write_text("<!DOCTYPE html><html><body>404</body></html>")
    with pytest.raises(CheckpointError, match="not a plain state dict"):
        load_state(path)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latest_net_G.pth").mkdir()
    with pytest.raises(CheckpointError, match=r"latest_net_G\.pth is no plain file"):
        load_state(tmp_path / "latest_net_G.pth")


def test_a_missing_file_is_named_with_what_lies_beside_it(tmp_path: Path) -> None:
    for name in ("5_net_G_A.pth", "latest_net_G_A.pth", "loss_log.txt"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError) as caught:
        load_state(tmp_path / "latest_net_G.pth")
    message = str(caught.value)
    assert f"{tmp_path / 'latest_net_G.pth'} does not exist." in message
    assert "holds 5_net_G_A.pth, latest_net_G_A.pth." in message
    assert "loss_log" not in message
    assert "--epoch" in message
    assert "--model_suffix" in message


def test_of_very_many_neighbours_only_some_are_listed(tmp_path: Path) -> None:
    for epoch in range(200):
        (tmp_path / f"{epoch}_net_G.pth").touch()
    with pytest.raises(CheckpointError, match=r", \.\.\.") as caught:
        load_state(tmp_path / "latest_net_G.pth")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("made", [True, False])
def test_a_run_without_checkpoints_points_to_name_and_folder(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "run"
    if made:
        folder.mkdir()
    with pytest.raises(CheckpointError, match="check --checkpoints_dir and --name") as caught:
        load_state(folder / "latest_net_G.pth")
    assert str(folder) in str(caught.value)


# ---- filling a network -------------------------------------------------------------------------


def test_a_network_gets_the_saved_values(tmp_path: Path) -> None:
    source, target = small_net(), small_net()
    save_state(cpu_state_dict(source), tmp_path / "1_net_G.pth")
    load_network(target, tmp_path / "1_net_G.pth")
    assert_same(target.state_dict(), source.state_dict())


@pytest.mark.parametrize("write", [save_state, old_format])
def test_the_prefix_of_data_parallel_is_dropped(
    tmp_path: Path, write: Callable[[object, Path], None]
) -> None:
    source, target = small_net(), small_net()
    write(nn.ModuleDict({"module": source}).state_dict(), tmp_path / "1_net_G.pth")
    load_network(target, tmp_path / "1_net_G.pth")
    assert_same(target.state_dict(), source.state_dict())


def test_a_prefix_that_only_some_keys_have_is_kept() -> None:
    state = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert list(checkpoint.without_module_prefix(state)) == ["module.a", "b"]


def test_only_the_first_prefix_is_dropped() -> None:
    state = {"module.module.a": torch.ones(1)}
    assert list(checkpoint.without_module_prefix(state)) == ["module.a"]


def test_a_network_whose_own_child_is_called_module_loads_what_it_saved(tmp_path: Path) -> None:
    class Wrapper(nn.Module):  # for example a plugin that adds noise to another network's output
        def __init__(self) -> None:
            super().__init__()
            self.module = small_net()

    source, target = Wrapper(), Wrapper()
    save_state(cpu_state_dict(source), tmp_path / "1_net_G.pth")
    load_network(target, tmp_path / "1_net_G.pth")
    assert_same(target.state_dict(), source.state_dict())


class MixedNorms(nn.Module):
    """All kinds of norms that have, or once had, running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.InstanceNorm2d(2), nn.BatchNorm2d(2))
        self.tracking = nn.InstanceNorm2d(2, affine=True, track_running_stats=True)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_statistics_of_instance_norms_from_before_torch_0_4_are_dropped(
    tmp_path: Path, prefix: str
) -> None:
    source, target = MixedNorms(), MixedNorms()
    for name, buffer in source.named_buffers():
        buffer.fill_(7)
        assert "model.1." not in name
    state = OrderedDict((prefix + key, value) for key, value in source.state_dict().items())
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        state[f"{prefix}model.1.{name}"] = torch.zeros(2)
    save_state(state, tmp_path / "1_net_G.pth")
    load_network(target, tmp_path / "1_net_G.pth")
    assert_same(target.state_dict(), source.state_dict())  # those in use were kept


def test_statistics_that_belong_to_no_instance_norm_are_not_dropped(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1))
    state = net.state_dict() | {"0.running_mean": torch.zeros(2)}
    save_state(state, tmp_path / "1_net_G.pth")
    with pytest.raises(CheckpointError, match="running_mean"):
        load_network(net, tmp_path / "1_net_G.pth")


def test_a_checkpoint_of_another_network_names_the_options_that_describe_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "1_net_G.pth"
    save_state(cpu_state_dict(nn.Sequential(nn.Conv2d(2, 5, 3))), path)
    with pytest.raises(CheckpointError) as caught:
        load_network(nn.Sequential(nn.Conv2d(2, 3, 3)), path)
    message = str(caught.value)
    assert str(path) in message
    assert "does not fit" in message
    assert "--netG" in message
    assert "--ngf" in message
    assert "0.weight" in message  # what torch found


@pytest.mark.parametrize(
    "content",
    [[1, 2], {"state_dict": {}}, torch.ones(3), {"epoch": 3}, {"a": {"b": {"w": torch.ones(1)}}}],
    ids=["list", "empty", "tensor", "number", "deeper"],
)
def test_a_file_that_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "1_net_G.pth"
    save_state(content, path)
    with pytest.raises(CheckpointError, match="holds no state dict") as caught:
        load_network(small_net(), path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "around",
    [
        {"epoch": 3},
        {"epoch": torch.tensor(3), "arguments": {"lr": 0.1}, "ema": {}},
        {"optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}},
    ],
    ids=["epoch", "more", "optimizer"],
)
def test_a_state_dict_inside_another_dict_is_taken(tmp_path: Path, around: dict[str, Any]) -> None:
    source, target = small_net(), small_net()
    inside = {f"module.{key}": value for key, value in cpu_state_dict(source).items()}
    save_state({**around, "state_dict": inside}, tmp_path / "1_net_G.pth")
    load_network(target, tmp_path / "1_net_G.pth")
    assert_same(target.state_dict(), source.state_dict())


def test_of_several_state_dicts_inside_none_is_taken(tmp_path: Path) -> None:
    state = cpu_state_dict(small_net())
    save_state({"generator": state, "ema": state}, tmp_path / "1_net_G.pth")
    with pytest.raises(CheckpointError, match="several state dicts, called generator, ema: .* own"):
        load_network(small_net(), tmp_path / "1_net_G.pth")
