"""Live plots against a real server that is absent, late, frozen, killed or restarted."""

import base64
import io
import json
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.support.paths import ROOT
from tests.support.ports import free_port
from util.base.errors import UserError
from util.display.sinks import LogStep, Sink
from util.display.sinks.visdom import sink as visdom_sink
from util.display.sinks.visdom.connection import Connection, UnreachableError, address_of
from util.display.sinks.visdom.history import LossHistory
from util.display.sinks.visdom.server import VisdomServer, start_server
from util.display.sinks.visdom.sink import VisdomSink, grid

LONGEST_BLOCK = 1.0  # seconds that the training thread may lose in a call
NAMES = ("G_GAN", "G_L1", "D_real", "D_fake")

StartServer = Callable[..., VisdomServer]
Record = Callable[[str, object], None]


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last, "waited in vain"
        time.sleep(0.01)


def freeze(server: VisdomServer) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)


def thaw(server: VisdomServer) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGCONT)


def kill(server: VisdomServer) -> None:
    assert server.process is not None
    server.process.kill()
    server.process.wait()


# ---- what is on a server, asked without our client ------------------------------------------


def ask(port: int, path: str, question: Mapping[str, Any] | None = None) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        if question is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(question))
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, f"{path} {answer.status}"
        return text
    finally:
        connection.close()


def exists(port: int, env: str, window: int) -> bool:
    return ask(port, "/win_exists", {"win": str(window), "eid": env}) == "true"


def window_on(port: int, env: str, window: int | str) -> Any:
    def no_json(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON; a browser could not read it")

    text = ask(port, "/win_data", {"win": str(window), "eid": env})
    return json.loads(text, parse_constant=no_json)


def curves_on(port: int, env: str, window: int = 1) -> dict[str, list[tuple[float, Any]]]:
    traces = window_on(port, env, window)["content"]["data"]
    return {t["name"]: list(zip(t["x"], t["y"], strict=True)) for t in traces}


def image_on(port: int, env: str, window: int) -> NDArray[np.uint8]:
    source = window_on(port, env, window)["content"]["src"]
    kind, data = source.split(",", 1)
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image)


# ---- the training ----------------------------------------------------------------------------


