"""The way to a visdom server: an address, a connection with time limits, a client that is quiet."""

import logging
from collections.abc import Callable
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib import import_module
from io import BytesIO
from math import isnan
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from numpy.typing import NDArray

from util.base.errors import UserError
from util.base.log import warn

CONNECT_SECONDS = 1.0
READ_SECONDS = 3.0


class UnreachableError(Exception):
    """There is no answer; whether the request was carried out is unknown.

    `dropped` tells that the connection was lost, which may have happened long ago.
    """

    def __init__(self, reason: str, *, dropped: bool = False) -> None:
        super().__init__(reason)
        self.dropped = dropped


class RefusedError(Exception):
    """The server answers, but not with 200."""


def address_of(server: str, port: int) -> SplitResult:
    """Read what the options say; a port in `server` wins."""
    try:
        parts = urlsplit(server if "//" in server else f"http://{server}")
        host, port = parts.hostname, parts.port or port
    except ValueError:  # a port that is no number
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or not 0 < port < 65536:
        raise UserError(
            f"--display_server {server} with --display_port {port} is no address. Give them "
            "like --display_server http://localhost --display_port 8097."
        )
    return urlsplit(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}")


class Connection:
    """One connection to a server, with time limits; it never reconnects by itself.

    `http.client` uses no proxies, and unlike `requests` it does not hide that a connection was
    dropped: behind the next one there may be a server that has forgotten everything. `patience`
    tells for how many seconds to wait for the answer to a request of so many bytes.
    """

    def __init__(self, address: SplitResult, patience: Callable[[int], float]) -> None:
        self.patience = patience
        kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
        self._http = kind(address.hostname or "", address.port, timeout=CONNECT_SECONDS)
        try:
            self._http.connect()
        except (OSError, ValueError) as error:
            raise UnreachableError(reason_of(error)) from error
        self._http.auto_open = 0

    def post(self, path: str, body: bytes) -> str:
        """Send JSON and return the answer."""
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        try:
            if self._http.sock is None:
                raise ConnectionResetError("connection closed")
            self._http.sock.settimeout(self.patience(len(body)))
            # Given as a file it is sent in blocks, each with the time limit to itself.
            self._http.request("POST", quote(path), BytesIO(body), headers)
            answer = self._http.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, HTTPException) as error:
            self.close()
            dropped = isinstance(error, ConnectionError)
            raise UnreachableError(reason_of(error), dropped=dropped) from error
        if answer.status != 200:
            raise RefusedError(f"it answers {answer.status} {answer.reason} to {path}")
        return text

    def close(self) -> None:
        """Close it; more calls do nothing."""
        self._http.close()


@cache
def client_class() -> Any:
    """Return visdom's client, changed so that it neither hangs nor prints nor logs."""
    visdom: Any = import_module("visdom")  # slow, and only needed where there is a server
    logging.getLogger("visdom").setLevel(logging.CRITICAL)

    class Client(visdom.Visdom):
        """Builds visdom's messages; they travel through a connection with time limits."""

        def __init__(self, connection: Connection | None, env: str) -> None:
            # Without `send` the constructor asks no server; and it must not log with
            # `Logger.warn`, whose DeprecationWarning may be an error.
            super().__init__(env=env, send=False, use_incoming_socket=False, raise_exceptions=True)
            self.send = True
            self.connection: Connection | None = connection
            self._send({"eid": env}, endpoint=f"env/{env}")

        def _handle_post(self, url: str, data: Any = None) -> str:
            path = url.removeprefix(f"{self.server}:{self.port}")
            assert self.connection is not None
            return self.connection.post(path, (data or "{}").encode())

        def append_points(self, window: str, x: NDArray[Any], curves: NDArray[Any]) -> None:
            """Append to each curve (points, curves) of a plot, which has been seen to be there.

            `line(update="append")` would ask again whether it is there, and if not make a plot of
            the new points alone.
            """
            traces = [
                {"type": "scatter", "x": x.tolist(), "y": [None if isnan(y) else y for y in curve]}
                for curve in curves.T.tolist()
            ]
            message = {"win": window, "data": traces, "layout": {}, "opts": {}, "append": True}
            self._send(message, endpoint="update")

    return Client


def client_for_others(server: str, port: int, env: str) -> Any:
    """Return a client for other people's windows, which warns once if the server is not there.

    Calls return False then, as visdom's own client does; it is tried again at each of them.
    """
    address = address_of(server, port)

    class Forgiving(client_class()):  # type: ignore[misc]
        """Connects when it is used."""

        connection: Any = None
        has_warned = False

        def _handle_post(self, url: str, data: Any = None) -> Any:
            try:
                if self.connection is None:
                    self.connection = Connection(address, lambda size: READ_SECONDS)
                return super()._handle_post(url, data)
            except (UnreachableError, RefusedError) as error:
                self.connection = None
                if not self.has_warned:
                    self.has_warned = True
                    warn(f"visdom at {address.geturl()} cannot be used now ({error}).")
                return False

    return Forgiving(None, env)


def reason_of(error: Exception) -> str:
    """Say in a few words why a server could not be reached."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
