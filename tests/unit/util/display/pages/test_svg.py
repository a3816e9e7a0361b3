"""Loss curves as text: what a browser draws, read back from the coordinates."""

import math
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from util.display.pages.curves import Curves
from util.display.pages.elements import asset
from util.display.pages.svg import (
    DASHES,
    MOST_POINTS,
    PALETTE,
    loss_curve,
    places_to_keep,
    small_curve,
)
from util.display.sinks.base import EpochRecord

Points = Sequence[tuple[float, Mapping[str, float]]]
Place = tuple[float, float]
NAN = math.nan


def by_name(points: Points) -> dict[str, list[tuple[float, float]]]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for x, values in points:
        for name, value in values.items():
            lines.setdefault(name, []).append((x, value))
    return lines


class Drawing:
    """What is in the image.

    Attributes:
        lines: by loss, the stretches drawn without lifting the pen, in pixels.
        legend: the names above the plot.
        rows: the marks of the vertical axis with their rows, from the bottom.
        columns: the marks of the horizontal axis with their columns.
    """

    def __init__(
        self, points: Points, width: int = 720, height: int = 260, means: Points = ()
    ) -> None:
        self.text = loss_curve(by_name(points), width, height, means=by_name(means))
        self.root = ET.fromstring(self.text)
        self.width, self.height = width, height
        self.lines: dict[str, list[list[Place]]] = {}
        self.strokes: dict[str, tuple[str, str]] = {}
        for group in self.root.iter("g"):
            name = group.get("aria-label", "").rsplit(":", 1)[0]
            assert name.startswith(group.get("data-name", "?"))
            self.lines[name] = [
                [
                    (float(x), float(y))
                    for x, y in re.findall(r"(\S+),(\S+)", line.get("points", ""))
                ]
                for line in group.iter("polyline")
            ]
            self.strokes[name] = (group.get("stroke", ""), group.get("stroke-dasharray", ""))
        texts = [(t.text or "", t.attrib) for t in self.root.iter("text")]
        self.words = [text for text, _ in texts]
        self.legend = [text for text, at in texts if "text-anchor" not in at]
        self.rows = [
            (text, float(at["y"]) - 4)
            for text, at in texts
            if at.get("text-anchor") == "end" and not text.endswith("more")
        ]
        self.columns = [
            (text, float(at["x"]))
            for text, at in texts
            if at.get("text-anchor") == "middle" and "transform" not in at and text != "epoch"
        ]

    @property
    def places(self) -> list[Place]:
        return [place for line in self.lines.values() for part in line for place in part]


def value_at(marks: list[tuple[str, float]], pixel: float) -> float:
    """Undo a linear axis by its first and last mark."""
    (first, start), (last, end) = marks[0], marks[-1]
    return float(first) + (pixel - start) / (end - start) * (float(last) - float(first))


def test_nothing_to_draw_gives_no_text() -> None:
    assert loss_curve({}) == ""
    assert loss_curve({"G": []}) == ""
    assert loss_curve({"G": [(1.0, NAN), (2.0, math.inf)]}) == ""
    assert small_curve("G", {"G": [(1.0, NAN)]}) == ""


def test_points_stand_where_the_axes_say() -> None:
    points = [(x / 4, {"G": math.sin(x), "D": x / 10}) for x in range(-3, 30)]
    drawing = Drawing(points)
    for name in ("G", "D"):
        (line,) = drawing.lines[name]
        assert len(line) == len(points)
        for (x, values), (column, row) in zip(points, line, strict=True):
            assert value_at(drawing.columns, column) == pytest.approx(x, abs=0.01)
            assert value_at(drawing.rows, row) == pytest.approx(values[name], abs=0.02)


def test_it_needs_nothing_from_outside_and_runs_nothing() -> None:
    text = loss_curve({"G": [(1, 1), (2, 3)]}) + small_curve("G", {"G": [(1, 1), (2, 3)]})
    assert "://" not in text
    assert not re.search(r"<script|<style|<image|<use|href|url\(|\son\w+=|\sid=", text)


def test_it_is_named_for_those_who_cannot_see_it() -> None:
    drawing = Drawing([(1, {"G": 1.0}), (2, {"G": 0.25})])
    assert drawing.root.get("role") == "img"
    assert "Losses over epochs" in drawing.text
    assert "G: 0.25" in drawing.text
    assert {"epoch", "loss"} <= set(drawing.words)


