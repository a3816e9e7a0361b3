"""Lines of text: losses on the console and in `loss_log.txt`, and how a run ended."""

import time
from collections.abc import Mapping
from pathlib import Path

from util.base.errors import writing
from util.base.log import say
from util.display.sinks.base import LogStep, Overview, Sink, deliver
from util.storage.files import write_text


def loss_line(when: LogStep, values: Mapping[str, float]) -> str:
    """Format losses as the reference does; people's scripts read these lines."""
    losses = "".join(f"{name}: {value:.3f} " for name, value in values.items())
    return (
        f"(epoch: {when.epoch}, iters: {when.images}, time: {when.compute_seconds:.3f}, "
        f"data: {when.load_seconds:.3f}) {losses}"
    )


class ConsoleSink(Sink):
    """Print losses."""

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Print one line."""
        say(loss_line(when, losses))


class LossFileSink(Sink):
    """Append losses to `loss_log.txt`; every start of a run adds a header."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._header = f"================ Training Loss ({time.strftime('%c')}) ================\n"
        deliver([self], lambda sink: sink._append(""))  # tried again with the first losses

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Append one line."""
        self._append(f"{loss_line(when, losses)}\n")

    def _append(self, text: str) -> None:
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(self._header + text)
        self._header = ""


class LastWordsSink(Sink):
    """Write down why a run was stopped and how to go on: its terminal may be gone by then."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def begin(self, overview: Overview) -> None:
        """Remove what an earlier process wrote: the run goes on."""
        self.path.unlink(missing_ok=True)

    def finish(self, text: str) -> None:
        """Write it, unless the run has ended by itself."""
        if "\n" in text:  # there is a way to go on
            write_text(self.path, f"{text}\n")
