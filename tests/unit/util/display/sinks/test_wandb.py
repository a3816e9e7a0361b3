"""Weights & Biases: real runs without a network, and what happens around them with a stand-in."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.paths import ROOT
from tests.support.warm import OF_COMMANDS, run
from util.base.errors import UserError
from util.display.sinks import LogStep
from util.display.sinks.wandb import RUN_ID_FILE, WandbSink

WHEN = LogStep(3, 400, fraction=0.5, total_images=2400)
needs_wandb = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed"
)


class Run:
    """A run that remembers what it was given."""

    def __init__(self, folder: str, **given: Any) -> None:
        self.id = given.get("id") or "new1d"
        self.dir = os.path.join(folder, "wandb", f"run-{self.id}", "files")
        self.given = given
        self.logged: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.finished = 0

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def finish(self) -> None:
        self.finished += 1


class FakeWandb(ModuleType):
    """The part of wandb that the sink uses, with no server behind it.

    Attributes:
        trouble: what is raised when an online run starts.
        runs: those that were started.
    """

    class Error(Exception):
        """The class of wandb's own errors."""

    def __init__(self, mode: str = "online", key: bool = True) -> None:
        super().__init__("wandb")
        self.mode, self.key = mode, key
        self.trouble: Exception | None = None
        self.run: Run | None = None
        self.runs: list[Run] = []

    def setup(self, settings: dict[str, Any] | None = None) -> SimpleNamespace:
        self.mode = (settings or {}).get("mode", self.mode)
        return SimpleNamespace(settings=SimpleNamespace(mode=self.mode))

    def login(self, *, verify: bool = True, prompt: bool = True) -> bool:
        assert not prompt, "nobody may be asked for a key"
        assert not verify
        return self.key

    def Settings(self, **values: Any) -> dict[str, Any]:
        return values

    def Image(self, image: Image.Image, caption: str) -> tuple[Image.Image, str]:
        return image, caption

    def init(self, *, dir: str, mode: str | None = None, **given: Any) -> Run:
        if self.trouble is not None and (mode or self.mode) == "online":
            raise self.trouble
        self.runs.append(Run(dir, mode=mode, dir=dir, **given))
        return self.runs[-1]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeWandb]:
    """Return a function that puts a stand-in in wandb's place."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)

    def put(**state: Any) -> FakeWandb:
        module = FakeWandb(**state)
        monkeypatch.setitem(sys.modules, "wandb", module)
        return module

    return put


def test_without_the_package_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # what makes an import fail
    with pytest.raises(UserError) as caught:
        WandbSink("project", "name", {}, tmp_path / "run")
    message = str(caught.value)
    assert message == (
        "--use_wandb needs the package wandb, which is not installed. Install it "
        "(pip install wandb, or uv sync --extra wandb), or leave --use_wandb out."
    )
    assert not (tmp_path / "run").exists()


def test_a_folder_called_wandb_is_not_taken_for_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    with pytest.raises(UserError, match="which is not installed"):
        WandbSink("project", "name", {}, tmp_path)


def test_a_package_that_wandb_itself_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text("import a_package_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(ModuleNotFoundError) as caught:
        WandbSink("project", "name", {}, tmp_path)
    assert caught.value.name == "a_package_nobody_has"


def test_importing_the_sink_does_not_import_wandb() -> None:
    code = "import sys, util.display.sinks.wandb; sys.exit('wandb' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_run_has_the_project_the_name_the_options_and_the_folder(
    tmp_path: Path, fake: Callable[..., FakeWandb]
) -> None:
    module = fake(mode="offline")
    config = {"lr": 2e-4, "gpu_ids": [0, 1], "name": None, "path": Path("a"), "inf": float("inf")}
    WandbSink("project", "name", config, tmp_path / "new" / "run")
    given = module.runs[0].given
    assert (given["project"], given["name"]) == ("project", "name")
    assert given["config"] == {**config, "path": "a"}
    assert given["dir"] == str(tmp_path / "new" / "run")
    assert Path(given["dir"]).is_dir()
    assert given["mode"] is None  # wandb's own setting decides


def test_losses_come_with_their_epoch_and_images(
    tmp_path: Path, fake: Callable[..., FakeWandb]
) -> None:
    module = fake()
    sink = WandbSink("project", "name", {}, tmp_path)
    sink.scalars(WHEN, {"G": torch.tensor(0.5), "D": np.float32(0.25)})  # type: ignore[dict-item]
    sink.scalars(LogStep(1, 5), {"G": 1.0})
    assert module.runs[0].logged == [
        {"G": 0.5, "D": 0.25, "epoch": 3.5, "iters": 400, "total_iters": 2400},
        {"G": 1.0, "epoch": 1, "iters": 5},
    ]
    assert all(
        type(value) in (int, float) for row in module.runs[0].logged for value in row.values()
    )


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGB")])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (1, 7)])
def test_images_come_with_their_labels(
    tmp_path: Path,
    fake: Callable[..., FakeWandb],
    channels: int,
    mode: str,
    size: tuple[int, int],
) -> None:
    module = fake()
    image = np.arange(size[0] * size[1] * channels, dtype=np.uint8).reshape(*size, channels)
    WandbSink("project", "name", {}, tmp_path).images(WHEN, {"fake_B": image})
    (logged,) = module.runs[0].logged
    shown, caption = logged["fake_B"]
    assert caption == "fake_B"
    assert shown.mode == mode
    assert np.array_equal(np.atleast_3d(np.asarray(shown)), image[:, :, :3])
    assert logged["epoch"] == 3.5


def test_closing_finishes_the_run_once(tmp_path: Path, fake: Callable[..., FakeWandb]) -> None:
    module = fake()
    sink = WandbSink("project", "name", {}, tmp_path)
    sink.close()
    sink.close()
    assert module.runs[0].finished == 1


def test_a_run_that_is_active_is_used_and_left_open(
    tmp_path: Path, fake: Callable[..., FakeWandb]
) -> None:
    module = fake()
    module.run = Run("")
    sink = WandbSink("project", "name", {}, tmp_path / "run")
    sink.scalars(LogStep(1), {"G": 1.0})
    sink.close()
    assert module.runs == []
    assert len(module.run.logged) == 1
    assert module.run.finished == 0
    assert not (tmp_path / "run").exists()


def test_a_continued_training_goes_on_in_its_run(
    tmp_path: Path, fake: Callable[..., FakeWandb]
) -> None:
    module = fake()
    WandbSink("project", "name", {}, tmp_path, resume=True)  # nothing to continue yet
    assert module.runs[0].given["id"] is None
    module.runs[0].id = "abc"
    (tmp_path / RUN_ID_FILE).write_text("abc\n")
    WandbSink("project", "name", {}, tmp_path, resume=True)
    assert (module.runs[1].given["id"], module.runs[1].given["resume"]) == ("abc", "allow")
    assert (tmp_path / RUN_ID_FILE).read_text() == "abc\n"


def test_a_training_that_goes_back_reports_each_step_once(
    tmp_path: Path, fake: Callable[..., FakeWandb]
) -> None:
    """What was reported after the save that is continued stays."""
    module = fake()
    (tmp_path / RUN_ID_FILE).write_text("abc\n")
    sink = WandbSink("project", "name", {}, tmp_path, resume=True)
    module.runs[0].summary["total_iters"] = 500
    sink.go_on_after(LogStep(2, 100, total_images=300))
    for images in (400, 500, 600):
        sink.scalars(LogStep(3, images - 300, total_images=images), {"G": 1.0})
    assert [each["total_iters"] for each in module.runs[0].logged] == [600]


def test_a_new_training_begins_a_new_run(tmp_path: Path, fake: Callable[..., FakeWandb]) -> None:
    module = fake()
    (tmp_path / RUN_ID_FILE).write_text("abc\n")
    WandbSink("project", "name", {}, tmp_path)
    assert (module.runs[0].given["id"], module.runs[0].given["resume"]) == (None, None)
    assert (tmp_path / RUN_ID_FILE).read_text() == "new1d\n"


@pytest.mark.parametrize(("mode", "keep"), [("online", False), ("offline", True)])
def test_a_test_and_a_run_offline_do_not_replace_the_run_to_continue(
    tmp_path: Path, fake: Callable[..., FakeWandb], mode: str, keep: bool
) -> None:
    module = fake(mode=mode)
    (tmp_path / RUN_ID_FILE).write_text("abc\n")
    WandbSink("project", "name", {}, tmp_path, keep_id=keep)
    assert module.runs[0].given.get("id") is None
    assert (tmp_path / RUN_ID_FILE).read_text() == "abc\n"


def test_without_a_login_the_run_is_kept_and_one_line_says_how_to_upload_it(
    tmp_path: Path, fake: Callable[..., FakeWandb], capsys: pytest.CaptureFixture[str]
) -> None:
    module = fake(key=False)
    folder = tmp_path / "with space"
    WandbSink("project", "name", {}, folder)
    assert module.runs[0].given["mode"] == "offline"
    assert module.runs[0].given.get("id") is None
    assert not (folder / RUN_ID_FILE).exists()
    assert capsys.readouterr().err == (
        "warning: wandb is not logged in, so this run is kept offline. To upload it: "
        f"wandb login; wandb sync '{folder}/wandb/run-new1d'\n"
    )


def test_older_versions_are_not_made_to_ask_for_a_key_either(
    tmp_path: Path, fake: Callable[..., FakeWandb]
) -> None:
    module = fake()

    def login(key: str | None = None, verify: bool = False) -> bool:
        raise AssertionError("that would ask")

    module.login = login  # type: ignore[assignment]
    for key, mode in (("k" * 40, None), (None, "offline")):
        module.api = SimpleNamespace(api_key=key)  # type: ignore[attr-defined]
        WandbSink("project", "name", {}, tmp_path)
        assert module.runs[-1].given["mode"] == mode


def test_a_server_that_does_not_answer_stops_nothing(
    tmp_path: Path, fake: Callable[..., FakeWandb], capsys: pytest.CaptureFixture[str]
) -> None:
    module = fake()
    module.trouble = module.Error("Timed out.\nConsider something.")
    WandbSink("project", "name", {}, tmp_path)
    assert [run.given["mode"] for run in module.runs] == ["offline"]
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "wandb did not start (Timed out. Consider something.), so this run is kept" in message


def test_the_server_gets_half_a_minute_unless_the_environment_says_otherwise(
    tmp_path: Path, fake: Callable[..., FakeWandb], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = fake()
    WandbSink("project", "name", {}, tmp_path)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "120")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "scratch"))
    WandbSink("project", "name", {}, tmp_path)
    assert [run.given["settings"]["init_timeout"] for run in module.runs] == [30, 120]
    assert module.runs[1].given["dir"] == str(tmp_path / "scratch")


SCRIPT = """
import json, pathlib, sys
import numpy as np
from tests.support.wandb_files import logged
from util.display.sinks import LogStep
from util.display.sinks.wandb import WandbSink