def test_the_same_points_give_the_same_text() -> None:
    points = [(x / 9, {"G": math.cos(x), "D": 1.0}) for x in range(2000)]
    assert loss_curve(by_name(points)) == loss_curve(by_name(points))


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", 'a"b', "a&b", "a'b", "x\0y\x1b", "ä"]
)
def test_names_are_escaped(name: str) -> None:
    drawing = Drawing([(1, {name: 1.0}), (2, {name: 2.0})])
    assert drawing.legend == [name.replace("\0", "\\x00").replace("\x1b", "\\x1b")]
    assert "<script" not in drawing.text


def test_a_long_name_is_shortened_in_the_legend_only() -> None:
    drawing = Drawing([(1, {"x" * 100: 1.0})])
    assert drawing.legend == ["x" * 27 + "\u2026"]
    assert list(drawing.lines) == ["x" * 100]


def test_every_loss_has_a_style_of_its_own() -> None:
    names = [f"loss_{i}" for i in range(len(PALETTE) * len(DASHES))]
    drawing = Drawing([(x, dict.fromkeys(names, float(x))) for x in range(3)])
    assert list(drawing.lines) == names
    assert len(set(drawing.strokes.values())) == len(names)


def test_a_style_stays_when_other_losses_appear_later() -> None:
    early: Points = [(1, {"G": 1.0}), (2, {"G": 2.0})]
    late: Points = [*early, (3, {"D": 3.0, "G": 1.0}), (4, {"D": 2.0, "G": 1.0})]
    before, after = Drawing(early), Drawing(late)
    assert before.strokes["G"] == after.strokes["G"]
    assert [len(part) for part in after.lines["D"]] == [2]
    assert after.lines["D"][0][0][0] > after.lines["G"][0][1][0]


def test_a_legend_that_does_not_fit_says_how_many_are_missing() -> None:
    drawing = Drawing([(1, {f"a_rather_long_name_{i}": i for i in range(200)})])
    (missing,) = [text for text in drawing.words if text.endswith("more")]
    assert missing == f"and {200 - len(drawing.legend)} more"
    assert len(drawing.lines) == 200
    top = min(row for _, row in drawing.rows)
    bottom = max(row for _, row in drawing.rows)
    assert bottom - top > 50


def test_one_point_is_a_dot() -> None:
    drawing = Drawing([(1.25, {"G": 0.5})])
    ((start, end),) = drawing.lines["G"]
    assert start == end
    assert value_at(drawing.columns, start[0]) == pytest.approx(1.25, abs=0.01)


@pytest.mark.parametrize("value", [0.0, 0.6931, -3.0, 1e-300, 1e-9, 123456.789, 1e30, -1e308])
def test_a_constant_loss_is_a_level_line_with_room_around_it(value: float) -> None:
    drawing = Drawing([(x, {"G": value}) for x in range(10)])
    (line,) = drawing.lines["G"]
    assert len({row for _, row in line}) == 1
    rows = [row for _, row in drawing.rows]
    assert min(rows) + 10 < line[0][1] < max(rows) - 10


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_what_is_not_finite_leaves_a_gap(bad: float) -> None:
    values = [1.0, 2.0, bad, bad, 3.0, bad, 1.0, 2.0, 3.0, bad]
    drawing = Drawing([(x, {"G": value}) for x, value in enumerate(values)])
    assert [len(part) for part in drawing.lines["G"]] == [2, 2, 3]  # the lonely 3.0 is a dot
    assert drawing.lines["G"][1][0] == drawing.lines["G"][1][1]


def test_a_loss_that_is_not_reported_every_time_is_still_one_line() -> None:
    points: Points = [(x, {"G": 1.0 + x, **({"D": 2.0} if x % 3 == 0 else {})}) for x in range(10)]
    assert [len(part) for part in Drawing(points).lines["D"]] == [4]


def test_going_back_to_a_checkpoint_lifts_the_pen() -> None:
    drawing = Drawing([(x, {"G": 1.0 + x}) for x in (1, 2, 3, 2, 3, 4)])
    assert [len(part) for part in drawing.lines["G"]] == [3, 3]


