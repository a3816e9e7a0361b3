"""Batches: their order, where their randomness comes from, and errors met by workers."""

import pickle
import random
import re
import sys
from argparse import Namespace
from collections import Counter
from contextlib import closing
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader

from data import create_dataset, find_dataset_using_name
from data.base_dataset import BaseDataset
from data.pipeline.loader import weights_of
from data.pipeline.sampling import EpochSampler, SeededDataset, collate
from tests.support.checkpoints import save_state
from tests.support.drawn import draw, options
from util.base import rng
from util.base.errors import UserError
from util.storage import checkpoint

pytestmark = [
    pytest.mark.usefixtures("own_randomness"),
    # What torch and Python say about machines with few cores, and about fork beside threads.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks"),
]


class DrawingDataset(BaseDataset):
    """A plugin that draws from all three generators, and never heard of workers."""

    def __init__(self, opt: Namespace) -> None:
        BaseDataset.__init__(self, opt)

    def __len__(self) -> int:
        return int(self.opt.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            "index": index,
            "python": random.random(),
            "numpy": np.random.rand(),
            "torch": torch.rand(2),
            "again": random.gauss(0, 1) + np.random.randn(),
        }


@pytest.fixture(autouse=True)
def _plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("data.drawing_dataset")
    module.DrawingDataset = DrawingDataset
    monkeypatch.setitem(sys.modules, "data.drawing_dataset", module)


def drawing(workers: int, **changes: object) -> Namespace:
    """Return the options for the plugin."""
    values: dict[str, object] = {"dataset_mode": "drawing", "num_threads": workers, "items": 7}
    return options("X", **(values | changes))


Item = tuple[Any, ...]


def items_of(batch: dict[str, Any]) -> list[Item]:
    """Take a batch apart."""
    columns = [v.tolist() if isinstance(v, Tensor) else v for v in batch.values()]
    return [tuple(map(repr, row)) for row in zip(*columns, strict=True)]


def epochs(opt: Namespace, seed: int, count: int = 2) -> list[list[Item]]:
    """Return the items of some epochs of a run under a seed."""
    torch.manual_seed(seed)
    loader = create_dataset(opt)
    return [[item for batch in loader for item in items_of(batch)] for _ in range(count)]


# ---- with workers -------------------------------------------------------------------------


@pytest.mark.parametrize("serial", [False, True])
def test_number_of_workers_changes_nothing(serial: bool) -> None:
    one, two, three = (
        epochs(drawing(workers, batch_size=2, serial_batches=serial), 5) for workers in (1, 2, 3)
    )
    assert one == two == three
    assert one[0] != one[1]


def test_draws_depend_on_the_position_and_not_on_the_batch_size() -> None:
    single, several = (epochs(drawing(2, batch_size=size), 5) for size in (1, 3))
    assert single == several


def test_runs_repeat_under_a_seed_and_differ_under_another() -> None:
    first, again, other = (epochs(drawing(1), seed) for seed in (5, 5, 6))
    assert first == again
    assert not set(first[0] + first[1]) & set(other[0] + other[1])


def test_every_item_draws_its_own_numbers() -> None:
    found = [item for epoch in epochs(drawing(2, items=9), 5, 3) for item in epoch]
    for column in (1, 2, 3, 4):
        assert len({item[column] for item in found}) == len(found) == 27


def test_shuffled_epochs_hold_every_item_once_in_different_orders() -> None:
    orders = [[int(item[0]) for item in epoch] for epoch in epochs(drawing(1, items=12), 5, 3)]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_draws_do_not_depend_on_where_a_part_of_a_pass_begins() -> None:
    """As in validation, whose images several processes share out."""
    loader = create_dataset(drawing(0, serial_batches=True))

    def at(position: int, first: int) -> list[Item]:
        with closing(loader.only(range(first, 7))) as batches:
            for number in range(first, position + 1):
                rng.seed_all(number)
                batch = next(batches)
        return items_of(batch)

    assert at(3, first=3) == at(3, first=1)


def test_serial_batches_keep_the_order() -> None:
    opt = drawing(2, serial_batches=True)
    assert [[int(item[0]) for item in epoch] for epoch in epochs(opt, 5)] == [list(range(7))] * 2


