"""scripts/show.py as a process of its own, and requests to it."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import NamedTuple

from tests.support import warm
from tests.support.paths import ROOT


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    headers: "Message[str, str]"

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


class ShowServer(NamedTuple):
    """A server that runs, and what it has said."""

    address: str
    process: "subprocess.Popen[str]"
    said: str

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send one request: GET, or POST with a body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.address + path, body, named)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), error.headers)

    def peak_megabytes(self) -> float:
        """Return the most memory that the process has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kilobytes,) = (line.split()[1] for line in status.splitlines() if "VmHWM" in line)
        return int(kilobytes) / 1024


@contextmanager
def serving(folder: Path, *arguments: str | Path) -> Iterator[ShowServer]:
    """Serve the runs in a folder at a free port."""
    argv = [sys.executable, ROOT / "scripts/show.py", "--checkpoints_dir", folder, "--port", "0"]
    with warm.popen(
        [*map(str, argv), *map(str, arguments)], stdout=subprocess.PIPE, text=True, cwd=folder,
        env={**warm.os.environ, **warm.OF_COMMANDS},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = ""
        try:
            while not (found := re.search(r"Open (http://\S+)", said)):
                line = process.stdout.readline()
                assert line, said
                said += line
            yield ShowServer(found[1].rstrip("/"), process, said)
        finally:
            process.terminate()
            process.wait(timeout=30)