def test_thousands_of_points_are_thinned_but_every_spike_stays() -> None:
    rng = random.Random(0)
    spikes = {rng.randrange(50_000): sign for sign in (30.0, -30.0) for _ in range(20)}
    points = [(x / 500, {"G": spikes.get(x, rng.random())}) for x in range(50_000)]
    drawing = Drawing(points)
    (line,) = drawing.lines["G"]
    assert len(line) <= MOST_POINTS
    assert all(left[0] <= right[0] for left, right in pairwise(line))
    for x, value in spikes.items():
        near = [
            value_at(drawing.rows, row)
            for column, row in line
            if abs(value_at(drawing.columns, column) - x / 500) < 0.5
        ]
        assert any(abs(found - value) < 0.5 for found in near), x
    assert value_at(drawing.columns, line[-1][0]) == pytest.approx(points[-1][0], abs=0.2)
    assert len(drawing.text) < 20_000


def test_a_thinned_loss_keeps_its_long_gaps() -> None:
    points = [(x, {"G": NAN if 4000 <= x < 6000 else 1.0 + x % 7}) for x in range(10_000)]
    drawing = Drawing(points)
    assert len(drawing.lines["G"]) == 2
    assert value_at(drawing.columns, drawing.lines["G"][0][-1][0]) == pytest.approx(4000, abs=60)
    assert value_at(drawing.columns, drawing.lines["G"][1][0][0]) == pytest.approx(6000, abs=60)


def test_the_size_of_the_text_hardly_grows_with_the_training() -> None:
    def curve(count: int) -> str:
        lines = {"G": [(x / 100, x * 7919 % 101) for x in range(count)]}
        return loss_curve(lines | {"D": [(x, y % 13) for x, y in lines["G"]]})

    assert len(curve(40_000)) < 1.2 * len(curve(1000))


def test_losses_of_very_different_size_share_a_logarithmic_axis() -> None:
    values = {"G_L1": 40.0, "D": 0.25}
    drawing = Drawing([(x, values) for x in range(5)])
    assert "loss (log scale)" in drawing.words
    marks = [(str(math.log10(float(text))), row) for text, row in drawing.rows]
    for name, value in values.items():
        assert 10 ** value_at(marks, drawing.lines[name][0][0][1]) == pytest.approx(value, rel=0.02)


def test_a_zero_on_a_logarithmic_axis_lies_at_its_bottom() -> None:
    drawing = Drawing([(x, {"G": 40.0, "D": 0.0 if x == 2 else 0.25}) for x in range(5)])
    assert "loss (log scale)" in drawing.words
    assert drawing.lines["D"][0][2][1] == max(row for _, row in drawing.rows)


@pytest.mark.parametrize("small", [-0.1, 0.0])
def test_negative_losses_and_zeros_stay_on_a_linear_axis(small: float) -> None:
    assert "loss" in Drawing([(x, {"G": 40.0, "D": small}) for x in range(5)]).words


MARKS: list[tuple[list[float], list[str]]] = [
    ([0.0, 1.0], ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ([0.3, 6.6], ["0", "2", "4", "6", "8"]),
    ([9.8, 10.2], ["9.8", "9.9", "10.0", "10.1", "10.2"]),
    ([-1.0, 1.0], ["-1.0", "-0.5", "0", "0.5", "1.0"]),
    ([0.0, 5e-9], ["0", "1e-9", "2e-9", "3e-9", "4e-9", "5e-9"]),
    ([0.0, 0.0025], ["0", "0.0005", "0.0010", "0.0015", "0.0020", "0.0025"]),
    ([0.0, 3e6], ["0", "1e6", "2e6", "3e6"]),
    ([0.0, 45000.0], ["0", "10000", "20000", "30000", "40000", "50000"]),
    ([1e5, 1.2e5], ["1.00e5", "1.05e5", "1.10e5", "1.15e5", "1.20e5"]),
]


@pytest.mark.parametrize(("values", "marks"), MARKS)
def test_marks_are_round_numbers(values: list[float], marks: list[str]) -> None:
    drawing = Drawing([(x, {"G": value}) for x, value in enumerate(values)])
    assert [text for text, _ in drawing.rows] == marks


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0.5, 1.5, ["0.5", "0.6", "0.7", "0.8", "0.9", "1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]),
        (0.1, 3.0, ["1", "2", "3"]),
        (1.0, 200.0, ["20", "40", "60", "80", "100", "120", "140", "160", "180", "200"]),
        (195.0, 200.0, ["195", "196", "197", "198", "199", "200"]),
    ],
)
def test_epochs_are_whole_numbers_once_there_are_two(
    low: float, high: float, marks: list[str]
) -> None:
    drawing = Drawing([(low, {"G": 1.0}), (high, {"G": 2.0})])
    assert [text for text, _ in drawing.columns] == marks


