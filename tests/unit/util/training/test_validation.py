"""Validation measures a model without leaving a trace in it."""

import math
import random
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from util.base import rng
from util.base.errors import UserError
from util.inference.image_scores import image_scores
from util.scores.images import METRICS, Metric, metric_and_direction
from util.training import validation
from util.training.best import BestEpoch
from util.training.fixed_images import FixedImages
from util.training.validation import Validator, with_means_of_both_sides


class Doubler:
    """Makes twice what it gets, and draws random numbers while it does."""

    def __init__(self) -> None:
        self.model = self
        self.aside: list[bool] = []

    @contextmanager
    def without_trace(self, *, evaluation: bool) -> Iterator[None]:
        self.aside.append(evaluation)
        yield

    def set_input(self, input: dict[str, Any]) -> None:
        self.real = input["A"]

    def forward(self) -> None:
        self.made = (
            self.real * 2 + random.random() * 0 + float(np.random.rand() + torch.rand(())) * 0
        )

    def validation_losses(self) -> dict[str, Tensor]:
        return {"G": self.made.sum()}

    def validation_pairs(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {"": (self.made, self.real), "idt_A": (self.made, self.made)}

    def validation_sets(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {}

    def compute_visuals(self) -> None:
        pass

    def get_current_visuals(self) -> dict[str, Tensor]:
        return {"made": self.made}


def doubler() -> Any:
    return Doubler()


class Loaded:
    """Gives batches as a loader does; then it fails, if there is a `problem`."""

    def __init__(self, batches: Sequence[dict[str, Any]], problem: Exception | None = None) -> None:
        self.batches, self.problem = batches, problem

    def __len__(self) -> int:
        return len(self.batches) + 1 if self.problem else len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.only(range(len(self)))

    def only(self, positions: range) -> Generator[dict[str, Any]]:
        for position in positions:
            if self.problem and position >= len(self.batches):
                raise self.problem
            yield self.batches[position]


def batches(*levels: float, problem: Exception | None = None) -> Any:
    return Loaded([{"A": torch.full((1, 3, 12, 12), level)} for level in levels], problem)


def test_means_are_those_of_all_images() -> None:
    model = doubler()
    found = Validator(model, batches(0.1, 0.2, 0.3, 0.4, 0.5), evaluation=True).run()
    assert found.metrics["L1"] == pytest.approx(0.15)  # half of 0.1 .. 0.5: values go from -1 to 1
    assert found.metrics["G"] == pytest.approx(2 * 0.3 * 3 * 144, rel=1e-6)
    assert set(found.metrics) == {"G", "L1", "PSNR", "SSIM", "idt_A_L1"}
    assert found.metrics["idt_A_L1"] == 0
    assert (found.images, found.statistics) == (5, "running")
    assert model.aside == [True]


def test_a_metric_is_declared_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def largest(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().amax(dim=(1, 2, 3))

    monkeypatch.setitem(METRICS, "Max", Metric(largest, "max", "of the range 0 to 1", 4))
    found = Validator(doubler(), batches(0.1, 0.3)).run().metrics
    assert found["Max"] == pytest.approx(0.1)  # half of the mean of 0.1 and 0.3
    assert metric_and_direction("Max") == ("Max", "max")
    shown = image_scores(
        {"fake_B": torch.full((1, 3, 12, 12), 0.5), "real_B": torch.zeros(1, 3, 12, 12)}
    )
    assert shown["Max"] == pytest.approx(64 / 255)  # of files: 191 and 127


def test_samples_are_the_first_images_and_draw_no_random_number() -> None:
    made: list[int] = []

    def create() -> Any:
        made.append(1)
        return batches(0.1, 0.2, 0.3, 0.4, 0.45)

    model = doubler()
    samples = FixedImages(model, create, evaluation=True)
    rng.seed_all(5)
    wanted = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    rng.seed_all(5)
    first, second = samples.draw(), samples.draw()
    assert [random.random(), float(np.random.rand()), float(torch.rand(()))] == wanted
    assert [sorted(row) for row in first] == 4 * [["made"]]
    assert first[0]["made"].shape == (12, 12, 3)
    assert all((a["made"] == b["made"]).all() for a, b in zip(first, second, strict=True))
    assert (model.aside, len(made)) == ([True, True], 1)


def test_samples_that_fail_are_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Any:
        raise RuntimeError("no such folder")

    samples = FixedImages(doubler(), broken, evaluation=False)
    assert samples.draw() == samples.draw() == []
    said = capsys.readouterr().err
    assert said.startswith(
        "warning: No images to compare epochs by: RuntimeError: no such folder ("
    )
    assert said.count("\n") == 1
    told = FixedImages(
        doubler(), broken, evaluation=False, told=[said.partition(" by: ")[2].strip()]
    )
    assert told.draw() == []
    assert capsys.readouterr().err == ""


def test_random_numbers_go_on_as_if_nothing_had_been_measured() -> None:
    rng.seed_all(5)
    wanted = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    rng.seed_all(5)
    Validator(doubler(), batches(0.1, 0.2)).run()
    assert [random.random(), float(np.random.rand()), float(torch.rand(()))] == wanted


def test_only_every_so_many_epochs_and_a_failure_does_not_stop_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    validator = Validator(doubler(), batches(0.1), every=2)
    assert validator.measure(1) is None
    assert validator.measure(2) is not None
    out = capsys.readouterr().out
    assert out.startswith("validation (epoch: 2, images: 1) G: 86.400 L1: 0.050 PSNR: ")

    images = batches(0.1, problem=UserError("b.png is broken"))
    assert Validator(doubler(), images).measure(3) is None
    assert "No validation in epoch 3: b.png is broken" in capsys.readouterr().err


def test_failures_are_said_once_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    images = batches(0.1)
    validator = Validator(doubler(), images)
    validator.tell_failures()
    for epoch, problem in enumerate(["a", "a", "b", "", "a"], 1):
        images.problem = UserError(problem) if problem else None
        assert (validator.measure(epoch) is None) == bool(problem)
    validator.tell_failures()
    assert capsys.readouterr().err.splitlines() == [
        "warning: No validation in epoch 1: a",
        "warning: No validation in epoch 3: b",
        "warning: 4 of 5 validations failed.",
    ]


def test_an_error_that_is_none_for_users_is_told_with_its_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(Loaded):
        def only(self, positions: range) -> Generator[dict[str, Any]]:
            yield from super().only(range(1))
            torch.zeros(2) + torch.zeros(3)

    images: Any = Broken([*batches(0.1), *batches(0.2)])
    assert Validator(doubler(), images).measure(1) is None
    said = capsys.readouterr().err
    assert said.startswith("warning: No validation in epoch 1: RuntimeError: The size of tensor a ")
    assert re.search(r"test_validation\.py, line \d+\)\n$", said)


def test_both_sides_of_a_cycle_have_one_mean() -> None:
    values = {"cycle_A_L1": 1.0, "cycle_B_L1": 3.0, "idt_A_L1": 5.0, "G": 7.0}
    assert with_means_of_both_sides(values) == {"cycle_L1": 2.0, **values}


@pytest.mark.parametrize(
    ("wanted", "name", "direction"),
    [
        ("L1", "L1", "min"), ("PSNR", "PSNR", "max"), ("cycle_A_SSIM", "cycle_A_SSIM", "max"),
        ("G", "G", "min"), ("L1:max", "L1", "max"), ("PSNR:min", "PSNR", "min"), ("", "", "min"),
    ],
)  # fmt: skip
def test_metrics_know_which_direction_is_better(wanted: str, name: str, direction: str) -> None:
    assert metric_and_direction(wanted) == (name, direction)


@given(values=st.lists(st.floats(-10, 10), min_size=1), maximise=st.booleans())
def test_the_best_epoch_is_the_first_with_the_best_value(
    values: list[float], maximise: bool
) -> None:
    best = BestEpoch("x:max" if maximise else "x:min", patience=3)
    flags = [best.update(epoch, {"x": value}) for epoch, value in enumerate(values, 1)]
    wanted = max(values) if maximise else min(values)
    assert best.value == wanted
    assert best.epoch == values.index(wanted) + 1
    assert flags[best.epoch - 1]
    assert not any(flags[best.epoch :])
    assert best.since == len(values) - best.epoch
    assert best.should_stop == (best.since >= 3)


def test_nan_is_never_the_best() -> None:
    best = BestEpoch("L1")
    assert not best.update(1, {"L1": math.nan})
    assert best.update(2, {"L1": 0.5})
    assert not best.update(3, {"L1": math.nan})
    assert best.epoch == 2


def test_a_saved_best_goes_on_for_the_same_metric_only(tmp_path: Path) -> None:
    best = BestEpoch("L1", patience=2)
    best.update(1, {"L1": 0.5})
    best.update(2, {"L1": 0.7})
    again, other = BestEpoch("L1", patience=2), BestEpoch("PSNR")
    again.load_state_dict(best.state_dict())
    other.load_state_dict(best.state_dict())
    assert (again.value, again.epoch, again.since) == (0.5, 1, 1)
    assert not again.update(3, {"L1": 0.6})
    assert again.should_stop
    assert other.epoch == 0


def test_a_better_save_stays_the_best_and_stops_nothing() -> None:
    """A run goes on from epoch 2, and `best` is of epoch 8."""
    best = BestEpoch("L1", patience=2)
    best.update(2, {"L1": 0.5})
    assert not best.keep_better({"name": "PSNR", "value": 0.1, "epoch": 8})
    assert not best.keep_better({"name": "L1", "value": 0.6, "epoch": 8})
    assert best.keep_better({"name": "L1", "value": 0.2, "epoch": 8})
    assert [best.update(epoch, {"L1": value}) for epoch, value in ((3, 0.4), (4, 0.3))] == [
        False,
        False,
    ]
    assert best.summary() == "best L1 so far: 0.2000 in epoch 8"
    assert not best.should_stop
    assert (best.value, best.epoch, best.since) == (0.3, 4, 0)
    assert best.update(8, {"L1": 0.2})  # the same epoch again
    assert best.update(9, {"L1": 0.1})
    assert best.saved == (0.1, 9)


def test_an_unknown_metric_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no such metric. Did you mean 'L1'\? Available: G, L1"):
        BestEpoch("l1").check(["G", "L1"])
    BestEpoch().check([])


# ---- two domains, and sizes ---------------------------------------------------------------


class TwoDomains(Doubler):
    """Measures what it gets of two domains."""

    def set_input(self, input: dict[str, Any]) -> None:
        self.real_A, self.real_B = input["A"], input["B"]

    def forward(self) -> None:
        pass

    def validation_losses(self) -> dict[str, Tensor]:
        return {}

    def validation_pairs(self) -> dict[str, tuple[Tensor, Tensor]]:
        black = torch.full((1, 3, 12, 12), -1.0)
        return {"cycle_A": (self.real_A, black), "idt_A": (self.real_B, black)}

    def validation_sets(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {"A": (self.real_B, self.real_A), "": (self.real_A, self.real_B)}

    def get_current_visuals(self) -> dict[str, Tensor]:
        return {}


@pytest.mark.parametrize(("a", "b"), [(1, 3), (3, 2), (2, 2)])
def test_images_of_a_smaller_domain_are_measured_once(
    a: int, b: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def level(index: int) -> Tensor:
        return torch.full((1, 3, 12, 12), index / 4 - 1)

    items: Any = Loaded([
        {
            "A": level(index % a), "A_paths": [f"a{index % a}"],
            "B": level(index % b), "B_paths": [f"b{index % b}"],
        }
        for index in range(max(a, b))
    ])  # fmt: skip
    sizes: dict[str, list[int]] = {}

    def count(features: dict[str, tuple[list[Tensor], list[Tensor]]]) -> dict[str, float]:
        sizes.update({name: [len(made), len(real)] for name, (made, real) in features.items()})
        return {}

    monkeypatch.setattr(validation, "distances_of_sets", count)
    of_images: Any = lambda images: images.float().mean().reshape(1, 1)  # noqa: E731
    model: Any = TwoDomains()
    validator = Validator(model, items, inception=of_images, direction="AtoB")
    for _ in range(2):  # the second validation begins anew
        found = validator.run().metrics
        assert found["cycle_A_L1"] == pytest.approx(sum(range(a)) / a / 8)
        assert found["idt_A_L1"] == pytest.approx(sum(range(b)) / b / 8)
        assert sizes == {"A": [b, a], "": [a, b]}


def test_edges_are_cut_off_until_sides_are_multiples() -> None:
    image = torch.arange(70.0).view(1, 1, 7, 10)
    batch = {"A": image, "B": image[:, :, :3], "A_paths": ["x"]}
    found = validation.cut(batch, 4)
    assert torch.equal(found["A"], image[:, :, 1:5, 1:9])
    assert found["B"].shape == (1, 1, 3, 8)  # too low for a multiple
    assert found["A_paths"] == ["x"]
    assert validation.cut(batch, 1) is batch
