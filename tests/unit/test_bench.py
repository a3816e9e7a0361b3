"""scripts/bench.py: what it counts, how it judges, and when it refuses. Nothing here is timed."""

import json
import math
import sys
import textwrap
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

import bench

from benchmark import numerics, scaling
from benchmark.context import Context, row
from benchmark.measure_commands import stall
from benchmark.measure_several import overlap_row, part_rows
from benchmark.numerics import DisagreementError, compare_gradients, compare_losses
from benchmark.results import (
    Goal,
    Measured,
    Row,
    Series,
    interleave,
    missed,
    of_times,
    quantity,
    render,
)
from benchmark.visdom_stub import stub_server
from benchmark.worker import counting, interface
from benchmark.worker.data import calls_per_file
from tests.support.paths import ROOT
from tests.support.tiers import LONG

# What one step may do at most at 256 px: operations, FLOPs, bytes.
MOST = {"cycle_gan": (1050, 1.8793e12, 16.5e9), "pix2pix": (235, 8.695e10, 2.37e9)}


def faster(reference: Sequence[float], ours: Sequence[float], goal: float = 2.0) -> Row:
    return Row("step", "a step", Goal("faster", goal), Series(reference), Series(ours))


# ---- counts -------------------------------------------------------------------------------


@pytest.mark.parametrize("model", list(MOST))
def test_a_step_does_no_more_than_it_did(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    argv = ["--dataroot", ".", "--checkpoints_dir", str(tmp_path), "--model", model]
    found = counting.count([*argv, "--gpu_ids", "-1"], size=256)
    operations, flops, size = MOST[model]
    assert 100 < found["operations"] <= operations
    assert flops / 2 < found["flops"] <= flops
    assert found["bytes"] <= size
    assert sum(found["by_name"].values()) == found["operations"]
    assert not any(name.startswith("aten.view") for name in found["by_name"])


# ---- goals and the table --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "ok"), [(0.5, "yes"), (0.49, "yes"), (0.55, "close"), (0.58, "close"), (0.6, "no")]
)
def test_a_goal_is_met_or_close_or_missed_by_more_than_15_percent(seconds: float, ok: str) -> None:
    line = faster([1.0], [seconds])
    assert line.ok == ok
    assert missed([line]) == ([line] if ok == "no" else [])


def test_a_size_is_compared_the_other_way_round() -> None:
    line = Row("memory", "", Goal("smaller", 0.75), Series([4000], "MB"), Series([3000], "MB"))
    assert line.ratio == 0.75
    assert line.ok == "yes"


def test_nothing_is_forgiven_where_nothing_is_noisy() -> None:
    counted = Row("counts", "", Goal("limit", 220, exact=True), ours=Series([221], "ops"))
    stalled = Row("stall", "", Goal("limit", 1), ours=Series([1.1], "%"))
    assert (counted.ok, stalled.ok) == ("no", "close")


def test_the_ratio_is_that_of_medians() -> None:
    assert faster([9.0, 2.0, 2.0], [1.0, 1.0, 7.0]).ratio == 2.0


def test_without_a_reference_ratios_are_unmeasured_and_nothing_is_missed() -> None:
    line = row("step", "a step", Goal("faster", 2), {"ours": Series([1.0])})
    assert line.ok == "unmeasured"
    assert "no --reference" in render([line])
    assert missed([line]) == []


def test_a_mode_that_we_lack_is_missed_and_says_why() -> None:
    line = Row("step", "a step", Goal("faster", 2), missing="unrecognized arguments: --compile")
    assert missed([line]) == [line]
    assert "unmeasured: unrecognized arguments: --compile" in render([line])


def test_a_goal_that_does_not_apply_is_neither_met_nor_missed() -> None:
    line = faster([1.0], [1.0])
    line.not_judged = "the reference does not waste this"
    assert line.ok == "-"
    assert missed([line]) == []


def test_rows_are_marked_noisy_above_15_percent() -> None:
    calm, wild = faster([1.0, 1.1], [0.5, 0.5]), faster([1.0, 1.3], [0.5, 0.5])
    assert "noisy" not in render([calm])
    assert "noisy: the repetitions spread by reference 26%" in render([wild])


