"""What each epoch brought: written as JSON lines, and read back with suspicion."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from util.base.errors import UserError
from util.display.pages.curves import Curves
from util.display.sinks.base import WHOLE_EPOCH, BestRecord, EpochRecord, LogStep
from util.display.sinks.epochs import MetricsSink, read_metrics


def record(epoch: int, **more: Any) -> EpochRecord:
    found = EpochRecord(
        epoch=epoch,
        total_iters=100 * epoch,
        lr={"G": 2e-4, "D": 2e-4},
        seconds=9.0,
        images_per_second=11.0,
        memory_mib=500.0,
        train={"G": 1.0 / epoch},
    )
    return EpochRecord(**{**found, **more})  # type: ignore[typeddict-item]


def line(**changed: Any) -> str:
    return json.dumps({**record(1), **changed})


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    sink = MetricsSink(tmp_path / "metrics.jsonl")
    written = [
        record(1),
        record(2, val={"L1": 0.25}, best=BestRecord(metric="L1", value=0.25, epoch=2)),
    ]
    for one in written:
        sink.epoch(one, [])
    assert read_metrics(tmp_path / "metrics.jsonl") == written


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    MetricsSink(tmp_path / "m").epoch(record(1, train={"G": math.nan}, memory_mib=math.inf), [])
    (found,) = read_metrics(tmp_path / "m")
    assert found["train"] == {"G": None}
    assert found["memory_mib"] is None


def test_of_an_epoch_that_was_trained_twice_the_later_report_counts(tmp_path: Path) -> None:
    for epoch, seconds in ((1, 1.0), (2, 2.0), (3, 3.0), (2, 4.0)):
        MetricsSink(tmp_path / "m").epoch(record(epoch, seconds=seconds), [])
    assert [(one["epoch"], one["seconds"]) for one in read_metrics(tmp_path / "m")] == [
        (1, 1.0),
        (2, 4.0),
    ]


@pytest.mark.parametrize(("after", "kept"), [(LogStep(2, 40), 1), (LogStep(2, WHOLE_EPOCH), 2)])
def test_going_back_drops_the_epochs_that_were_not_over(
    after: LogStep, kept: int, tmp_path: Path
) -> None:
    first, again = MetricsSink(tmp_path / "m"), MetricsSink(tmp_path / "m")
    for epoch in (1, 2, 3):
        first.epoch(record(epoch), [])
    again.go_on_after(after)
    again.epoch(record(kept + 1, seconds=2.0), [])
    lines = [json.loads(text) for text in (tmp_path / "m").read_text().splitlines()]
    assert [(each["epoch"], each["seconds"]) for each in lines] == [
        *((epoch, 9.0) for epoch in range(1, kept + 1)),
        (kept + 1, 2.0),
    ]


def test_a_last_line_that_is_torn_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "m").write_text(f"{line()}\n{line(epoch=2)[:-7]}")
    assert [one["epoch"] for one in read_metrics(tmp_path / "m")] == [1]


def test_an_epoch_that_other_software_wrote_as_a_float_is_a_whole_number(tmp_path: Path) -> None:
    (tmp_path / "m").write_text(line(epoch=3.0))
    (found,) = read_metrics(tmp_path / "m")
    assert isinstance(found["epoch"], int)


WRONG = [
    ("[1, 2]", "no JSON object"),
    ("3", "no JSON object"),
    ("{", "no JSON object"),
    ("{}", "it has no epoch that is a whole number"),
    (line(epoch="1"), "it has no epoch that is a whole number"),
    (line(epoch=1.5), "it has no epoch that is a whole number"),
    (line(epoch=True), "it has no epoch that is a whole number"),
    (line(epoch=math.inf), "it has no epoch that is a whole number"),
    (line(epoch=10**400), "it has no epoch that is a whole number"),
    (line(train=[1.0]), "train is no object of numbers"),
    (line(val={"L1": "small"}), "val is no object of numbers"),
    (line(lr={"G": [1]}), "lr is no object of numbers"),
    (line(memory_mib="many"), "memory_mib is no number"),
    (line(images_per_second={}), "images_per_second is no number"),
    (line(best="L1"), "best lacks metric, value or epoch"),
    (line(best={"metric": "L1", "value": 0.5}), "best lacks metric, value or epoch"),
]


@pytest.mark.parametrize(("wrong", "reason"), WRONG, ids=[reason for _, reason in WRONG])
@pytest.mark.parametrize("is_last", [True, False], ids=["last", "before"])
def test_a_line_of_other_things_is_named(
    tmp_path: Path, wrong: str, reason: str, is_last: bool
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f"{line()}\n\n{wrong}\n" + ("" if is_last and wrong != "{" else line(epoch=2)))
    with pytest.raises(UserError) as caught:
        read_metrics(path)
    assert str(caught.value).startswith(f"{path}, line 3 is not what an epoch brought, {reason}: ")
    assert str(caught.value).endswith("Remove or mend that line.")


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["", "x"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["epoch", "train", "val", "lr", "best", "memory_mib", "images_per_second", "total_iters"]
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changed=st.lists(st.dictionaries(KEYS, VALUES, max_size=2), min_size=1, max_size=3))
def test_what_is_read_can_be_drawn(tmp_path: Path, changed: list[dict[str, Any]]) -> None:
    (tmp_path / "m").write_text("\n".join(line(**one) for one in changed))
    try:
        found = read_metrics(tmp_path / "m")
    except UserError:
        return
    curves = Curves()
    for one in found:
        curves.add_epoch(one)
    assert curves.render()
