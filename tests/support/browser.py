"""Drive chromium over its DevTools protocol: open pages, run scripts in them, press keys."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    *["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
    *["--disable-background-networking", "--disable-component-update", "--disable-sync"],
    *["--remote-debugging-port=0", "--remote-allow-origins=*"],
]
PATIENCE = 60  # seconds
# Of a page that did nothing wrong there are none of these.
COMPLAINTS = {
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
    "Log.entryAdded",
    "Network.loadingFailed",
}


class Browser:
    """One tab."""

    def __init__(self, address: str) -> None:
        import websocket

        self._connection = websocket.create_connection(address, timeout=PATIENCE)
        self._calls = 0
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv())
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def run(self, script: str) -> Any:
        """Run a script in the page, and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str, seconds: float = 20) -> None:
        """Wait until a script says yes; the page may be on its way to another one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.run(condition):
                    return
            except AssertionError:  # the page it was asked of is gone
                pass
            time.sleep(0.05)
        raise AssertionError(f"never true: {condition}")

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file, and wait until its images are there."""
        self.visit(f"file://{path}{fragment}")

    def visit(self, address: str) -> None:
        """Open an address, and wait until its images are there."""
        self.call("Page.navigate", url="about:blank")
        self.until("location.href === 'about:blank'")
        self.events.clear()
        self.call("Page.navigate", url=address)
        self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    def press(self, key: str) -> None:
        """Press and let go of a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Let the mouse do something: mouseMoved, mousePressed, mouseReleased."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip

    def photograph(self, path: Path) -> None:
        """Save what the window shows.

        While a page reloads itself, chromium refuses to, or forgets to answer: ask again.
        """
        import websocket

        self._connection.settimeout(PATIENCE / 10)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
                break
            except (AssertionError, websocket.WebSocketTimeoutException):
                if time.monotonic() > end:
                    raise
        self._connection.settimeout(PATIENCE)

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """What went wrong since the page was opened: messages, errors, files not there."""
        return [event for event in self.events if event.get("method") in COMPLAINTS]

    def close(self) -> None:
        """Let go of the tab."""
        self._connection.close()


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Start chromium with a new profile, and end it."""
    process = subprocess.Popen(
        [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        browser = Browser(_address(profile / "DevToolsActivePort"))
        browser.resize(1400, 900)
        yield browser
        browser.close()
    finally:
        process.terminate()
        process.wait(timeout=30)


def _address(port_file: Path, seconds: float = 30) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if port_file.exists() and (lines := port_file.read_text().split()):
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json", timeout=30) as answer:
                for tab in json.load(answer):
                    if tab["type"] == "page":
                        return str(tab["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise AssertionError("chromium did not start")