def test_the_table_fits_into_100_columns() -> None:
    line = faster([1234.5, 1235.0], [0.000012, 0.000013])
    line.case = "a case with a name that is far too long for its column, and goes on and on"
    line.notes = ["a remark " * 30]
    text = render([line])
    assert max(map(len, text.splitlines())) <= 100
    assert "1235 s" in text
    assert "12.5 us" in text


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [(2.0, "s", "2 s"), (0.0456, "s", "45.6 ms"), (3e-6, "s", "3 us"), (1234.5, "MB", "1234 MB")],
)
def test_quantities_have_three_digits_and_a_unit(number: float, unit: str, text: str) -> None:
    assert quantity(number, unit) == text


# ---- several processes --------------------------------------------------------------------


def watched_step(gradients: float, agreement: float) -> list[dict[str, Any]]:
    """Return what two processes say of a step; the second one came late to everything."""
    own = {"gradients": gradients, "gradients, moved": gradients, "agreement": agreement}
    early = {**own, "waiting": 0.5, "gradients": gradients + 1}
    counted = {
        "bytes": {"gradients": 113_000_000, "agreement": 8},
        "messages": {"gradients": 2, "agreement": 1},
    }
    return [{"wall": 10.0, "seconds": each, **counted} for each in (early, {**own, "waiting": 0.1})]


def test_exchanges_are_told_in_per_cent_of_a_step() -> None:
    taken = [watched_step(2.0, agreement=0.001), watched_step(1.0, agreement=0.003)]
    rows = {row.case.removeprefix("a model: "): row for row in part_rows("a model", taken, 8.0)}
    shares = {case: row.ours.median for case, row in rows.items() if row.ours}
    assert shares == {
        "gradients, % of a step": 100 * 1.5 / 8,  # of the process that came last
        "agreement, % of a step": pytest.approx(100 * 0.002 / 8),
        "waiting, % of a watched step": 5.0,  # of the one that came first
    }  # pools and norms were not exchanged
    assert "113 MB from each process, in 2 messages" in rows["gradients, % of a step"].notes[0]
    assert "8 bytes from each process, in 1 message" in rows["agreement, % of a step"].notes[0]


@pytest.mark.parametrize(("longer", "ok"), [(0.5, "no"), (1.0, "yes")])
def test_overlap_is_worth_what_travels_without_holding_a_step_up(longer: float, ok: str) -> None:
    row = overlap_row("a model", [1.5, 1.25, 2.0], longer, step=8.0)
    assert row.ours is not None
    assert row.ours.median == 100 * (1.5 - longer) / 8
    assert row.ok == ok


def test_what_exchanging_costs_is_computed_from_bytes_and_hops() -> None:
    link = scaling.Link("a cable", speed=1e9, latency=1e-3)
    two = scaling.Load(step=9.0, gradients=1e9, pools=0).exchange(2, link)
    assert two == pytest.approx(1 + 1e-3 * (2 * 2 + 2 * 2))  # half there, half back
    eight = scaling.Load(step=9.0, gradients=1e9, pools=1e8)
    assert eight.exchange(8, link) == pytest.approx(1.75 + 0.04375 + 1e-3 * (4 * 7 + 2 + 12))
    needed = scaling.Link("enough", eight.speed_needed(8, link), link.latency)
    assert eight.efficiency(8, needed) == pytest.approx(0.9)
    assert scaling.Load(step=1e-3, gradients=1, pools=1).speed_needed(8, link) == math.inf


def test_steps_last_as_long_as_the_slowest_needs() -> None:
    assert scaling.slowest(1, 0.1) == pytest.approx(1, abs=0.01)
    assert scaling.slowest(1000, 0.0) == 1
    # The largest of 1000 normal values is 3.24 standard deviations above their mean, on average.
    assert scaling.slowest(1000, 0.05) == pytest.approx(1 + 3.24 * 0.05, abs=0.02)


def test_the_best_interval_between_saves_is_the_best() -> None:
    failures = scaling.Failures(between=18_000, save=10, restart=120)
    best = failures.best_interval
    assert best == pytest.approx(math.sqrt(2 * 10 * 18_000), rel=0.03)  # Young's
    useful = {factor: failures.simulate(factor * best, hours=50_000) for factor in (0.2, 1, 5)}
    assert max(useful, key=lambda factor: useful[factor]) == 1
    lost = 10 / best + best / 2 / 18_000 + 120 / 18_000
    assert useful[1] == pytest.approx(1 - lost, abs=0.004)