@pytest.mark.parametrize("value", [np.float32(0.5), torch.tensor(0.5), 1])
def test_any_kind_of_number_is_drawn(value: float) -> None:
    assert Drawing([(1, {"G": value}), (2, {"G": 0.75})]).lines["G"]


@settings(max_examples=150)
@given(
    points=st.lists(
        st.tuples(
            st.floats(0, 1e6),
            st.dictionaries(st.sampled_from(["G", "D", "cycle_A"]), st.floats(), max_size=3),
        ),
        max_size=30,
    ),
    width=st.integers(300, 1500),
    height=st.integers(150, 800),
)
def test_whatever_the_losses_are_the_drawing_stays_inside(
    points: Points, width: int, height: int
) -> None:
    text = loss_curve(by_name(points), width, height)
    finite = {n for x, values in points for n, v in values.items() if math.isfinite(v)}
    assert bool(text) == bool(finite)
    if not text:
        return
    drawing = Drawing(points, width, height)
    assert set(drawing.lines) == finite
    assert set(drawing.legend) == finite
    assert "nan" not in text
    assert "inf" not in text
    rows, columns = [row for _, row in drawing.rows], [column for _, column in drawing.columns]
    assert len(rows) >= 2
    assert len(columns) >= 1
    assert len({text for text, _ in drawing.rows}) == len(rows)
    for column, row in drawing.places:
        assert 0 <= column <= width
        assert min(rows) - 0.2 <= row <= max(rows) + 0.2
        assert 0 <= row <= height - 30


