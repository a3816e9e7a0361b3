"""Who may ask scripts/show.py for something, and what browsers may do with its page."""

import asyncio
import secrets
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN_HOSTS = ("localhost", "127.0.0.1", "::1")
MOST_FORGOTTEN = 64 * 2**20  # bytes of a refused upload that are waited for
PATIENCE = 30.0  # seconds for that
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Upload:
    """The body of a request: who sends one reads no answer before it has been taken."""

    def __init__(self, receive: Receive, *, waits: bool) -> None:
        self._receive = receive
        self._is_over = waits  # nothing is on its way before it is asked for

    async def receive(self) -> Message:
        """Return the next part."""
        message = await self._receive()
        self._is_over = not message.get("more_body", False)
        return message

    async def finish(self) -> None:
        """Take what is left and forget it, unless it is very much or takes very long."""
        left = MOST_FORGOTTEN
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not self._is_over and left > 0:
                    left -= len((await self.receive()).get("body", b""))


class Guard:
    """Refuse requests from other pages, under foreign names, or without the token."""

    def __init__(self, app: ASGIApp, *, token: str, own_hosts: bool) -> None:
        self._app = app
        self._token = token
        self._own_hosts = own_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        headers = Headers(scope=scope)
        upload = Upload(receive, waits="expect" in headers)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
                await upload.finish()
            await send(message)

        if problem := self._problem(headers, scope["path"]):
            status, text = problem
            answer = JSONResponse({"error": text}, status)
            await answer(scope, upload.receive, send_guarded)
        else:
            await self._app(scope, upload.receive, send_guarded)

    def _problem(self, headers: Headers, path: str) -> tuple[int, str] | None:
        """Return a status and what is wrong with a request."""
        host = headers.get("host", "")
        if self._own_hosts and _name_in(host) not in OWN_HOSTS:  # DNS rebinding: a page of others
            return 421, f"This is not {host}. Open the address that scripts/show.py has printed."
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, f"Pages of {origin} may not use this server."
        if self._token and path in ("/runs", "/translate"):
            given = headers.get("authorization", "")
            if not secrets.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                return 401, "The token is missing. Open the whole address, with what follows the #."
        return None


def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