def test_what_is_computed_for_more_processes_stands_in_the_document() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for title, lines in scaling.tables(scaling.LOADS, scaling.LOADS[scaling.VARIED]).items():
        assert "\n".join(lines) in text, title


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="starts many processes; RELIABILITY=long tries it")
def test_two_processes_compute_what_one_does_before_they_are_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--only", "dist", "--model", "cycle_gan", "--size", "64", "--quick"]
    report = tmp_path / "report.json"
    assert bench.main([*argv, "--json", str(report)]) == 0
    rows = json.loads(report.read_text())["rows"]
    assert "cycle_gan, first steps in float64" in capsys.readouterr().out
    unmeasured = [row["case"] for row in rows if row["ours"] is None]
    assert unmeasured == ["cycle_gan on several GPUs, an image"]
    exchanged = {row["case"]: " ".join(row["remarks"]) for row in rows if "% of a" in row["case"]}
    found = {case.split(": ")[1].split(",")[0] for case in exchanged}
    assert found - {"pools"} == {  # of which an image may have been drawn for the other, or none
        "waiting", "gradients", "agreement", "losses", "one pool for all",
        "overlap would save",
    }  # fmt: skip


# ---- measuring --------------------------------------------------------------------------------


def test_the_sides_are_measured_in_turns_and_the_first_turn_does_not_count() -> None:
    calls: list[str] = []

    def side(name: str) -> Measured:
        calls.append(name)
        return {"cpu": float(len(calls)), "wall": 100.0 + len(calls)}

    found = interleave([lambda: side("A"), lambda: side("B")], reps=2)
    assert calls == ["A", "B"] * 3
    series = of_times(found[0], "cpu")
    assert (list(series.values), list(series.others["wall"])) == ([3, 5], [103, 105])
    assert (series.median, series.least) == (4, 3)


def test_a_stall_is_what_is_added_where_something_is_due() -> None:
    gaps = [0.9 if image == 4 else 0.31 if image % 4 == 0 else 0.01 for image in range(1, 30)]
    assert stall(gaps) == pytest.approx(0.3)
    assert stall([0.01] * 30) == 0.0


def test_calls_of_functions_are_counted_per_file(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}.jpg").touch()
    assert 1 < calls_per_file(str(tmp_path))["calls"] < 30


def test_what_is_sent_to_visdom_is_swallowed_and_counted() -> None:
    with stub_server() as server:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
        answers = []
        for path in ("/win_exists", "/events", "/win_exists"):
            connection.request("POST", path, b"12345")
            answers.append(connection.getresponse().read())
        connection.close()
        assert answers[::2] == [b"false", b"true"]
        assert server.bytes == 15


def test_an_unknown_option_is_told_in_the_words_of_the_checkout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(interface.RefusedError, match="unrecognized arguments: --no_such_mode"):
        interface.train_options(["--dataroot", ".", "--no_such_mode"])


# ---- numerics -----------------------------------------------------------------------------------


def gradients(**changes: Any) -> dict[str, Any]:
    """Return gradients of a network whose first bias stands in front of an instance norm."""
    usual = {
        "G.conv.weight": np.array([1.0, -2.0]),
        "G.conv.bias": np.array([1e-14]),
        "G.last.bias": np.array([0.5]),
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def test_gradients_that_differ_by_rounding_agree() -> None:
    ours = gradients(**{"G.conv.weight": np.array([1.0, -2.0 * (1 + 1e-14)])})
    assert compare_gradients("", gradients(), ours) < 1e-13


@pytest.mark.parametrize("bias", [None, np.array([0.0]), np.array([-3e-14])])
def test_a_bias_that_the_norm_takes_away_may_have_no_gradient(bias: Any) -> None:
    assert compare_gradients("", gradients(), gradients(**{"G.conv.bias": bias})) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"G.conv.weight": np.array([1.0, -2.00001])}, "G.conv.weight differs by 4.5e-06"),
        ({"G.conv.weight": None}, "G.conv.weight has a gradient there, and here none"),
        ({"G.conv.bias": np.array([1e-3])}, "G.conv.bias differs"),
        ({"G.last.bias": None}, "G.last.bias has a gradient there"),
        ({"G.more.bias": np.array([1.0])}, "G.more.bias has a gradient here"),
        ({"G.last.bias": np.array([np.nan])}, "G.last.bias differs by nan"),
    ],
)
def test_other_gradients_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DisagreementError, match=message):
        compare_gradients("a step", gradients(), gradients(**changes))


