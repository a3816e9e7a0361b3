"""The server of scripts/show.py: a page, what it asks for, and POST /translate for programs."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from showing.guard import Guard
from showing.limits import Limits, Refused
from showing.runs import Runs
from util.base.errors import UserError

PAGE = Path(__file__).resolve().parent / "page"
FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js", "/draw.js": "draw.js"}
PATIENCE = 30.0  # seconds in which an upload must be here
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def create_app(runs: Runs, limits: Limits, *, token: str, own_hosts: bool) -> FastAPI:
    """Return the application.

    `token` is what requests must carry, if it is not empty; with `own_hosts` only the names of
    this machine itself are answered to.
    """
    app = FastAPI(openapi_url=None)  # its documents would load scripts from elsewhere
    app.add_middleware(Guard, token=token, own_hosts=own_hosts)
    app.add_exception_handler(Refused, _tell_why)
    turn = asyncio.Lock()  # one image at a time: that is the fastest, and takes the least memory
    for path, name in FILES.items():
        app.add_api_route(path, _file(name), methods=["GET"])

    @app.get("/runs")
    def list_runs() -> JSONResponse:
        every = [run.as_json() for run in runs.shown.values()]
        return JSONResponse({"runs": every, "pixels": limits.pixels})

    @app.post("/translate")
    async def translate(
        request: Request, name: str = "", direction: str = "", file: str = ""
    ) -> Response:
        chosen = runs.choose(name, direction)
        with limits.place():
            body = await _body_of(request, limits)
            async with turn:
                if await request.is_disconnected():
                    raise Refused(400, "Nobody waits for the image any more.")
                began = time.perf_counter()
                made = await asyncio.to_thread(_translated, runs, limits, body, file, *chosen)
        took = f"translate;dur={1000 * (time.perf_counter() - began):.0f}"
        return Response(made, media_type="image/png", headers={"Server-Timing": took})

    return app


def serve(
    runs: Runs,
    limits: Limits,
    *,
    host: str,
    port: int,
    token: str,
    tell: Callable[[str, Sequence[str]], None],
) -> None:
    """Serve until a signal ends it; `tell` is called with the address once it is known.

    Raises:
        UserError: there is no such address, or another program has it.
    """
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    is_everywhere = host in ("0.0.0.0", "::")
    shown = socket.gethostname() if is_everywhere else f"[{host}]" if ":" in host else host
    app = create_app(runs, limits, token=token, own_hosts=not token)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False,
        timeout_keep_alive=5, timeout_graceful_shutdown=5, limit_concurrency=limits.queue + 500,
    )  # fmt: skip
    tell(f"http://{shown}:{port}/" + (f"#{token}" if token else ""), list(runs.shown))
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


async def _body_of(request: Request, limits: Limits) -> bytes:
    """Return an upload.

    Raises:
        Refused: it is too large, too slow, or ends early.
    """
    declared = request.headers.get("content-length", "0")
    limits.require_bytes(int(declared) if declared.isdecimal() else 0)
    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in request.stream():
                body += chunk
                limits.require_bytes(len(body))
    except TimeoutError:
        raise Refused(408, f"The upload took more than {PATIENCE:.0f} seconds.") from None
    except ClientDisconnect:
        raise Refused(400, "The upload ended early.") from None
    return bytes(body)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port} cannot be listened at ({error.strerror}). Give another "
            "--port; 0 takes a free one."
        ) from None


def _translated(
    runs: Runs, limits: Limits, body: bytes, file: str, name: str, direction: str
) -> bytes:
    image = limits.open(body)
    vars(image)["filename"] = file  # on which random numbers depend, as in test.py
    return runs.translate(image, name, direction)


def _tell_why(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, Refused)
    wait = {"Retry-After": "1"} if error.status == 503 else {}
    return JSONResponse({"error": str(error)}, error.status, headers=wait)


def _file(name: str) -> Callable[[], FileResponse]:
    path = PAGE / name
    return lambda: FileResponse(path, media_type=TYPES[path.suffix])
