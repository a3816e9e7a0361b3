"""Every display, switched on by its option through train.py: where it lies, and what it has."""

import io
import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from tests.support.commands import ROOT, Page, loss_lines, names, small, start, test, train
from util.base.errors import UserError
from util.display.sinks.epochs import read_metrics
from util.display.sinks.jsonl import read_losses
from util.display.sinks.visdom.server import VisdomServer, start_server
from util.visualizer import Visualizer

OFTEN = ("--print_freq", "1", "--display_freq", "2", "--update_html_freq", "2")
LOSSES = ["G_GAN", "G_L1", "D_real", "D_fake"]
VISUALS = ["real_A", "fake_B", "real_B"]
ALWAYS = {"loss_log.txt", "losses.jsonl", "metrics.jsonl", "train_opt.json", "train_opt.txt"}

Run = Callable[..., Path]


@pytest.fixture
def run(pairs: Path, tmp_path: Path) -> Run:
    """Return a function that trains for an epoch of three images and returns the run's folder."""

    def train_with(*more: str) -> Path:
        return train(tmp_path, pairs, "pix2pix", *OFTEN, *more)

    return train_with


def contents(folder: Path) -> set[str]:
    """Return what a run has left beside its checkpoints."""
    return {path.name for path in folder.iterdir() if path.suffix != ".pth"}


# ---- visualizers ------------------------------------------------------------------------------


class Chatty(Visualizer):
    """Has changed each of the original's methods, as whoever edits util/visualizer.py does."""

    calls: ClassVar[list[Any]] = []

    def reset(self) -> None:
        self.calls.append("reset")
        super().reset()

    def display_current_results(
        self, visuals: Mapping[str, Any], epoch: int, save_result: bool
    ) -> None:
        self.calls.append(("images", list(visuals), epoch, save_result))
        super().display_current_results(visuals, epoch, save_result)

    def plot_current_losses(
        self, epoch: int, counter_ratio: float, losses: Mapping[str, float]
    ) -> None:
        self.calls.append(("plot", epoch, counter_ratio, list(losses)))
        super().plot_current_losses(epoch, counter_ratio, losses)

    def print_current_losses(
        self, epoch: int, iters: int, losses: Mapping[str, float], t_comp: float, t_data: float
    ) -> None:
        self.calls.append(("print", epoch, iters, list(losses)))
        super().print_current_losses(epoch, iters, losses, t_comp, t_data)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Return a function that puts another class in the place of the visualizer."""
    Chatty.calls.clear()
    return lambda kind: monkeypatch.setattr("util.visualizer.Visualizer", kind)


def test_methods_of_the_visualizer_may_be_changed(run: Run, use: Callable[[Any], None]) -> None:
    use(Chatty)
    folder = run("--display_id", "1", "--display_server", "http://localhost", "--display_port", "9")
    printed = [("print", 1, images, LOSSES) for images in (1, 2, 3)]
    plotted = [("plot", 1, images / 3, LOSSES) for images in (1, 2, 3)]
    assert Chatty.calls == [
        *("reset", printed[0], plotted[0], ("images", VISUALS, 1, True)),
        *(printed[1], plotted[1], printed[2], plotted[2]),
    ]
    assert len(read_losses(folder / "losses.jsonl")) == 3
    assert [each["total_iters"] for each in read_losses(folder / "losses.jsonl")] == [1, 2, 3]
    assert len(read_metrics(folder / "metrics.jsonl")) == 1
    assert "Training has ended." in (folder / "web" / "index.html").read_text()


class Foreign:
    """What the original's Visualizer has, and nothing else; its plots fail."""

    def __init__(self, opt: object) -> None:
        Chatty.calls.append("made")

    def reset(self) -> None:
        Chatty.calls.append("reset")

    def display_current_results(self, visuals: object, epoch: int, save_result: bool) -> None:
        Chatty.calls.append(("images", epoch, save_result))

    def plot_current_losses(self, *_: object) -> None:
        raise ConnectionError("no server")

    def print_current_losses(self, epoch: int, iters: int, *_: object) -> None:
        Chatty.calls.append(("print", epoch, iters))


