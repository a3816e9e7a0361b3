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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from html import escape
from importlib.util import find_spec
from math import ceil, nan
from typing import Any

import numpy as np

from util.base.log import say, warn
from util.display.sinks.base import ImageArray, LogStep, Sink
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
from util.images.ranges import WHITE, shown

FIRST_PAUSE = 0.5  # seconds between attempts; doubles with every failure
LONGEST_PAUSE = 30.0
CLOSE_SECONDS = 5.0
DOUBT_SECONDS = 60.0  # a request that was given up may be carried out that much later
BYTES_PER_SECOND = 1e6  # a slow line gets this much more time for large images,
POINTS_PER_SECOND = 2e4  # and the server for long histories (it takes about a third)
GAP = 2  # pixels around the images of a panel
LABEL_HEIGHT = 24  # pixels of a row of labels


class VisdomSink(Sink):
    """Show losses in one window, and images in a panel or in a window each."""

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
    ) -> None:
        self.address = address_of(server, port)
        self.env = env.replace("/", "_")  # as the server does for windows, but not for pages
        self.display_id = display_id
        self.ncols = ncols
        self.name = name
        self.win_size = win_size
        self.sends = self.failures = 0  # windows brought up to date; attempts that failed
        self._loss_window = str(display_id)  # the server knows windows by text only

        # Shared by both threads, under the lock of `_changed`.
        self._changed = threading.Condition()
        self._history = LossHistory()
        self._images: dict[str, Callable[[Any], None]] = {}  # by window, the latest
        self._unsent: set[str] = set()  # windows whose latest image is not on the server
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
        with self._changed:
            self._images.update(sends)
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
        """Return the curves as tensors."""
        with self._changed:
            return self._history.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the curves of an earlier run."""
        history = LossHistory()
        history.load_state_dict(state)
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
            steps += [partial(self._send_window, each) for each in sorted(self._unsent, key=int)]
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
            self._unsent.update(self._images)  # a server started anew has nothing

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
            send = self._images[window]
        send(self._client)
        with self._changed:
            self.sends += 1
            if self._images[window] is send:  # else there is a newer one already
                self._unsent.discard(window)

    def _send_panel(self, images: Mapping[str, ImageArray], client: Any) -> None:
        """Send all images as one, and a table of their labels in the same arrangement."""
        ncols = min(self.ncols, len(images))
        panel = grid([shown(image) for image in images.values()], ncols)
        width = self.win_size * ncols
        self._show(str(self.display_id + 1), f"{self.name} images", panel, width, client)
        height = LABEL_HEIGHT * (1 + ceil(len(images) / ncols))
        options = {"title": f"{self.name} labels", "width": width, "height": height}
        client.text(label_table(list(images), ncols), str(self.display_id + 2), opts=options)

    def _show(self, window: str, title: str, image: ImageArray, width: int, client: Any) -> None:
        height = round(image.shape[0] * width / image.shape[1])
        options = {"title": title, "width": width, "height": height}  # the whole is scaled to it
        client.image(shown(image).transpose(2, 0, 1), win=window, opts=options)

    def _complain(self, error: Exception) -> None:
        where, port = self.address.geturl(), self.address.port
        self._tell(
            warn,
            f"visdom at {where} cannot be used now ({str(error) or type(error).__name__}). "
            "Training goes on, and what is missing there is sent once it answers. To have a server "
            "started: --start_visdom (`python -m visdom.server` fails without internet). To reach "
            f"one on another machine: ssh -N -L {port}:localhost:{port} user@host. "
            "To do without: --display_id 0.",
        )

    def _tell(self, how: Callable[[str], None], text: str) -> None:
        if not self._quiet:
            with suppress(OSError, ValueError):  # nobody reads any more
                how(text)


def grid(images: Sequence[ImageArray], ncols: int) -> ImageArray:
    """Arrange (H, W, 3) images row by row on white; the largest decides the cells' size."""
    height = max(image.shape[0] for image in images) + 2 * GAP
    width = max(image.shape[1] for image in images) + 2 * GAP
    rows = ceil(len(images) / ncols)
    sheet = np.full((rows * height, ncols * width, 3), WHITE, np.uint8)
    for number, image in enumerate(images):
        top, left = number // ncols * height + GAP, number % ncols * width + GAP
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def label_table(labels: Sequence[str], ncols: int) -> str:
    """Return an HTML table of labels, arranged as `grid` arranges the images."""
    style = "table-layout: fixed; width: 100%; text-align: center"
    filled = [escape(label) for label in labels] + [""] * (-len(labels) % ncols)
    rows = [filled[start : start + ncols] for start in range(0, len(filled), ncols)]
    cells = ("".join(f"<td>{label}</td>" for label in row) for row in rows)
    return f'<table style="{style}">{"".join(f"<tr>{row}</tr>" for row in cells)}</table>'