def test_epoch_may_be_chosen() -> None:
    """A resumed run begins with the epoch it is told, not with the first."""
    whole = epochs(drawing(1), 5, 3)
    torch.manual_seed(5)
    loader = create_dataset(drawing(1))
    loader.sampler.epoch = 3
    assert [item for batch in loader for item in items_of(batch)] == whole[2]


def test_global_generators_of_the_model_are_left_alone() -> None:
    torch.manual_seed(5)
    loader = create_dataset(drawing(2))
    before = rng.state_dict()
    for _ in range(2):
        for _ in loader:
            assert same_state(rng.state_dict(), before)
    assert same_state(rng.state_dict(), before)


def same_state(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Compare the states of all generators."""
    return (
        a["python"] == b["python"]
        and a["numpy"] == b["numpy"]
        and torch.equal(a["torch"], b["torch"])
    )


def test_saved_state_continues_the_epochs_of_another_run() -> None:
    torch.manual_seed(5)
    loader = create_dataset(drawing(1))
    list(loader)
    state = loader.state_dict()
    wanted = [[item for batch in loader for item in items_of(batch)] for _ in range(2)]

    torch.manual_seed(99)  # another run draws another seed at its start
    resumed = create_dataset(drawing(1))
    resumed.load_state_dict(state)
    found = [[item for batch in resumed for item in items_of(batch)] for _ in range(2)]
    assert [[item[0] for item in epoch] for epoch in found] == [
        [item[0] for item in epoch] for epoch in wanted
    ]
    assert found == wanted


@pytest.mark.parametrize(("saved_by", "taken_by"), [(0, 1), (1, 0), (1, 2), (0, 0)])
def test_saved_state_is_taken_by_any_number_of_workers(saved_by: int, taken_by: int) -> None:
    loader = create_dataset(drawing(saved_by))
    list(loader)
    resumed = create_dataset(drawing(taken_by))
    resumed.load_state_dict(loader.state_dict())
    assert resumed.sampler.epoch == 2
    found = [item for batch in resumed for item in items_of(batch)]
    assert sorted(int(item[0]) for item in found) == list(range(7))


def test_state_survives_a_safe_load(tmp_path: Path) -> None:
    loader = create_dataset(drawing(1))
    save_state(loader.state_dict(), tmp_path / "state.pth")
    assert checkpoint.load_state(tmp_path / "state.pth") == loader.state_dict()


@pytest.mark.parametrize("mode", ["single", "aligned", "unaligned", "colorization", "template"])
def test_built_in_data_sets_can_be_sent_to_spawned_workers(mode: str, tmp_path: Path) -> None:
    for phase in ("train", "trainA", "trainB"):
        draw(tmp_path / phase, ["a.png", "b.png"], 24, 12)
    opt = options(tmp_path, dataset_mode=mode, new_dataset_option=1.0)
    if mode == "colorization":
        opt.input_nc, opt.output_nc = 1, 2
    dataset = SeededDataset(find_dataset_using_name(mode)(opt))
    twin = pickle.loads(pickle.dumps(dataset))
    for where in ((11, 1), (12, 0), (13, 0)):
        first, second = dataset[where], twin[where]
        assert list(first) == list(second)
        for key, value in first.items():
            same = torch.equal(value, second[key]) if key in "AB" else value == second[key]
            assert same, key


@given(
    workers=st.sampled_from([0, 0, 0, 0, 1]),  # which takes a second
    batch_size=st.integers(1, 4),
    taken=st.integers(0, 9),
    serial=st.booleans(),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_goes_on_from_any_batch_through_the_passes(
    workers: int, batch_size: int, taken: int, serial: bool
) -> None:
    opt = drawing(workers, items=4, batch_size=batch_size, serial_batches=serial)
    rng.seed_all(5)
    loader = create_dataset(opt)
    stream = loader.stream()
    for _ in range(taken):
        next(stream)
    state, random_state = loader.state_dict(), rng.state_dict()
    wanted = [next(stream) for _ in range(5)]
    sizes = [min(batch_size, 4 - first) for first in range(0, 4, batch_size)]
    assert loader.images_in_batch == sizes[(taken + 4) % len(sizes)] == len(wanted[-1]["index"])
    stream.close()

    resumed = create_dataset(opt)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    rng.load_state_dict(random_state)
    found = list(islice(resumed.stream(), 5))
    assert list(map(items_of, found)) == list(map(items_of, wanted))
    assert resumed.state_dict() == loader.state_dict()


def test_the_end_of_a_pass_as_earlier_versions_saved_it_is_the_beginning_of_the_next() -> None:
    loader = create_dataset(drawing(0))
    list(loader)
    state = loader.state_dict()
    assert (state["epoch"], state["items"]) == (2, 0)
    resumed = create_dataset(drawing(0))
    resumed.load_state_dict(state | {"epoch": 1, "items": 7})
    assert resumed.state_dict() == state
    assert len(list(resumed)) == 7


# ---- without workers ----------------------------------------------------------------------


def plain_epochs(loader: Any, count: int) -> tuple[list[list[Item]], dict[str, Any]]:
    """Return the items of some epochs and the state afterwards; a model draws in between."""
    found = []
    for _ in range(count):
        epoch = []
        for batch in loader:
            epoch += items_of(batch)
            epoch.append((torch.rand(1).item(), random.random(), np.random.rand()))
        found.append(epoch)
    return found, rng.state_dict()


@given(
    items=st.integers(1, 9),
    batch_size=st.integers(1, 4),
    serial=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_and_random_state_are_those_of_torchs_own_loader(
    items: int, batch_size: int, serial: bool, seed: int
) -> None:
    opt = drawing(0, items=items, batch_size=batch_size, serial_batches=serial)
    rng.seed_all(seed)
    found, state = plain_epochs(create_dataset(opt), 2)
    rng.seed_all(seed)
    plain = DataLoader(DrawingDataset(opt), batch_size=batch_size, shuffle=not serial)
    wanted, wanted_state = plain_epochs(plain, 2)
    assert found == wanted
    assert same_state(state, wanted_state)


def test_images_are_drawn_as_by_torchs_own_loader(tmp_path: Path) -> None:
    draw(tmp_path / "trainA", ["a.png", "b.png", "c.png"], 12, 12)
    draw(tmp_path / "trainB", ["a.png", "b.png"], 12, 12)
    opt = options(tmp_path, dataset_mode="unaligned", batch_size=2)
    rng.seed_all(4)
    found, state = plain_epochs(create_dataset(opt), 2)
    rng.seed_all(4)
    dataset = find_dataset_using_name("unaligned")(opt)
    wanted, wanted_state = plain_epochs(DataLoader(dataset, batch_size=2, shuffle=True), 2)
    assert found == wanted
    assert same_state(state, wanted_state)


def test_setting_the_epoch_changes_nothing_without_workers() -> None:
    """The training loop sets it always; the order comes from the global generator all the same."""
    rng.seed_all(1)
    wanted, _ = plain_epochs(create_dataset(drawing(0)), 1)
    rng.seed_all(1)
    loader = create_dataset(drawing(0))
    loader.sampler.epoch = 17
    assert plain_epochs(loader, 1)[0] == wanted


# ---- lengths ------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_last_batch_may_be_smaller(workers: int) -> None:
    loader = create_dataset(drawing(workers, items=7, batch_size=3))
    assert [len(batch["index"]) for batch in loader] == [3, 3, 1]
    assert len(loader) == 7


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("cap", "batches"), [(1, [2]), (2, [2]), (3, [2, 2]), (99, [2, 2, 2, 1])])
def test_cap_ends_the_epoch_of_a_plugin_that_ignores_it(
    cap: int, batches: list[int], workers: int
) -> None:
    loader = create_dataset(drawing(workers, batch_size=2, max_dataset_size=cap))
    assert len(loader) == min(cap, 7)
    assert [len(batch["index"]) for batch in loader] == batches


@pytest.mark.parametrize(("cap", "length"), [(1, 1), (2, 2), (3, 3), (float("inf"), 3)])
def test_cap_shortens_the_built_in_data_sets(cap: float, length: int, tmp_path: Path) -> None:
    draw(tmp_path, ["c.png", "a.png", "b.png"])
    loader = create_dataset(options(tmp_path, max_dataset_size=cap, serial_batches=True))
    assert len(loader) == len(loader.dataset) == length
    found = [Path(path).name for batch in loader for path in batch["A_paths"]]
    assert found == ["a.png", "b.png", "c.png"][:length]


def test_loader_keeps_the_names_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    loader = create_dataset(drawing(0))
    assert isinstance(loader.dataset, DrawingDataset)
    assert loader.load_data() is loader
    assert loader.dataloader.batch_size == 1
    assert capsys.readouterr().out == "dataset [DrawingDataset] was created\n"


@pytest.mark.parametrize(
    ("gpu_ids", "there", "pinned"), [([], True, False), ([0], False, False), ([0], True, True)]
)
def test_batches_are_pinned_for_a_gpu_alone(
    gpu_ids: list[int], there: bool, pinned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert create_dataset(drawing(0, gpu_ids=gpu_ids)).dataloader.pin_memory is pinned


def test_a_data_set_without_an_end_can_be_begun() -> None:
    """Of a plugin that draws its images, with --max_dataset_size and --serial_batches."""
    sampler = EpochSampler(10**15, shuffle=False)
    sampler.start = 7
    assert list(islice(sampler, 2)) == [7, 8]


@given(length=st.integers(1, 30), seed=st.integers(0, 2**63), epoch=st.integers(1, 1000))
def test_sampler_gives_every_index_once_with_a_seed_of_its_own(
    length: int, seed: int, epoch: int
) -> None:
    sampler = EpochSampler(length, shuffle=True, seed=seed)
    sampler.epoch = epoch
    found: list[Any] = list(sampler)
    assert [own for own, _ in found] == [
        rng.fold_seed(seed, epoch, place) for place in range(length)
    ]
    assert sorted(index for _, index in found) == list(range(length))
    assert sampler.epoch == epoch + 1


def test_a_sampler_draws_items_as_often_as_their_weights_say() -> None:
    sampler = EpochSampler(4000, shuffle=True, weights=[3.0, 0.0, 1.0])
    drawn = Counter(sampler)
    assert sum(drawn.values()) == 4000
    assert drawn[1] == 0
    assert 2850 < drawn[0] < 3150
    in_order = EpochSampler(3, shuffle=False, weights=[3.0, 0.0, 1.0])
    assert list(in_order) == [0, 1, 2]  # --serial_batches


def test_weights_of_another_length_or_kind_are_a_plugins_own_business() -> None:
    class Weighted(DrawingDataset):
        def sampling_weights(self) -> Any:
            return self.opt.weights

    for weights, count in (("heavy", 0), ([1.0], 0), ([1, 2, 3, 4, 5, 6, 7], 7)):
        assert len(weights_of(Weighted(drawing(0, weights=weights)))) == count


def test_a_batch_shares_no_memory_with_what_a_data_set_keeps() -> None:
    item: dict[str, Any] = {"A": torch.rand(3, 4, 5), "A_paths": "a.png", "label": 3}
    batch = collate([item])
    assert batch["A_paths"] == ["a.png"]
    assert torch.equal(batch["label"], torch.tensor([3]))
    batch["A"].zero_()  # a plugin may keep its tensors, and a model change its input
    assert item["A"].sum() > 0


# ---- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["broken", "missing", "no image", "too small"])
def test_file_that_cannot_be_used_is_named_without_a_traceback(
    kind: str, workers: int, tmp_path: Path
) -> None:
    paths = draw(tmp_path, ["a.png", "b.png", "c.png", "d.png"], 9, 9)
    opt = options(tmp_path, num_threads=workers, batch_size=2, preprocess="crop")
    loader = create_dataset(opt)
    bad = Path(paths[2])
    if kind == "broken":
        bad.write_bytes(bad.read_bytes()[:60])
    elif kind == "missing":
        bad.unlink()
    elif kind == "no image":
        bad.write_text("<html>Sign in</html>")
    else:
        draw(tmp_path, ["c.png"], 5, 5)
    named = "5x5" if kind == "too small" else str(bad)
    with pytest.raises(UserError, match=re.escape(named)) as raised:
        for _ in loader:
            pass
    text = str(raised.value)
    assert "Traceback" not in text
    assert "worker" not in text
    assert text.count("\n") == 0


def test_plugins_own_error_in_a_worker_is_not_swallowed() -> None:
    class Faulty(DrawingDataset):
        def __getitem__(self, index: int) -> dict[str, Any]:
            raise RuntimeError("the plugin's own fault")

    vars(sys.modules["data.drawing_dataset"])["DrawingDataset"] = Faulty
    Faulty.__name__ = "DrawingDataset"
    with pytest.raises(RuntimeError, match="the plugin's own fault"):
        list(create_dataset(drawing(1)))


def test_unknown_data_set_is_refused_with_a_near_miss() -> None:
    with pytest.raises(UserError, match="'unalignd'.*Did you mean 'unaligned'"):
        create_dataset(options("X", dataset_mode="unalignd"))


# ---- other epochs than all images once ----------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("size", [1, 5, 7, 17])
def test_an_epoch_has_the_size_it_is_given(size: int, workers: int) -> None:
    opt = drawing(workers, epoch_size=size, batch_size=2)
    torch.manual_seed(5)
    loader = create_dataset(opt)
    assert len(loader) == size
    found = [[int(item[0]) for batch in loader for item in items_of(batch)] for _ in range(3)]
    assert [len(epoch) for epoch in found] == [size] * 3
    for epoch in found:  # nothing again before everything was there
        counts = Counter(epoch)
        assert max(counts.values()) - min(counts.get(i, 0) for i in range(7)) <= 1
    assert size == 1 or len({tuple(epoch) for epoch in found}) == 3


@pytest.mark.parametrize("size", [5, 17])
def test_an_epoch_of_a_given_size_is_continued_inside(size: int) -> None:
    torch.manual_seed(5)
    loader = create_dataset(drawing(1, epoch_size=size))
    whole = [items_of(batch) for batch in islice(loader.stream(), 3 * size)]
    torch.manual_seed(5)
    loader = create_dataset(drawing(1, epoch_size=size))
    seen = [items_of(batch) for batch in islice(loader.stream(), 2 * size - 3)]
    torch.manual_seed(99)
    resumed = create_dataset(drawing(1, epoch_size=size))
    assert resumed.has_images_of(loader.state_dict())
    resumed.load_state_dict(loader.state_dict())
    rest = [items_of(batch) for batch in islice(resumed.stream(), size + 3)]
    assert seen + rest == whole
    assert not create_dataset(drawing(1)).has_images_of(loader.state_dict())


def test_states_without_new_options_are_what_they_were() -> None:
    assert create_dataset(drawing(0)).state_dict()["pictures"].keys() == {"count", "names"}


def test_other_epochs_are_for_training_alone() -> None:
    loader = create_dataset(drawing(0, epoch_size=3, balanced=True, isTrain=False))
    assert sorted(int(i[0]) for batch in loader for i in items_of(batch)) == list(range(7))


def test_folders_are_drawn_equally_often_when_balanced(tmp_path: Path) -> None:
    draw(tmp_path, ["few/0.png", *(f"many/{number}.png" for number in range(9))])
    torch.manual_seed(5)
    loader = create_dataset(options(tmp_path, balanced=True, epoch_size=400))
    found = Counter(Path(path).parent.name for batch in loader for path in batch["A_paths"])
    assert 160 < found["few"] < 240
    assert found.total() == 400


@pytest.mark.parametrize("smaller", ["A", "B"])
def test_all_images_of_two_domains_are_drawn_equally_often_when_balanced(
    smaller: str, tmp_path: Path
) -> None:
    larger = "AB".replace(smaller, "")
    draw(tmp_path / f"train{smaller}", ["0.png", "1.png", "2.png"])
    draw(tmp_path / f"train{larger}", ["x/0.png", *(f"y/{number}.png" for number in range(3))])
    torch.manual_seed(5)
    opt = options(tmp_path, dataset_mode="unaligned", balanced=True, epoch_size=600)
    found: Counter[str] = Counter()
    for batch in create_dataset(opt):
        found.update(batch[f"{smaller}_paths"])
        found.update(str(Path(path).parent) for path in batch[f"{larger}_paths"])
    counts = sorted(found.values())
    assert all(150 < count < 250 for count in counts[:3])
    assert all(240 < count < 360 for count in counts[3:])


def test_balancing_what_is_balanced_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path, ["0.png", "1.png"])
    create_dataset(options(tmp_path, balanced=True))
    assert "--balanced changes little" in capsys.readouterr().err