# ---- thinning ------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(st.integers(1, 700), min_size=1, max_size=10), seed=st.integers(0, 2**32 - 1)
)
def test_a_line_that_is_thinned_again_and_again_stays_dense_everywhere(
    batches: list[int], seed: int
) -> None:
    rng = random.Random(seed)
    line: list[tuple[float, float]] = []
    highest, lowest = -math.inf, math.inf
    for batch in batches:
        for _ in range(batch):
            x, value = (line[-1][0] + 0.01 if line else 0.0), rng.gauss(0, 1)
            highest, lowest = max(highest, value), min(lowest, value)
            line.append((x, value))
        line = [line[i] for i in places_to_keep(line, MOST_POINTS)]
    assert len(line) <= MOST_POINTS
    assert max(value for _, value in line) == highest
    assert min(value for _, value in line) == lowest
    stretch = line[-1][0] / (MOST_POINTS // 2 - 2)
    assert all(b[0] - a[0] <= 4 * stretch + 0.011 for a, b in pairwise(line))


def test_a_history_that_jumps_to_and_fro_is_thinned_too() -> None:
    line = [(float(x % 2), float(x)) for x in range(3000)]
    assert len(places_to_keep(line, MOST_POINTS)) <= MOST_POINTS


def test_many_values_of_one_moment_are_thinned_to_their_extremes() -> None:
    line = [(1.0, float(x % 977)) for x in range(3000)]
    assert {line[i][1] for i in places_to_keep(line, MOST_POINTS)} >= {0.0, 976.0}


# ---- means -----------------------------------------------------------------------------------


def test_means_stand_out_over_the_losses_they_are_means_of() -> None:
    points = [(x / 10, {"G": 1 + x % 10 / 10}) for x in range(30)]
    drawing = Drawing(points, means=[(x + 0.5, {"G": 1.45}) for x in range(3)])
    assert list(drawing.lines) == ["G", "G, mean of each epoch"]
    assert drawing.legend == ["G"]
    assert len(set(drawing.strokes.values())) == 1
    widths = [float(group.get("stroke-width", "")) for group in drawing.root.iter("g")]
    assert widths[1] > widths[0]


def test_means_of_losses_whose_values_are_lost_are_drawn_alone() -> None:
    drawing = Drawing([], means=[(0.5, {"G": 1.0, "D": 2.0}), (1.5, {"G": 0.5, "D": 2.5})])
    assert drawing.legend == ["G", "D"]


def test_smoothed_lines_end_where_the_losses_end() -> None:
    curves = Curves()
    for epoch in (1, 2):
        for images in (50, 100):
            curves.add_losses(epoch, images, {"G": 4.0 / epoch})
        curves.add_epoch(cast(EpochRecord, {"epoch": epoch, "train": {"G": 4.0 / epoch}}))
    curves.add_losses(3, 50, {"G": 1.0})
    found = re.findall(r'data-look="(\w+)".*?<polyline points="(.*?)"', curves.render(), re.DOTALL)
    ends = {look: points.split()[-1] for look, points in found[:2]}
    assert ends["faint"].split(",")[0] == ends["mean"].split(",")[0]
    assert float(ends["mean"].split(",")[1]) < float(ends["faint"].split(",")[1])  # of 2 and 1


# ---- colours -----------------------------------------------------------------------------------


def test_no_two_colours_look_alike_on_light_or_dark_pages() -> None:
    color = pytest.importorskip("skimage.color")
    css = asset("style.css")
    dark = dict(re.findall(r"\.stroke(\d) \{ stroke: #(\w{6}) \}", css))
    assert sorted(map(int, dark)) == list(range(len(PALETTE)))
    for colours in ([colour.removeprefix("#") for colour in PALETTE], list(dark.values())):
        rgb = np.array([[list(bytes.fromhex(each)) for each in colours]])
        lab = color.rgb2lab(rgb / 255)[0]
        for one, other in combinations(range(len(lab)), 2):
            distance = float(color.deltaE_ciede2000(lab[one], lab[other]))
            assert distance >= 15, (colours[one], colours[other], distance)


# ---- small drawings --------------------------------------------------------------------------


def small(points: list[tuple[float, float]], **options: Any) -> ET.Element:
    return ET.fromstring(small_curve("PSNR", {"PSNR": points}, **options))


def texts(root: ET.Element) -> list[str]:
    return [text.text or "" for text in root.iter("text")]


def test_a_small_drawing_tells_its_name_and_the_last_value() -> None:
    root = small([(1, 20.0), (2, 21.5), (3, NAN)])
    assert texts(root)[:2] == ["PSNR", "21.5"]


def test_a_long_title_leaves_room_for_the_value() -> None:
    text = small_curve("a_very_long_name_of_a_metric_indeed", {"x": [(1, 0.123456)]})
    title, last = texts(ET.fromstring(text))[:2]
    assert title.endswith("\u2026")
    assert len(title) + len(last) < 34


def test_the_best_place_is_marked() -> None:
    root = small([(1, 20.0), (2, 22.0), (3, 21.0)], best=(2, 22.0))
    (circle,) = root.iter("circle")
    (line,) = root.iter("polyline")
    assert line.get("points", "").split()[1] == f"{circle.get('cx')},{circle.get('cy')}"
    for elsewhere in ((1, NAN), (9, 20.0), (2, 90.0)):
        assert not list(small([(1, 20.0), (3, 22.0)], best=elsewhere).iter("circle"))


def test_an_axis_can_begin_at_zero() -> None:
    points = [(1.0, 21.0), (2.0, 22.0)]
    assert "0" not in texts(small(points))
    assert "0" in texts(small(points, from_zero=True))


def test_drawings_with_common_epochs_have_the_same_marks() -> None:
    early, late = ([(float(x), 1.0 + x) for x in xs] for xs in (range(1, 4), range(30, 41)))
    marks = [
        [
            text.text
            for text in small(points, epochs=(1, 40)).iter("text")
            if text.get("text-anchor") == "middle"
        ]
        for points in (early, late)
    ]
    assert marks[0] == marks[1] == ["10", "20", "30", "40"]


# ---- data for the script that shows values -----------------------------------------------------


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=40),
    other=st.sampled_from([1.0, 1e-4, 1e4]),
)
def test_values_can_be_read_back_from_the_pixels(values: list[float], other: float) -> None:
    lines = {"G": list(enumerate(values, 1)), "D": [(1, other), (2, other)]}
    root = ET.fromstring(loss_curve(lines))
    left, right, top, bottom = (float(word) for word in root.get("data-plot", "").split())
    first, last = (float(word) for word in root.get("data-x", "").split())
    *ends, kind = root.get("data-y", "").split()
    low, high = map(float, ends)
    (stretch,) = next(root.iter("g")).iter("polyline")
    for (x, value), place in zip(lines["G"], stretch.get("points", "").split(), strict=True):
        column, row = map(float, place.split(","))
        assert first + (column - left) / (right - left) * (last - first) == pytest.approx(
            x, abs=(last - first) * 1e-3
        )
        share = (bottom - row) / (bottom - top)
        if kind == "log":
            assert low * (high / low) ** share == pytest.approx(max(value, low), rel=2e-2)
        else:
            assert low + share * (high - low) == pytest.approx(value, abs=(high - low) * 1e-4)
