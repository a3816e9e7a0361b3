"""Visdom's page in a real browser: what the sink sent is drawn.

Only on request, because the page needs scripts that visdom would download from the internet. Take
them from npm with `npm install` and copy them into a folder (the names are those in the page's
`index.html`), then: `VISDOM_STATIC=folder pytest tests/e2e/test_visdom_page.py`.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from util.display.sinks import LogStep
from util.display.sinks.visdom import server as visdom_server
from util.display.sinks.visdom.server import VisdomServer, start_server
from util.display.sinks.visdom.sink import VisdomSink

STATIC = os.environ.get("VISDOM_STATIC")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
COLOURS = {"real_A": (255, 0, 0), "fake_B": (0, 128, 0), "<i>rec_A": (0, 0, 255)}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not STATIC, reason="VISDOM_STATIC does not name a folder with the page's files from npm"
    ),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VisdomServer]:
    """Return a server whose page has all its files."""
    spec = find_spec("visdom")
    assert spec is not None
    assert spec.origin is not None
    static = tmp_path / "static"
    shutil.copytree(Path(spec.origin).parent / "static", static)
    shutil.copytree(str(STATIC), static, dirs_exist_ok=True)
    program = visdom_server._PROGRAM.removesuffix("main()\n") + (
        "from visdom.server.app import tornado_settings\n"
        f"tornado_settings.update(static_path={str(static)!r}, template_path={str(static)!r})\n"
        "main()\n"
    )
    monkeypatch.setattr(visdom_server, "_PROGRAM", program)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    running = start_server(port, tmp_path / "server")
    yield running
    running.stop()


def browse(folder: Path, url: str, *arguments: str) -> str:
    """Return what chromium prints for a page."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={folder / 'profile'}", "--window-size=1500,1000"]
    return subprocess.run(
        [*command, *arguments, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_the_page_draws_plots_and_images(server: VisdomServer, tmp_path: Path) -> None:
    sink = VisdomSink("localhost", server.port, env="a page", display_id=1, ncols=2, name="run")
    for number in range(30):
        when = LogStep(1 + number // 10, fraction=number % 10 / 10)
        sink.scalars(when, {"G_A": 1 / (1 + number), "D_A": 0.5, "idt_A": float(number == 7)})
    images = {label: np.full((32, 32, 3), colour, np.uint8) for label, colour in COLOURS.items()}
    sink.images(LogStep(3), images)
    sink.close()
    assert sink.failures == 0

    url = f"{server.url}/env/a%20page"
    page = ""
    for seconds in (5, 10, 20, 40):  # of the browser's own time, not ours
        page = browse(tmp_path, url, "--dump-dom", f"--virtual-time-budget={seconds}000")
        if page.count("react-grid-item") == 2:
            break
    assert page.count('class="trace scatter') == 3
    for text in ("run loss over time", ">epoch<", ">loss<", ">G_A<", ">D_A<", ">idt_A<"):
        assert text in page

    shot = tmp_path / "page.png"
    found: set[Any] = set()
    for seconds in (5, 10, 20, 40):
        browse(tmp_path, url, f"--screenshot={shot}", f"--virtual-time-budget={seconds}000")
        with Image.open(shot) as image:
            colours = image.convert("RGB").getcolors(1 << 24) or []
        found = {colour for count, colour in colours if count > 200 * 200}
        if found.issuperset(COLOURS.values()):
            break
    assert found.issuperset(COLOURS.values()), f"see {shot}"