def test_rounding_is_that_of_the_worst_network() -> None:
    truth = {"G.conv.weight": np.array([3.0, 4.0]), "D.conv.weight": np.array([1.0])}
    found = {"G.conv.weight": np.array([3.0, 4.05]), "D.conv.weight": np.array([1.001])}
    assert numerics.rounding(truth, found) == pytest.approx(0.01)
    biases = {"D.conv.bias": np.array([1e-14])}  # in front of a norm: nothing but rounding
    assert numerics.rounding(truth | biases, found) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        ({"G": 1.0001}, "the loss G is 1.0 there, 1.0001 here: a relative difference of 1.0e-04"),
        ({"G": float("nan")}, "difference of nan"),
        ({"D": 1.0}, r"the losses are \['G'\] there, \['D'\] here"),
    ],
)
def test_other_losses_are_refused(ours: dict[str, float], message: str) -> None:
    compare_losses("a step", {"G": 1.0}, {"G": 1.000001}, 1e-5)
    with pytest.raises(DisagreementError, match=message):
        compare_losses("a step", {"G": 1.0}, ours, 1e-5)


STAND_IN = {
    "train.py": "",
    "options/train_options.py": """
        import argparse
        class TrainOptions:
            def parse(self):
                parser = argparse.ArgumentParser()
                parser.add_argument("--checkpoints_dir")
                return parser.parse_known_args()[0]
    """,
    "models/__init__.py": """
        import os
        import torch
        class Model:
            model_names = ["G"]
            def __init__(self, opt):
                self.netG = torch.nn.Conv2d(3, 3, 1)
                self.optimizers = [torch.optim.SGD(self.netG.parameters(), lr=0.1)]
                self.file = os.path.join(opt.checkpoints_dir, "net_G.pth")
                os.makedirs(opt.checkpoints_dir, exist_ok=True)
            def setup(self, opt):
                pass
            def save_networks(self, label):
                torch.save(self.netG.state_dict(), self.file)
            def load_networks(self, label):
                self.netG.load_state_dict(torch.load(self.file))
            def set_input(self, batch):
                self.a, self.b = batch["A"], batch["B"]
            def optimize_parameters(self):
                self.optimizers[0].zero_grad()
                self.loss_G = (self.netG(self.a) - self.b).abs().mean() * FACTOR
                self.loss_G.backward()
                self.optimizers[0].step()
            def get_current_losses(self):
                return {"G": float(self.loss_G)}
        def create_model(opt):
            return Model(opt)
    """,
}


def stand_in(folder: Path, factor: float) -> Path:
    """Write a small checkout whose loss is multiplied with `factor`."""
    for name, text in STAND_IN.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).replace("FACTOR", repr(factor)), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_checkout_that_computes_something_else_is_found_out(tmp_path: Path) -> None:
    context = Context(
        ours=stand_in(tmp_path / "ours", 1.0 + 1e-8),
        reference=stand_in(tmp_path / "reference", 1.0),
        folder=tmp_path, models=["cycle_gan"], size=64, reps=1, threads=1, files=1,
    )  # fmt: skip
    with pytest.raises(DisagreementError, match=r"float64: the loss G is .* difference of 1.0e-08"):
        numerics.check(context)


def test_no_speed_is_printed_where_the_sides_disagree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def disagree(_context: Context) -> list[str]:
        raise DisagreementError("the loss G is 1 there, 2 here")

    monkeypatch.setattr(numerics, "check", disagree)
    monkeypatch.setitem(bench.MEASURES, "step", lambda _context: pytest.fail("it was measured"))
    checkout = str(stand_in(tmp_path / "checkout", 1.0))
    argv = ["--only", "step", "--ours", checkout, "--reference", checkout]
    assert bench.main([*argv, "--json", str(tmp_path / "report.json")]) == 1
    printed = capsys.readouterr()
    assert "error: the loss G is 1 there, 2 here" in printed.err
    assert "ratio" not in printed.out
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--only", "step,speed"], "there is no group speed"),
        (["--reference", "/nowhere"], "/nowhere is no checkout"),
        (["--reps", "0"], "0 is below 1"),
    ],
)
def test_a_wrong_command_ends_with_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(argv)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