class Training:
    """Reports to a sink as a training thread does, and notes how long that takes."""

    def __init__(self, sink: VisdomSink, side: int = 64) -> None:
        self.sink = sink
        self.points = 0
        self.longest = 0.0
        self.images = {
            f"image {number}": np.random.default_rng(number).integers(
                0, 256, (side, side, 3), np.uint8
            )
            for number in range(8)
        }

    def values(self, point: int) -> dict[str, float]:
        return {name: point + number / 8 for number, name in enumerate(NAMES)}

    def step(self, points: int = 1, *, images: bool = True) -> None:
        for _ in range(points):
            when = LogStep(1 + self.points // 10, fraction=self.points % 10 / 10)
            begin = time.perf_counter()
            self.sink.scalars(when, self.values(self.points))
            if images:
                self.sink.images(when, self.images)
            self.longest = max(self.longest, time.perf_counter() - begin)
            self.points += 1

    def expected(self) -> dict[str, list[tuple[float, Any]]]:
        return {
            name: [
                (1 + point // 10 + point % 10 / 10, self.values(point)[name])
                for point in range(self.points)
            ]
            for name in NAMES
        }


@pytest.fixture(scope="module", autouse=True)
def _visdom_is_imported() -> None:
    """Import it here, so that no test has to wait for that."""
    import_module("visdom.server.run_server")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """Return a function that starts a server, stopped after the test."""
    running: list[VisdomServer] = []

    def run(port: int) -> VisdomServer:
        running.append(start_server(port, tmp_path / f"server{len(running)}"))
        return running[-1]

    yield run
    for server in running:
        if server.process is not None and server.process.poll() is None:
            thaw(server)
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisdomServer]:
    """Return a server for tests that leave it alone; each uses an environment of its own."""
    running = start_server(free_port(), tmp_path_factory.mktemp("visdom"))
    yield running
    running.stop()


@pytest.fixture
def env(request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("[", "-").replace("]", "")


@pytest.fixture
def make_sink(env: str) -> Iterator[Callable[..., VisdomSink]]:
    """Return a function that makes a sink; its thread has to be gone after the test."""
    sinks: list[VisdomSink] = []

    def make(port: int, **changed: Any) -> VisdomSink:
        options: dict[str, Any] = {"env": env, "display_id": 1, "ncols": 4, "name": "run"}
        sinks.append(VisdomSink("http://localhost", port, **(options | changed)))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()
        if sink._worker is not None:
            sink._worker.join(10)
            assert not sink._worker.is_alive()


@pytest.fixture
def report(record_property: Record, capsys: pytest.CaptureFixture[str], env: str) -> Any:
    """Return a function that checks and tells how long the training thread was held up."""

    def check(training: Training, close_seconds: float | None = None) -> None:
        sink = training.sink
        text = (
            f"{env}: longest block {training.longest * 1e3:.2f} ms in {training.points} events, "
            f"{sink.sends} sends, {sink.failures} failures"
        )
        if close_seconds is not None:
            text += f", close() took {close_seconds:.2f} s"
        record_property("longest_block_ms", training.longest * 1e3)
        with capsys.disabled():
            sys.stdout.write(f"\n    {text}\n")
        assert training.longest < LONGEST_BLOCK

    return check


def timed_close(sink: VisdomSink) -> float:
    begin = time.perf_counter()
    sink.close()
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    sink.close()
    assert time.perf_counter() - begin < 1
    return seconds


def only_advice(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that was printed."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("warning: visdom")
    assert captured.err.count("\n") == 1
    return captured.err


# ---- a server that is there -------------------------------------------------------------------


def test_losses_arrive(
    make_sink: Any, server: VisdomServer, env: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody is there
    sink: Sink = make_sink(server.port)
    training = Training(make_sink(server.port))
    training.step(5)
    wait_until(lambda: not training.sink._pending())
    training.step(5)
    training.sink.close()
    sink.close()  # without an event there is nothing to do
    assert curves_on(server.port, env) == training.expected()
    window = window_on(server.port, env, 1)
    assert window["title"] == "run loss over time"
    layout = window["content"]["layout"]
    assert [layout["xaxis"]["title"], layout["yaxis"]["title"]] == ["epoch", "loss"]
    assert layout["showlegend"] is True
    assert training.sink.failures == 0
    assert capsys.readouterr() == ("", "")


def test_nothing_is_started_or_imported_before_the_first_event(make_sink: Any) -> None:
    sink = make_sink(free_port())
    sink.close()
    assert sink._worker is None
    program = (
        "import sys, util.display.sinks.visdom.sink as v; "
        "v.VisdomSink('localhost', 1, env='main', display_id=1, ncols=0, name='n'); "
        "sys.exit(any(name in sys.modules for name in ('visdom', 'requests', 'tornado')))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("page", ["with space", "a/b", "a#b?c=ü"])
def test_pages_may_have_any_name(make_sink: Any, server: VisdomServer, page: str) -> None:
    training = Training(make_sink(server.port, env=page))
    training.step()
    training.sink.close()
    name = page.replace("/", "_")  # visdom's own rule
    assert curves_on(server.port, page) == training.expected()
    pages = json.loads(ask(server.port, "/env_state", {}))
    assert name in pages
    assert all(each == name or each not in page for each in pages)  # no page from half a name
    assert training.sink.failures == 0


def test_losses_may_appear_and_disappear(make_sink: Any, server: VisdomServer, env: str) -> None:
    sink = make_sink(server.port)
    for epoch, values in enumerate([{"a": 1.0}, {"a": 2.0, "b": 20.0}, {"b": 30.0}, {"b": 40.0}]):
        sink.scalars(LogStep(epoch + 1), values)
        wait_until(lambda: not sink._pending())
    sink.close()
    assert curves_on(server.port, env) == {
        "a": [(1, 1), (2, 2), (3, None), (4, None)],
        "b": [(1, None), (2, 20), (3, 30), (4, 40)],
    }


def test_numbers_that_json_lacks_leave_gaps(make_sink: Any, server: VisdomServer, env: str) -> None:
    sink = make_sink(server.port)
    for epoch, value in enumerate([nan, 1.0, inf, -inf, nan, 2.0]):
        sink.scalars(LogStep(epoch), {"a": value, "b": nan})
        wait_until(lambda: not sink._pending())
    sink.scalars(LogStep(6), {"a": inf, "b": nan, "c": 1.0})  # sends everything again
    sink.close()
    curves = curves_on(server.port, env)
    assert [y for _, y in curves["a"]] == [None, 1, None, None, None, 2, None]
    assert [y for _, y in curves["b"]] == [None] * 7


def test_a_window_that_somebody_closed_comes_back_whole(
    make_sink: Any, server: VisdomServer, env: str
) -> None:
    training = Training(make_sink(server.port))
    training.step(3)
    wait_until(lambda: not training.sink._pending())
    ask(server.port, "/close", {"win": "1", "eid": env})
    training.step()
    training.sink.close()
    assert curves_on(server.port, env) == training.expected()


def test_a_resumed_run_shows_the_earlier_points(
    make_sink: Any, server: VisdomServer, env: str
) -> None:
    first = Training(make_sink(free_port()))
    first.step(3)
    state = first.sink.state_dict()
    second = Training(make_sink(server.port))
    second.step()  # a point that the loaded history replaces
    wait_until(lambda: not second.sink._pending())
    second.sink.load_state_dict(state)
    second.points = 3
    second.step(2)
    second.sink.close()
    assert curves_on(server.port, env) == second.expected()


def test_an_append_sends_the_new_points_only(
    make_sink: Any, server: VisdomServer, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    posts: list[tuple[str, int]] = []
    post = Connection.post

    def record(self: Connection, path: str, body: bytes) -> str:
        posts.append((path, len(body)))
        return post(self, path, body)

    monkeypatch.setattr(Connection, "post", record)
    sizes = {}
    for history in (10, 2000):
        sink = make_sink(server.port, env=f"page {history:04d}")
        losses = {name: torch.full((history,), 0.125) for name in NAMES}
        sink.load_state_dict({"x": torch.full((history,), 1.5), "losses": losses})
        sink.scalars(LogStep(1, fraction=0.5), dict.fromkeys(NAMES, 0.125))
        wait_until(lambda: not sink._pending())  # noqa: B023 - called at once
        del posts[:]
        sink.scalars(LogStep(1, fraction=0.5), dict.fromkeys(NAMES, 0.125))
        sink.close()
        assert [path for path, _ in posts] == ["/win_exists", "/update"]
        sizes[history] = sum(size for _, size in posts)
    with capsys.disabled():
        sys.stdout.write(f"\n    bytes of an append by length of the history: {sizes}\n")
    assert sizes[10] == sizes[2000] < 1000


# ---- images ---------------------------------------------------------------------------------


def test_images_share_a_panel_with_their_labels(
    make_sink: Any, server: VisdomServer, env: str
) -> None:
    sink = make_sink(server.port, ncols=3, win_size=128)
    images = Training(sink).images
    labelled = dict(zip(["real_A", "fake_B", "<b>", "rec & A"], images.values(), strict=False))
    sink.images(LogStep(1), labelled)
    kept = {label: image.copy() for label, image in labelled.items()}
    for image in labelled.values():
        image[:] = 0  # the caller may go on using its arrays
    sink.close()
    sheet = image_on(server.port, env, 2)
    assert sheet.shape == (2 * 152, 3 * 132, 3)  # images of 64 pixels, as wide as they are shown
    for number, image in enumerate(kept.values()):
        top, left = number // 3 * 152 + 2, number % 3 * 132 + 2
        there = sheet[top : top + 128, left : left + 128]
        np.testing.assert_array_equal(there, image.repeat(2, 0).repeat(2, 1))
        assert (sheet[top + 132 : top + 148, left : left + 128] < 128).any()  # its label
    assert (sheet[152:, 132:] == 255).all()
    panel = window_on(server.port, env, 2)
    assert (panel["title"], panel["width"]) == ("run images", 3 * 128)
    assert not exists(server.port, env, 3)
    assert not exists(server.port, env, 1)


def test_the_panel_is_no_wider_than_its_images(
    make_sink: Any, server: VisdomServer, env: str
) -> None:
    sink = make_sink(server.port, ncols=4, win_size=48)
    sink.images(LogStep(1), {"only": np.zeros((32, 48, 3), np.uint8)})
    sink.close()
    assert image_on(server.port, env, 2).shape == (56, 52, 3)


def test_without_columns_each_image_has_a_window(
    make_sink: Any, server: VisdomServer, env: str
) -> None:
    sink = make_sink(server.port, ncols=0, display_id=7)
    images = Training(sink).images
    sink.images(LogStep(1), images)
    sink.close()
    for window, (label, image) in enumerate(images.items(), 8):
        assert window_on(server.port, env, window)["title"] == label
        np.testing.assert_array_equal(image_on(server.port, env, window), image)


@pytest.mark.parametrize("ncols", [0, 2])
def test_images_of_all_shapes_are_shown(
    make_sink: Any, server: VisdomServer, env: str, ncols: int, capsys: Any
) -> None:
    shapes = [(8, 6, 1), (16, 16, 3), (5, 20, 4), (9, 9, 2), (7, 7), (12, 4, 7)]
    sink = make_sink(server.port, ncols=ncols, win_size=20)
    sink.images(LogStep(1), {str(shape): np.full(shape, 77, np.uint8) for shape in shapes})
    sink.images(LogStep(1), {})
    sink.close()
    assert sink.failures == 0
    assert capsys.readouterr().err == ""
    if ncols:
        assert image_on(server.port, env, 2).shape == (3 * 40, 2 * 24, 3)
    else:
        found = [image_on(server.port, env, 2 + i).shape for i in range(len(shapes))]
        assert found == [(*shape[:2], 3) for shape in shapes]


def test_any_label_can_stand_below_an_image() -> None:
    labels = ["a", "b\udcff", "\u96ea", "two\nlines", ""]
    images = [np.full((2, 3, 3), number, np.uint8) for number in range(5)]
    sheet = grid(dict(zip(labels, images, strict=True)), 2)
    assert sheet.shape == (3 * 26, 2 * 7, 3)
    assert sheet[54, 3].tolist() == [4, 4, 4]


# ---- validation -------------------------------------------------------------------------------


def validated(epoch: int, **metrics: float) -> Any:
    return {"epoch": epoch, "val": metrics}


def test_each_metric_of_validation_has_a_plot(
    make_sink: Any, server: VisdomServer, env: str
) -> None:
    sink = make_sink(server.port)
    for epoch, value in ((1, 20.0), (2, inf), (3, 21.0), (4, 5.0), (3, 22.0)):  # once went back
        sink.epoch(validated(epoch, PSNR=value, L1=1 / value), [])
    sink.epoch({"epoch": 4}, [])  # without validation
    state = sink.state_dict()
    sink.close()  # all is sent before the run goes on
    again = make_sink(server.port)
    again.load_state_dict(state)
    again.epoch(validated(5, PSNR=23.0), [])
    again.close()
    (trace,) = window_on(server.port, env, "1_PSNR")["content"]["data"]
    assert list(zip(trace["x"], trace["y"], strict=True)) == [(1, 20), (2, None), (3, 22), (5, 23)]
    assert trace["mode"] == "lines+markers"  # else a single point could not be seen
    assert window_on(server.port, env, "1_L1")["title"] == "run validation: L1"


def test_losses_can_have_a_logarithmic_axis(make_sink: Any, server: VisdomServer, env: str) -> None:
    kinds = []
    for log in (False, True):
        sink = make_sink(server.port, log=log)
        sink.scalars(LogStep(1), {"a": 1.0})
        sink.close()
        kinds.append(window_on(server.port, env, 1)["content"]["layout"]["yaxis"].get("type"))
    assert kinds[0] != "log"
    assert kinds[1] == "log"


# ---- a server that is not there ---------------------------------------------------------------


def test_training_goes_on_without_a_server(make_sink: Any, capsys: Any, report: Any) -> None:
    port = free_port()
    training = Training(make_sink(port), side=256)
    training.step()
    wait_until(lambda: training.sink.failures == 1)
    tracemalloc.start()
    begin = time.monotonic()
    training.step(500)  # 600 MB of images
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    wait_until(lambda: training.sink.failures >= 2)
    seconds = time.monotonic() - begin
    closing = timed_close(training.sink)
    advice = only_advice(capsys)
    report(training, closing)
    assert kept < 10e6
    assert training.sink.failures <= 3 + seconds / 0.5
    assert closing < 2
    for part in (
        f"visdom at http://localhost:{port} cannot be used now (connection refused)",
        "--start_visdom",
        "--display_id 0",
    ):
        assert part in advice


def test_a_server_that_is_not_there_is_told_of_in_one_short_line_before_training(
    make_sink: Any, capsys: Any
) -> None:
    sink = make_sink(free_port())
    sink.begin({})
    assert len(only_advice(capsys)) < 150
    sink.scalars(LogStep(1), {"a": 1.0})
    wait_until(lambda: sink.failures == 2)
    assert capsys.readouterr().err == ""


def test_pauses_double_up_to_a_limit(make_sink: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visdom_sink, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(visdom_sink, "LONGEST_PAUSE", 0.1)
    tries: list[float] = []
    sink = make_sink(free_port())
    monkeypatch.setattr(sink, "_connect", lambda: tries.append(time.monotonic()) or sink.nowhere)
    sink.scalars(LogStep(1), {"a": 1.0})
    wait_until(lambda: len(tries) >= 7)
    pauses = np.diff(tries[:7])
    assert (pauses > np.array([0.02, 0.04, 0.08, 0.1, 0.1, 0.1]) - 0.005).all()


def test_a_server_that_comes_late_gets_everything(
    make_sink: Any,
    start: StartServer,
    env: str,
    capsys: Any,
    report: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visdom_sink, "LONGEST_PAUSE", 0.5)
    port = free_port()
    training = Training(make_sink(port), side=256)
    training.step(20)
    wait_until(lambda: training.sink.failures >= 2)
    start(port)
    training.step(20)
    wait_until(lambda: not training.sink._pending())
    training.step(20)
    closing = timed_close(training.sink)
    captured = capsys.readouterr()
    report(training, closing)
    assert curves_on(port, env) == training.expected()
    assert exists(port, env, 2)
    assert captured.err.count("\n") == 1
    assert captured.out == (
        f"visdom at http://localhost:{port} answers now; nothing is missing there.\n"
    )


def test_close_delivers_even_while_it_pauses(
    make_sink: Any,
    start: StartServer,
    env: str,
    report: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visdom_sink, "FIRST_PAUSE", 60.0)
    port = free_port()
    training = Training(make_sink(port), side=256)
    training.step(10)
    wait_until(lambda: training.sink.failures == 1)
    start(port)
    assert not exists(port, env, 1)
    closing = timed_close(training.sink)
    report(training, closing)
    assert closing < 5.5
    assert curves_on(port, env) == training.expected()
    assert exists(port, env, 2)


@pytest.mark.slow
def test_a_frozen_server_holds_nobody_up_and_loses_nothing(
    make_sink: Any,
    start: StartServer,
    env: str,
    report: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visdom_sink, "READ_SECONDS", 0.5)
    running = start(free_port())
    training = Training(make_sink(running.port), side=256)
    training.step(10)
    wait_until(lambda: not training.sink._pending())
    freeze(running)
    training.step(10)
    wait_until(lambda: training.sink.failures >= 2)
    training.step(10)
    thaw(running)
    wait_until(lambda: not training.sink._pending())
    training.step(10)
    wait_until(lambda: not training.sink._pending())
    assert training.sink._client is not None
    freeze(running)  # and once more, until close() has given up
    training.step(10)
    closing = timed_close(training.sink)
    assert closing < 6
    thaw(running)
    report(training, closing)
    # What was on its way when close() gave up may arrive or not; before it nothing is missing.
    found = curves_on(running.port, env)
    assert all(found[name][:40] == points[:40] for name, points in training.expected().items())


def test_close_gives_up_on_a_frozen_server(
    make_sink: Any, start: StartServer, capsys: Any, report: Any
) -> None:
    running = start(free_port())
    freeze(running)
    training = Training(make_sink(running.port), side=256)
    training.step(10)
    closing = timed_close(training.sink)
    advice = only_advice(capsys)
    report(training, closing)
    assert closing < 5.5
    assert "no answer in time" in advice


@pytest.mark.slow
def test_a_killed_and_restarted_server_gets_everything(
    make_sink: Any,
    start: StartServer,
    env: str,
    capsys: Any,
    report: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visdom_sink, "LONGEST_PAUSE", 0.5)
    running = start(free_port())
    training = Training(make_sink(running.port), side=256)
    training.step(10)
    wait_until(lambda: not training.sink._pending())
    kill(running)
    training.step(10)
    wait_until(lambda: training.sink.failures >= 1)
    training.step(10)
    running = start(running.port)
    training.step(10)
    wait_until(lambda: not training.sink._pending())
    # Once more, and back before anybody noticed.
    failures = training.sink.failures
    kill(running)
    start(running.port)
    training.step(10)
    closing = timed_close(training.sink)
    captured = capsys.readouterr()
    report(training, closing)
    assert training.sink.failures == failures
    assert curves_on(running.port, env) == training.expected()
    assert exists(running.port, env, 2)
    assert (captured.err.count("\n"), captured.out.count("\n")) == (1, 1)


@pytest.mark.parametrize("lost", ["/update", "/events"])
def test_answers_that_get_lost_neither_lose_nor_double_points(
    make_sink: Any, server: VisdomServer, env: str, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visdom_sink, "FIRST_PAUSE", 0.01)
    post = Connection.post
    posts = {"lost": 0, "all": 0}

    def forget(self: Connection, path: str, body: bytes) -> str:
        answer = post(self, path, body)
        if path == lost:
            posts["all"] += 1
            if posts["all"] % 3 == 1:
                posts["lost"] += 1
                raise UnreachableError("no answer in time")
        return answer

    monkeypatch.setattr(Connection, "post", forget)
    training = Training(make_sink(server.port))
    for _ in range(10):
        training.step(images=False)
        wait_until(lambda: not training.sink._pending())
    training.sink.close()
    assert posts["lost"] >= 1
    assert curves_on(server.port, env) == training.expected()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_request_that_a_thawed_server_carries_out_late_is_put_right(
    make_sink: Any, server: VisdomServer, env: str, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visdom_sink, "FIRST_PAUSE", 0.01)
    post = Connection.post
    stuck: list[bytes] = []

    def hold_the_first(self: Connection, path: str, body: bytes) -> str:
        if path == "/update" and not stuck:
            stuck.append(body)
            raise UnreachableError("no answer in time")
        return post(self, path, body)

    monkeypatch.setattr(Connection, "post", hold_the_first)
    training = Training(make_sink(server.port))
    for _ in range(3):
        training.step(images=False)
        wait_until(lambda: not training.sink._pending())
    assert stuck
    ask(server.port, "/update", json.loads(stuck[0]))
    if not at_once:
        training.step(images=False)
    training.sink.close()
    assert curves_on(server.port, env) == training.expected()


# ---- other troubles ---------------------------------------------------------------------------


def test_a_missing_package_is_reported_once(
    make_sink: Any, server: VisdomServer, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(sys.modules, "visdom", None)
    training = Training(make_sink(server.port))
    training.step()
    worker = training.sink._worker
    assert worker is not None
    worker.join(10)
    training.step(50)
    training.sink.close()
    advice = only_advice(capsys)
    assert "visdom is not installed" in advice
    assert "requirements.txt" in advice
    assert training.sink._worker is worker


def test_a_package_that_cannot_be_imported_is_reported_as_itself(
    make_sink: Any, server: VisdomServer, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def broken() -> None:
        raise ImportError("no libfoo.so")

    monkeypatch.setattr(visdom_sink, "client_class", broken)
    sink = make_sink(server.port)
    sink.scalars(LogStep(1), {"a": 1.0})
    sink.close()
    assert "visdom cannot be imported: no libfoo.so. Training goes on" in only_advice(capsys)


@pytest.mark.parametrize("status", [200, 404])
def test_a_server_of_another_kind_is_reported(make_sink: Any, status: int, capsys: Any) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        sink = make_sink(web.server_address[1])
        sink.scalars(LogStep(1), {"a": 1.0})
        sink.close()
        web.shutdown()
        thread.join()
    expected = {200: "what answers there is no visdom server", 404: "it answers 404 Not Found"}
    assert expected[status] in only_advice(capsys)


def test_what_the_server_refuses_does_not_hold_up_the_rest(
    make_sink: Any, server: VisdomServer, env: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(visdom_sink, "FIRST_PAUSE", 0.01)
    refuse = VisdomSink._send_panel

    def bad(self: VisdomSink, images: Any, client: Any) -> None:
        client.connection.post("/no/such/thing", b"{}")
        refuse(self, images, client)

    monkeypatch.setattr(VisdomSink, "_send_panel", bad)
    training = Training(make_sink(server.port))
    training.step(3)
    wait_until(lambda: training.sink.failures >= 3)
    training.step(3)
    training.sink.close()
    assert curves_on(server.port, env) == training.expected()
    assert "it answers 500" in only_advice(capsys)


def test_nobody_reading_the_advice_is_no_trouble(
    make_sink: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(text: str) -> None:
        raise BrokenPipeError(text)

    monkeypatch.setattr(visdom_sink, "warn", closed)
    sink = make_sink(free_port())
    sink.scalars(LogStep(1), {"a": 1.0})
    wait_until(lambda: sink.failures >= 2)
    sink.close()
    assert sink.failures >= 2


@pytest.mark.parametrize(
    ("server", "port", "expected"),
    [
        ("http://localhost", 8097, "http://localhost:8097"),
        ("localhost", 1, "http://localhost:1"),
        ("https://gpu.example.org/", 443, "https://gpu.example.org:443"),
        ("http://host:9000", 8097, "http://host:9000"),
        ("http://[::1]", 8097, "http://[::1]:8097"),
    ],
)
def test_addresses(server: str, port: int, expected: str) -> None:
    assert address_of(server, port).geturl() == expected


@pytest.mark.parametrize(
    ("server", "port"),
    [("http://", 1), ("http://h:x", 1), ("ftp://h", 1), ("", 1), ("h", 0), ("h", 65536)],
)
def test_what_is_no_address_is_an_error_of_the_options(server: str, port: int) -> None:
    with pytest.raises(UserError, match=f"--display_server {server} .*--display_port {port} is no"):
        VisdomSink(server, port, env="main", display_id=1, ncols=4, name="run")


def test_an_unknown_host_is_reported(capsys: Any) -> None:
    sink = VisdomSink("nowhere.invalid", 8097, env="e", display_id=1, ncols=4, name="n")
    sink.scalars(LogStep(1), {"a": 1.0})
    wait_until(lambda: sink.failures)
    sink.close()
    assert sink._worker is not None
    sink._worker.join(10)
    assert "visdom at http://nowhere.invalid:8097 cannot be used" in only_advice(capsys)


def test_a_history_survives_being_saved() -> None:
    history = LossHistory()
    history.add(1.0, {"a": 1.0})
    history.add(2.0, {"b": inf})
    state = history.state_dict()
    assert state["x"].tolist() == [1, 2]
    assert state["losses"]["a"][0] == 1
    assert isnan(state["losses"]["a"][1])
    assert isnan(state["losses"]["b"][0])
    assert state["losses"]["b"][1] == inf
    again = LossHistory()
    again.load_state_dict(state)
    again.add(3.0, {"a": 3.0})
    assert again.names == ["a", "b"]
    assert again.state_dict()["x"].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="not of the same length"):
        again.load_state_dict({"x": torch.ones(1), "losses": {"a": torch.ones(0)}})


def test_a_history_may_end_earlier() -> None:
    history = LossHistory()
    for x in (0.5, 1.0, 2.0, 2.5, 3.0):
        history.add(x, {"a": x, **({"b": x} if x > 2 else {})})
    assert history.up_to(2.0).state_dict()["x"].tolist() == [0.5, 1.0, 2.0]
    assert history.up_to(2.5).state_dict()["losses"]["b"].tolist()[-1] == 2.5
    assert len(history) == 5


@pytest.fixture(scope="module", autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.enumerate()
    yield
    left = [each for each in threading.enumerate() if each not in before]
    assert [each for each in left if each.name == "visdom"] == []
