"""Live plots and images on a visdom server, which may be absent, slow, frozen or restarted.

The training thread only leaves copies behind. One worker thread does everything else: it
connects, encodes, sends, and tries again later when that fails.

Why points are neither lost nor doubled: the worker remembers how many points the window has, and
forgets it before each request that changes the window; only the server's answer brings the number
back. As long as it is unknown, the next attempt replaces the window by the full history. For a
while after a failure, and at the end, it also looks whether a request that was given up has been
carried out late, as a server does that was frozen.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from math import ceil, nan
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from util.base.log import say, warn
from util.display.sinks.base import EpochRecord, ImageArray, LogStep, Overview, Sink
from util.display.sinks.visdom.connection import (
    READ_SECONDS,
    Connection,
    RefusedError,
    UnreachableError,
    address_of,
    client_class,
)
from util.display.sinks.visdom.history import LossHistory
from util.display.sinks.visdom.server import how_to_install
from util.images.ranges import shown

FIRST_PAUSE = 0.5  # seconds between attempts; doubles with every failure
LONGEST_PAUSE = 30.0
CLOSE_SECONDS = 5.0
DOUBT_SECONDS = 60.0  # a request that was given up may be carried out that much later
BYTES_PER_SECOND = 1e6  # a slow line gets this much more time for large images,
POINTS_PER_SECOND = 2e4  # and the server for long histories (it takes about a third)
GAP = 2  # pixels around the images of a panel


class VisdomSink(Sink):
    """Show losses in a window, images in a panel or in windows of their own, as metrics are."""

    losses_as = "plot"
    images_every = "display_freq"

    def __init__(
        self,
        server: str,  # address, for example http://localhost; a port in it wins over `port`
        port: int,
        *,
        env: str,  # environment, visdom's word for a page
        display_id: int,  # first window; plots go to it, images to the ones after it
        ncols: int,  # images in a row of the panel; 0 or below: a window for each image
        name: str,  # of the run, for titles
        win_size: int = 256,  # width at which an image is shown
        log: bool = False,  # losses on a logarithmic axis
    ) -> None:
        self.address = address_of(server, port)
        self.env = env.replace("/", "_")  # as the server does for windows, but not for pages
        self.display_id = display_id
        self.ncols = ncols
        self.name = name
        self.win_size = win_size
        self.log = log
        self.sends = self.failures = 0  # windows brought up to date; attempts that failed
        self._loss_window = str(display_id)  # the server knows windows by text only

        # Shared by both threads, under the lock of `_changed`.
        self._changed = threading.Condition()
        self._history = LossHistory()
        self._metrics: dict[str, dict[int, float]] = {}  # of validation, by epoch
        self._windows: dict[str, Callable[[Any], None]] = {}  # all but the losses; sends the latest
        self._unsent: set[str] = set()  # those of them whose latest is not on the server
        self._sent: int | None = None  # points on the server, None: unknown
        self._deadline: float | None = None  # set by close()
        self._worker: threading.Thread | None = None
        self._off = False  # visdom is not installed

        # The worker's own.
        self._client: Any = None
        self._sent_names: list[str] = []
        self._failed_at: float | None = None  # when an answer last failed to come
        self._told = 0  # 1: that there is no connection, 2: that there is one again
        self._quiet = False

    def begin(self, overview: Overview) -> None:
        """Look whether there is a server, and say so before training if there is none."""
        self._attempt()

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        numbers = {name: float(value) for name, value in losses.items()}
        with self._changed:
            self._history.add(when.epoch + when.fraction, numbers)
            self._wake_worker()

    def images(self, when: LogStep, images: Mapping[str, ImageArray]) -> None:
        """Replace the images."""
        copies = {label: np.array(image) for label, image in images.items()}
        if not copies or self._off:
            return
        first = self.display_id + 1
        sends: dict[str, Callable[[Any], None]] = {}
        if self.ncols > 0:
            sends[str(first)] = partial(self._send_panel, copies)
        else:
            for window, (label, image) in enumerate(copies.items(), first):
                sends[str(window)] = partial(self._show, str(window), label, image, self.win_size)
        self._send_later(sends)

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Add a point to the curve of each validation metric."""
        epoch = record["epoch"]
        sends: dict[str, Callable[[Any], None]] = {}
        with self._changed:
            for name, value in record.get("val", {}).items():
                before = self._metrics.get(name, {}).items()
                line = {old: kept for old, kept in before if old < epoch} | {epoch: float(value)}
                self._metrics[name] = line
                sends[f"{self.display_id}_{name}"] = partial(self._send_metric, name, line)
        self._send_later(sends)

    def _send_later(self, sends: Mapping[str, Callable[[Any], None]]) -> None:
        if not sends or self._off:
            return
        with self._changed:
            self._windows.update(sends)
            self._unsent.update(sends)
            self._wake_worker()

    def close(self) -> None:
        """Try once more to send what is left, for a few seconds at most."""
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + CLOSE_SECONDS
            self._changed.notify()
            worker = self._worker
        if worker is not None:
            worker.join(max(0.0, self._deadline - time.monotonic()))
        self._quiet = True

    def state_dict(self) -> dict[str, Any]:
        """Return the curves: of losses as tensors, of metrics as numbers by epoch."""
        with self._changed:
            return {**self._history.state_dict(), "validation": self._metrics}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the curves of an earlier run."""
        history = LossHistory()
        history.load_state_dict(state)
        metrics = {name: dict(line) for name, line in state.get("validation", {}).items()}
        with self._changed:
            self._metrics = metrics
        self._replace(history)

    def go_on_after(self, when: LogStep) -> None:
        """Forget the epochs after this one; in its middle nothing is there yet."""
        self._replace(self._history.up_to(when.epoch + 1))

    def _replace(self, history: LossHistory) -> None:
        with self._changed:
            self._history = history
            self._sent = None

    def _wake_worker(self) -> None:
        if self._off or self._deadline is not None:
            return
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="visdom", daemon=True)
            self._worker.start()
        self._changed.notify()

    def _work(self) -> None:
        pause = FIRST_PAUSE
        last = False
        while not last and not self._off:
            with self._changed:
                self._changed.wait_for(lambda: self._closing() or self._pending())
                last = self._closing()
            if self._attempt():
                pause = FIRST_PAUSE
                continue
            with self._changed:
                self._changed.wait_for(self._closing, timeout=0 if last else pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._disconnect()

    def _closing(self) -> bool:
        return self._deadline is not None

    def _pending(self) -> bool:
        return bool(self._unsent) or len(self._history) != (self._sent or 0)

    def _attempt(self) -> bool:
        """Send all that is pending; False after a failure, which has been reported."""
        try:
            try:
                self._send_all()
            except UnreachableError as error:
                if not error.dropped or self._client is None:
                    raise
                self._lose()  # it went away since the last event and may be back
                self._send_all()
        except ImportError as error:
            self._off = True
            missing = isinstance(error, ModuleNotFoundError) and error.name == "visdom"
            why = how_to_install() if missing else f"visdom cannot be imported: {error}."
            self._tell(warn, f"{why} Training goes on without it.")
        except Exception as error:  # noqa: BLE001 - whatever visdom does, training goes on
            self.failures += 1
            if not isinstance(error, RefusedError):
                self._lose()
            if self._told == 0:
                self._told = 1
                self._complain(error)
            return False
        if self._told == 1:
            self._told = 2
            where = self.address.geturl()
            self._tell(say, f"visdom at {where} answers now; nothing is missing there.")
        return True

    def _send_all(self) -> None:
        """Bring each window up to date; what the server refuses does not hold up the others."""
        if self._client is None:
            self._client = self._connect()
        steps: list[Callable[[], None]] = [self._send_losses]
        with self._changed:
            unsent = [each for each in self._windows if each in self._unsent]
            steps += [partial(self._send_window, each) for each in unsent]
        refusals = []
        for send in steps:
            try:
                send()
            except UnreachableError:
                raise
            except Exception as error:  # noqa: BLE001 - raised below
                refusals.append(error)
        if refusals:
            raise refusals[-1]

    def _connect(self) -> Any:
        if find_spec("visdom") is None:  # said first: without it no server would help
            raise ModuleNotFoundError(name="visdom")
        connection = Connection(self.address, self._patience)
        try:
            client = client_class()(connection, self.env)
            if client.win_exists(self._loss_window) is None:
                raise UnreachableError("what answers there is no visdom server")
        except BaseException:
            connection.close()
            raise
        return client

    def _lose(self) -> None:
        self._failed_at = time.monotonic()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.connection.close()
        with self._changed:
            self._client = self._sent = None
            self._unsent.update(self._windows)  # a server started anew has nothing

    def _patience(self, size: int) -> float:
        """Return how many seconds to wait for the answer to a request of `size` bytes."""
        numbers = len(self._history) * len(self._history.names)
        seconds = READ_SECONDS + size / BYTES_PER_SECOND + numbers / POINTS_PER_SECOND
        if self._deadline is None:
            return seconds
        return min(seconds, max(0.1, self._deadline - time.monotonic()))

    def _send_losses(self) -> None:
        with self._changed:
            history, sent = self._history, self._sent
            count, names = len(history), history.names
        last_look = self._closing() and self._failed_at is not None
        if count == 0 or (sent == count and not last_look):
            return
        if sent is None or names != self._sent_names or not self._window_has(sent):
            sent = 0  # replace the whole plot
        elif sent == count:
            return
        self._sent = None
        with self._changed:
            x, curves = history.rows(sent, count, names)
        curves[~np.isfinite(curves)] = nan  # becomes null; infinity would be no JSON
        if sent:
            self._client.append_points(self._loss_window, x, curves)
        else:
            options = {"title": f"{self.name} loss over time", "legend": names}
            options |= {"xlabel": "epoch", "ylabel": "loss"}
            options |= {"ytype": "log"} if self.log else {}
            self._client.line(X=x, Y=curves, win=self._loss_window, opts=options)
        with self._changed:
            self.sends += 1
            self._sent_names = names
            if self._history is history:  # else another one was loaded meanwhile
                self._sent = count

    def _window_has(self, count: int) -> bool:
        """Tell whether the plot is there, and in doubt whether it has the points it should."""
        if not self._client.win_exists(self._loss_window):
            return False
        in_doubt = self._failed_at is not None and (
            self._closing() or time.monotonic() < self._failed_at + DOUBT_SECONDS
        )
        if not in_doubt:
            return True
        traces = json.loads(self._client.get_window_data(self._loss_window))["content"]["data"]
        return [len(trace["x"]) for trace in traces] == [count] * len(self._sent_names)

    def _send_window(self, window: str) -> None:
        with self._changed:
            send = self._windows[window]
        send(self._client)
        with self._changed:
            self.sends += 1
            if self._windows[window] is send:  # else there is a newer one already
                self._unsent.discard(window)

    def _send_panel(self, images: Mapping[str, ImageArray], client: Any) -> None:
        """Send all images as one, each with its label below it."""
        ncols = min(self.ncols, len(images))
        widest = max(image.shape[1] for image in images.values())
        times = max(1, self.win_size // widest)  # small images would have letters of few pixels
        large = {
            label: shown(image).repeat(times, 0).repeat(times, 1) for label, image in images.items()
        }
        panel = grid(large, ncols)
        width = self.win_size * ncols
        self._show(str(self.display_id + 1), f"{self.name} images", panel, width, client)

    def _send_metric(self, name: str, line: Mapping[int, float], client: Any) -> None:
        epochs, values = np.array(list(line)), np.array(list(line.values()))
        values[~np.isfinite(values)] = nan  # becomes null; infinity would be no JSON
        title = f"{self.name} validation: {name}"
        options: dict[str, Any] = {"title": title, "xlabel": "epoch", "ylabel": name}
        options |= {"markers": True, "markersize": 6}  # of one point alone there is no line
        client.line(X=epochs, Y=values, win=f"{self.display_id}_{name}", opts=options)

    def _show(self, window: str, title: str, image: ImageArray, width: int, client: Any) -> None:
        height = round(image.shape[0] * width / image.shape[1])
        options = {"title": title, "width": width, "height": height}  # the whole is scaled to it
        client.image(shown(image).transpose(2, 0, 1), win=window, opts=options)

    def _complain(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        self._tell(
            warn,
            f"visdom at {self.address.geturl()} cannot be used now ({reason}); --start_visdom "
            "starts one, --display_id 0 does without.",
        )

    def _tell(self, how: Callable[[str], None], text: str) -> None:
        if not self._quiet:
            with suppress(OSError, ValueError):  # nobody reads any more
                how(text)


def grid(images: Mapping[str, ImageArray], ncols: int) -> ImageArray:
    """Arrange labelled (H, W, 3) images row by row on white, in cells as large as the largest."""
    height = max(image.shape[0] for image in images.values()) + 2 * GAP
    width = max(image.shape[1] for image in images.values()) + 2 * GAP
    letters = max(10, width // 18)
    font = ImageFont.load_default(letters)
    cell = height + 2 * letters  # with room for the label
    size = ncols * width, ceil(len(images) / ncols) * cell
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for number, (label, image) in enumerate(images.items()):
        top, left = number // ncols * cell + GAP, number % ncols * width + GAP
        sheet.paste(Image.fromarray(image), (left, top))
        text = label.encode("utf-8", "replace").decode()
        pen.text((left, top + height), text, fill="black", font=font)
    return np.array(sheet)  # one that may be written to, as torch wants it