config = {"lr": 2e-4, "max_dataset_size": float("inf"), "gpu_ids": []}
sink = WandbSink("project", "my run", config, sys.argv[1], resume=True)
sink.scalars(LogStep(1, 100, 0.25), {"G": 0.5, "D": float("nan")})
sink.scalars(LogStep(1, 200, 0.5), {"G": 0.125, "D": 2.0})
for channels in (1, 3, 4):
    image = np.full((6, 8, channels), 50 * channels, np.uint8)
    sink.images(LogStep(1), {f"fake_{channels}": image})
sink.close()

json.dump(logged(pathlib.Path(sys.argv[1])), open(sys.argv[2], "w"))
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that answers nobody; whoever connects is noticed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def processes_with(mark: str) -> list[int]:
    """Return the processes whose environment has this text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


@needs_wandb
@pytest.mark.parametrize("mode", ["offline", None])
def test_a_real_run_offline_has_everything_in_its_files(
    tmp_path: Path, listener: socket.socket, mode: str | None
) -> None:
    """With WANDB_MODE=offline, and with no setting and no login."""
    folder, result = tmp_path / "run folder", tmp_path / "found.json"
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    environment = kept | {
        "HOME": str(tmp_path / "home"),
        "NETRC": str(tmp_path / "netrc"),
        "XDG_CONFIG_HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home"),
        "HTTPS_PROXY": address,
        "HTTP_PROXY": address,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
    }
    if mode:
        environment["WANDB_MODE"] = mode
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(result)],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(BlockingIOError):  # nobody connected
        listener.accept()

    found = json.loads(result.read_text())
    assert (found["project"], found["name"]) == ("project", "my run")
    assert found["config"]["lr"] == 2e-4
    losses = [row for row in found["history"] if "G" in row]
    assert [row["G"] for row in losses] == [0.5, 0.125]
    assert losses[1]["D"] == 2.0
    assert [(row["epoch"], row["iters"]) for row in losses] == [(1.25, 100), (1.5, 200)]
    (run_folder,) = folder.glob("wandb/offline-run-*")
    images = {}
    for row in found["history"]:
        for label in {key.split("/")[0] for key in row if key.startswith("fake_")}:
            entry = row.get(label) or {k.split("/")[1]: v for k, v in row.items() if "/" in k}
            assert entry["caption"] == label
            with Image.open(run_folder / "files" / entry["path"]) as image:
                images[label] = (image.size, np.asarray(image).flat[0])
    assert images == {f"fake_{c}": ((8, 6), 50 * c) for c in (1, 3, 4)}

    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == (mode is None)
    if mode is None:
        assert f"wandb sync '{run_folder}'" in warnings[0]
    assert not (folder / RUN_ID_FILE).exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == [
        "found.json", "run folder"
    ]  # fmt: skip
    until = time.monotonic() + 10
    while processes_with(str(tmp_path)) and time.monotonic() < until:
        time.sleep(0.02)  # wandb's service ends by itself, a moment after us
    assert processes_with(str(tmp_path)) == []


@needs_wandb
@pytest.mark.parametrize(
    ("changed", "project", "complaint"),
    [
        ({"WANDB_MODE": "offline"}, "a/b", "Invalid project name 'a/b'"),
        ({"WANDB_MODE": "sometimes"}, "project", "sometimes"),
    ],
)
def test_what_wandb_refuses_is_said_without_a_traceback(
    tmp_path: Path, changed: dict[str, str], project: str, complaint: str
) -> None:
    code = (
        f"import sys; sys.path[0] = {str(ROOT)!r}; from util.base.errors import run_command; "
        "from util.display.sinks.wandb import WandbSink; "
        f"sys.exit(run_command(lambda: WandbSink({project!r}, 'n', {{}}, 'run')))"
    )
    environment = {**os.environ, **OF_COMMANDS, "HOME": str(tmp_path)} | changed
    done = run([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: wandb cannot start this run:" in done.stderr
    assert complaint in done.stderr
    assert "Check --wandb_project_name and the WANDB_ variables" in done.stderr