@pytest.mark.parametrize("display_id", ["-1", "1"])
def test_somebody_elses_visualizer_gets_the_originals_calls(
    run: Run, use: Callable[[Any], None], display_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    use(Foreign)
    folder = run("--display_id", display_id)
    printed = [("print", 1, images) for images in (1, 2, 3)]
    assert Chatty.calls == ["made", "reset", printed[0], ("images", 1, True), *printed[1:]]
    assert contents(folder) == {"train_opt.json", "train_opt.txt"}
    said = capsys.readouterr().err
    failed = said.count("Foreign failed, and training goes on without it: ")
    assert failed == (display_id == "1")  # said once, and training goes on
    if failed:
        assert re.search(r"ConnectionError: no server \(.*test_sinks.py, line \d+\)", said)


# ---- text, files, page --------------------------------------------------------------------------


def test_without_any_option_there_are_text_lines_and_a_page(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run()
    assert contents(folder) == ALWAYS | {"web"}
    wanted = [(1, images, LOSSES) for images in (1, 2, 3)]
    assert loss_lines(capsys.readouterr().out) == wanted
    log = (folder / "loss_log.txt").read_text()
    assert loss_lines(log) == wanted
    losses = read_losses(folder / "losses.jsonl")
    assert [each["total_iters"] for each in losses] == [1, 2, 3]
    assert all(list(each["losses"]) == LOSSES and each["time"] > 0 for each in losses)
    printed = [line for line in log.splitlines() if line.startswith("(epoch")]
    for line, each in zip(printed, losses, strict=True):
        assert line.endswith("".join(f"{n}: {value:.3f} " for n, value in each["losses"].items()))


def test_the_means_of_an_epoch_are_those_of_its_losses(run: Run) -> None:
    folder = run()
    (record,) = read_metrics(folder / "metrics.jsonl")
    losses = [each["losses"] for each in read_losses(folder / "losses.jsonl")]
    for name in LOSSES:
        mean = sum(each[name] for each in losses) / len(losses)
        assert record["train"][name] == pytest.approx(mean, rel=1e-5)
    assert list(record["train"]) == LOSSES  # without the sum that --lr_policy plateau follows
    assert set(record["lr"]) == {"G", "D"}
    assert record["total_iters"] == 3


def test_a_smaller_last_batch_counts_by_its_images(run: Run) -> None:
    folder = run("--batch_size", "2", "--n_epochs", "2")
    losses = read_losses(folder / "losses.jsonl")
    assert [each["iters"] for each in losses] == [2, 4, 2, 4]  # as in the original
    for record, (two, one) in zip(
        read_metrics(folder / "metrics.jsonl"), (losses[:2], losses[2:]), strict=True
    ):
        for name, mean in record["train"].items():
            wanted = (2 * two["losses"][name] + one["losses"][name]) / 3
            assert mean == pytest.approx(wanted, rel=1e-5)
        assert record["images_per_second"] == pytest.approx(3 / record["seconds"])


def test_the_page_has_images_curves_and_the_options(run: Run) -> None:
    folder = run("--beta1", "0.25")
    page = Page(folder / "web" / "index.html")
    assert page.images == [f"images/epoch001_{label}.png" for label in VISUALS]
    text = (folder / "web" / "index.html").read_text()
    assert "<dt>beta1</dt><dd>0.25</dd>" in text
    assert "<dt>images in an epoch</dt><dd>3</dd>" in text
    assert 'data-name="G_L1"' in text
    assert "Training has ended." in text
    for image in names(folder / "web" / "images"):
        with Image.open(folder / "web" / "images" / image) as opened:
            assert opened.size == (32, 32)


def test_no_html_means_no_page(run: Run) -> None:
    assert contents(run("--no_html")) == ALWAYS


def test_the_page_takes_the_last_images_of_an_epoch_that_is_shorter_than_display_freq(
    run: Run,
) -> None:
    folder = run("--display_freq", "400", "--update_html_freq", "1000")
    assert len(Page(folder / "web" / "index.html").images) == len(VISUALS)


# ---- tensorboard --------------------------------------------------------------------------------


def events(folder: Path) -> Any:
    module = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    found = module.EventAccumulator(str(folder))
    found.Reload()
    return found


def scalars(found: Any, tag: str) -> list[Any]:
    return [(event.step, event.value) for event in found.Scalars(tag)]


def test_tensorboard_lies_in_the_runs_folder_and_has_everything(run: Run) -> None:
    folder = run("--tensorboard")
    assert contents(folder) == ALWAYS | {"web", "tensorboard"}
    assert [path.name[:7] for path in (folder / "tensorboard").iterdir()] == ["events."]
    found = events(folder / "tensorboard")
    losses = [each["losses"]["G_L1"] for each in read_losses(folder / "losses.jsonl")]
    assert scalars(found, "loss/G_L1") == [
        (images, pytest.approx(value)) for images, value in enumerate(losses, 1)
    ]
    (record,) = read_metrics(folder / "metrics.jsonl")
    assert scalars(found, "train/D_real") == [(1, pytest.approx(record["train"]["D_real"]))]
    assert scalars(found, "lr/G") == [(1, pytest.approx(0.0002))]
    assert set(found.Tags()["images"]) == {f"images/{label}" for label in VISUALS}
    (event,) = found.Images("images/fake_B")
    assert event.step == 2
    with Image.open(io.BytesIO(event.encoded_image_string)) as image:
        assert image.size == (32, 32)


def test_tensorboard_goes_on_with_a_continued_run(run: Run) -> None:
    run("--tensorboard")
    folder = run("--continue_train", "--n_epochs", "2")
    found = events(folder / "tensorboard")
    assert [step for step, _ in scalars(found, "loss/G_L1")] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in scalars(found, "lr/G")] == [1, 2]


def test_without_a_page_tensorboard_still_has_images(run: Run) -> None:
    folder = run("--tensorboard", "--no_html")
    assert contents(folder) == ALWAYS | {"tensorboard"}
    assert "images/fake_B" in events(folder / "tensorboard").Tags()["images"]


def test_without_a_page_nothing_is_shown_before_its_time(run: Run) -> None:
    folder = run("--tensorboard", "--no_html", "--display_freq", "400")
    assert events(folder / "tensorboard").Tags()["images"] == []


def test_validation_reaches_tensorboard_and_the_page(pairs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for phase, source in (("train", "train"), ("val", "test")):
        (data / phase).symlink_to(pairs / source)
    folder = train(tmp_path, data, "pix2pix", *OFTEN, "--tensorboard")
    (record,) = read_metrics(folder / "metrics.jsonl")
    found = events(folder / "tensorboard")
    assert scalars(found, "val/PSNR") == [(1, pytest.approx(record["val"]["PSNR"], rel=1e-5))]
    assert "images/validation/fake_B" in found.Tags()["images"]
    assert "epoch001_sample1_fake_B.jpg" in names(folder / "web" / "images")


# ---- wandb --------------------------------------------------------------------------------------


def logged(folder: Path) -> Any:
    """Return what an offline run of wandb has; wandb is not imported here, it stays in memory."""
    done = start(["-m", "tests.support.wandb_files", folder], ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


@pytest.mark.slow
@pytest.mark.usefixtures("_offline")
def test_wandb_lies_in_the_runs_folder_and_has_everything(pairs: Path, tmp_path: Path) -> None:
    more = ("--load_size", "36", "--ndf", "2", "--display_id", "-1", "--n_epochs", "1")
    argv = small(tmp_path, pairs, "pix2pix", *more, "--n_epochs_decay", "0", *OFTEN, "--use_wandb")
    done = start([ROOT / "train.py", *argv], tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "checkpoints" / "run"
    assert contents(folder) == ALWAYS | {"web", "wandb"}
    found = logged(folder)
    assert (found["name"], found["config"]["model"]) == ("run", "pix2pix")
    rows = [row for row in found["history"] if "G_L1" in row]
    losses = read_losses(folder / "losses.jsonl")
    assert [row["G_L1"] for row in rows] == [each["losses"]["G_L1"] for each in losses]
    assert [(row["epoch"], row["iters"], row["total_iters"]) for row in rows] == [
        (1, images, images) for images in (1, 2, 3)
    ]
    assert any("train/G_L1" in row for row in found["history"])
    assert any(key.startswith("fake_B") for row in found["history"] for key in row)


@pytest.mark.slow
@pytest.mark.usefixtures("_offline")
def test_wandb_has_the_results_of_a_test(run: Run, pairs: Path, tmp_path: Path) -> None:
    folder = run("--no_html")
    argv = small(tmp_path, pairs, "pix2pix", "--results_dir", str(tmp_path / "results"))
    done = start([ROOT / "test.py", *argv, "--use_wandb"], tmp_path)
    assert done.returncode == 0, done.stderr
    rows = logged(folder)["history"]
    labels = [{key.split("/")[0] for key in row if not key.startswith("_")} for row in rows]
    assert [set(VISUALS) <= found for found in labels] == [True, True]


# ---- visdom -------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[VisdomServer]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    running = start_server(port, tmp_path / "server")
    yield running
    running.stop()


def window(port: int, number: int) -> Any:
    """Return a window of visdom's page."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    question = json.dumps({"win": str(number), "eid": "main"})
    connection.request("POST", "/win_data", question)
    found = json.loads(connection.getresponse().read())
    connection.close()
    return found


@pytest.mark.slow
def test_visdom_shows_curves_and_images(run: Run, server: VisdomServer) -> None:
    folder = run("--display_id", "1", "--display_port", str(server.port))
    traces = window(server.port, 1)["content"]["data"]
    assert [trace["name"] for trace in traces] == LOSSES
    assert traces[0]["x"] == [pytest.approx(1 + images / 3) for images in (1, 2, 3)]
    losses = [each["losses"]["G_GAN"] for each in read_losses(folder / "losses.jsonl")]
    assert traces[0]["y"] == pytest.approx(losses)
    assert window(server.port, 2)["content"]["src"].startswith("data:image/png")


def test_a_visdom_server_that_is_not_there_stops_nothing(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # and nobody listens
        folder = run("--display_id", "1", "--display_port", str(listener.getsockname()[1]))
    err = capsys.readouterr().err
    assert err.count("visdom at http://localhost") == 1
    assert err.index("visdom at") < err.index("Losses and images:")
    assert len(read_losses(folder / "losses.jsonl")) == 3


# ---- all of them --------------------------------------------------------------------------------


def test_a_display_that_cannot_be_made_says_so_before_training(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "run"
    folder.mkdir(parents=True)
    (folder / "tensorboard").touch()
    with pytest.raises((OSError, UserError), match="tensorboard"):
        run("--tensorboard")
    assert not list(folder.glob("*.pth"))


def test_a_test_that_fails_closes_its_displays(
    run: Run, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    closed: list[object] = []
    monkeypatch.setattr("util.display.reporter.Reporter.close", lambda self: closed.append(self))
    (tmp_path / "broken" / "test").mkdir(parents=True)
    (tmp_path / "broken" / "test" / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.png"):
        test(tmp_path, tmp_path / "broken", "pix2pix")
    assert len(closed) == 1


def test_a_test_leaves_nothing_in_the_runs_folder(run: Run, pairs: Path, tmp_path: Path) -> None:
    folder = run("--tensorboard")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    results = test(tmp_path, pairs, "pix2pix")
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == {"test_opt.json", "test_opt.txt"}
    assert before.items() <= after.items()
    assert len(Page(results / "index.html").images) == 2 * len(VISUALS)
