"""scripts/show.py for programs: POST /translate, what is refused, and which runs there are."""

import asyncio
import json
import re
import signal
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter
from starlette.types import Message, Receive, Scope, Send

from models import load_generator
from models.inference.trained import find_generator
from tests.support import commands
from tests.support.commands import ROOT, ended, scene
from tests.support.generators import save_run
from tests.support.show_server import ShowServer, serving
from util.images.pixels import stored_values
from util.images.reading import read_image
from util.images.writing import write_stored

sys.path.append(str(ROOT / "scripts"))

import show

from showing.drawings import drawing_of
from showing.guard import Guard
from showing.runs import find_runs

Capture = pytest.CaptureFixture[str]
MOST_MEGABYTES = 200  # that many requests at once may cost


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three runs, one of which draws random numbers."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_run(folder / "facades", "pix2pix", "G", no_dropout=False, crop_size=32)
    save_run(folder / "horses", "cycle_gan", "G_A", "G_B")
    save_run(folder / "gray", "pix2pix", "G", input_nc=1, output_nc=1)
    (folder / "nothing").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(checkpoints: Path) -> Iterator[ShowServer]:
    limits = "--megapixels", "0.1", "--upload_mb", "1", "--queue", "20"
    with serving(checkpoints, "--device", "cpu", *limits) as found:
        yield found


def png_of(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def pixels(body: bytes) -> Any:
    with Image.open(BytesIO(body)) as image:
        return np.asarray(image)


# ---- what it is for -----------------------------------------------------------------------


def test_programs_get_what_the_api_and_the_test_give(
    server: ShowServer, checkpoints: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "1.png"
    scene(3).save(path)
    answer = server.ask("/translate?name=facades&file=1.png", path.read_bytes())
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    made = pixels(answer.body)
    generator = load_generator("facades", checkpoints_dir=checkpoints, device="cpu")
    assert np.array_equal(made, np.asarray(generator.translate(path)))
    argv = ["--dataroot", str(path), "--name", "facades", "--checkpoints_dir", str(checkpoints)]
    argv += ["--preprocess", "none", "--gpu_ids", "-1", "--results_dir", str(tmp_path)]
    commands.script("test", argv)
    result = tmp_path / "facades" / "test_latest" / "images" / "1_fake.png"
    assert np.array_equal(made, pixels(result.read_bytes()))


def test_images_of_16_bits_keep_them(server: ShowServer, checkpoints: Path, tmp_path: Path) -> None:
    generator = load_generator("horses", checkpoints_dir=checkpoints, device="cpu")
    for name, channels in (("gray.png", 1), ("colour.png", 3), ("colour.tif", 3)):
        drawn = np.random.default_rng(0).integers(0, 2**16, (channels, 20, 24)).astype(np.uint16)
        write_stored(path := tmp_path / name, torch.from_numpy(drawn))
        made = generator.translate(path)
        assert made.dtype == np.uint16
        with Image.open(path) as opened:
            assert np.array_equal(generator.translate(opened), made), name
        answer = server.ask("/translate?name=horses", path.read_bytes())
        assert answer.status == 200, answer.body
        (shown := tmp_path / "shown.png").write_bytes(answer.body)
        assert np.array_equal(stored_values(read_image(shown, 3)), made.transpose(2, 0, 1)), name


def test_both_directions_of_a_run_are_there(server: ShowServer, checkpoints: Path) -> None:
    image = scene(1)
    for direction in ("AtoB", "BtoA"):
        answer = server.ask(f"/translate?name=horses&direction={direction}", png_of(image))
        how: dict[str, Any] = {"checkpoints_dir": checkpoints, "device": "cpu"}
        generator = load_generator("horses", direction=direction, **how)
        assert np.array_equal(pixels(answer.body), np.asarray(generator.translate(image)))


def test_runs_are_listed_with_what_the_page_needs(server: ShowServer) -> None:
    found = json.loads(server.ask("/runs").body)
    assert found["pixels"] == 100_000
    assert [(run["name"], run["directions"], run["side"]) for run in found["runs"]] == [
        ("facades", ["AtoB"], 32),
        ("gray", ["AtoB"], 256),
        ("horses", ["AtoB", "BtoA"], 256),
    ]
    assert "nothing is not shown" in server.said


def test_many_requests_at_once_are_all_served_in_bounded_memory(server: ShowServer) -> None:
    body, before = png_of(scene(0, side=64)), server.peak_megabytes()
    turned_away = []

    def ask(number: int) -> int:
        while (answer := server.ask("/translate", body)).status == 503:
            turned_away.append(number)
            assert "Try again" in answer.error
            assert answer.headers["Retry-After"] == "1"
            time.sleep(0.2)
        return answer.status

    with ThreadPoolExecutor(200) as pool:
        assert set(pool.map(ask, range(200))) == {200}
    assert turned_away
    assert server.peak_megabytes() - before < MOST_MEGABYTES


# ---- what is refused ----------------------------------------------------------------------


def bomb() -> bytes:
    """Return a small PNG file of many pixels."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def float_tiff() -> bytes:
    """Return a TIFF file of floating point values."""
    file = BytesIO()
    Image.new("F", (9, 8), 0.5).save(file, "TIFF")
    return file.getvalue()


PNG = png_of(scene(0))
REFUSED = [
    ("/translate", b"", 415, "no image"),
    ("/translate", b"hello", 415, "no image that can be read here: PNG, JPEG"),
    ("/translate", PNG[: len(PNG) // 2], 415, "broken"),
    ("/translate", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "no image"),
    ("/translate", bomb(), 413, "larger than 0.1 million pixels"),
    ("/translate", png_of(scene(0, side=400)), 413, "400x400, larger than 0.1 million"),
    ("/translate", bytes(2**20 + 1), 413, "at most 1 MiB"),
    ("/translate", bytes(2**24), 413, "at most 1 MiB"),
    ("/translate?name=horses", float_tiff(), 422, "3 x float32, which no PNG holds"),
    ("/translate?name=gray", float_tiff(), 422, "1 x float32, which no PNG holds"),
    ("/translate?name=x", bytes(2**24), 404, "no run 'x'"),
    ("/translate?name=../facades", PNG, 404, "no run '../facades'"),
    ("/translate?name=facades&direction=BtoA", PNG, 404, "only AtoB"),
    ("/translate?name=horses&direction=x", PNG, 404, "only AtoB or BtoA"),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), REFUSED)
def test_what_cannot_be_translated_is_refused_with_a_reason(
    path: str, body: bytes, status: int, message: str, server: ShowServer
) -> None:
    answer = server.ask(path, body)
    assert (answer.status, message in answer.error) == (status, True), answer.error


@pytest.mark.parametrize("path", ["/show.py", "/../show.py", "/page/page.js", "/docs", "/%2e%2e/"])
def test_no_other_files_are_served(path: str, server: ShowServer) -> None:
    assert server.ask(path).status == 404


def test_pages_of_others_and_foreign_names_are_turned_away(server: ShowServer) -> None:
    assert server.ask("/runs", Host="evil.example").status == 421
    assert server.ask("/runs", Host="localhost:80").status == 200
    for origin in ("http://evil.example", "null", "http://[::1"):
        assert server.ask("/translate", PNG, Origin=origin).status == 403
    assert server.ask("/translate", PNG, Origin=server.address).status == 200
    page = server.ask("/")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert b"http" not in page.body


def test_other_machines_need_a_token() -> None:
    answers: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answers.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request"}

    def ask(path: str, *headers: tuple[bytes, bytes]) -> int:
        scope = {"type": "http", "path": path, "headers": [(b"host", b"any:80"), *headers]}
        guard = Guard(app, token="geheim", own_hosts=False)
        with closing(asyncio.new_event_loop()) as loop:  # `run` would lose that of dominate
            loop.run_until_complete(guard(scope, receive, send))
        return answers[-1]

    assert ask("/") == 200  # only the page: the token is behind the #, which is not sent
    for path in ("/runs", "/translate"):
        assert ask(path) == ask(path, (b"authorization", b"Bearer gehei\xe4")) == 401
        assert ask(path, (b"authorization", b"Bearer geheim")) == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("localhost.evil", False)],
)  # fmt: skip
def test_only_hosts_of_this_machine_need_no_token(host: str, loopback: bool) -> None:
    assert show.is_loopback(host) == loopback


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--name", "facade"], 1, "facades"),
        (["--name", "horses", "--epoch", "7"], 1, "7_net_G_A.pth does not exist"),
        (["--checkpoints_dir", "{}/nothing"], 1, "has no run that can be shown"),
        (["--queue", "0"], 2, "must be above 0"),
        (["--port", "70000"], 2, "--port 70000 is none"),
        (["--host", "203.0.113.7"], 1, "cannot be listened at"),
    ],
)
def test_wrong_commands_end_with_one_message(
    words: list[str], status: int, message: str, checkpoints: Path, capsys: Capture
) -> None:
    argv = ["--checkpoints_dir", checkpoints, *(word.format(checkpoints) for word in words)]
    assert ended(show.main, argv) == status
    assert message in capsys.readouterr().err


def test_what_must_be_installed_is_said(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "showing.server", None)
    assert ended(show.main, ["--checkpoints_dir", checkpoints]) == 1
    assert "needs the extra `show`" in capsys.readouterr().err


def test_ctrl_c_ends_the_server(checkpoints: Path) -> None:
    with serving(checkpoints, "--name", "horses", "--host", "0.0.0.0") as found:
        address, _, token = found.address.partition("/#")
        assert "1 run: horses" in found.said
        assert len(token) > 20
        local = found._replace(address=re.sub(r"//[^:]+", "//127.0.0.1", address))
        assert local.ask("/runs").status == 401
        assert local.ask("/runs", Authorization=f"Bearer {token}").status == 200
        found.process.send_signal(signal.SIGINT)
        assert found.process.wait(20) == 130


# ---- with what images are drawn -----------------------------------------------------------


def as_jpeg(image: Image.Image) -> Any:
    file = BytesIO()
    image.save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file).convert("RGB"))


def test_label_maps_are_drawn_with_their_colours_though_jpeg_has_blurred_them() -> None:
    colours = [(0, 0, 222), (0, 48, 255), (255, 80, 0), (174, 0, 1)]
    images = []
    for seed in range(4):
        image, random = Image.new("RGB", (96, 96), colours[0]), np.random.default_rng(seed)
        pen = ImageDraw.Draw(image)
        for colour in colours[1:]:
            x, y = (int(number) for number in random.integers(0, 60, 2))
            pen.rectangle((x, y, x + 30, y + 30), fill=colour)
        images.append(as_jpeg(image))
    drawing = drawing_of(images)
    assert drawing is not None
    assert drawing.kind == "labels"
    found = [tuple(bytes.fromhex(colour[1:])) for colour in drawing.colours]
    assert len(found) == len(colours)
    for colour in colours:
        assert any(np.abs(np.subtract(colour, other)).max() < 8 for other in found)


def test_runs_of_the_original_are_shown_and_drawn_too(tmp_path: Path) -> None:
    """All that tells of them is a text, whose numbers are text too."""
    commands.draw_pairs(tmp_path / "data", "train", 3)
    options = {
        "crop_size": 64, "dataroot": tmp_path / "data", "dataset_mode": "aligned", "ngf": 2,
        "direction": "BtoA", "input_nc": 3, "load_size": 72, "max_dataset_size": "inf",
        "model": "pix2pix", "netG": "resnet_6blocks", "no_dropout": True, "norm": "instance",
        "output_nc": 3, "phase": "train", "preprocess": "resize_and_crop", "isTrain": True,
    }  # fmt: skip
    lines = [f"{name:>25}: {value!s:<30}\t[default: None]" for name, value in options.items()]
    for number, root in enumerate(("data", "moved")):
        run = save_run(tmp_path / "runs" / str(number), "pix2pix", "G", records=False)
        text = "\n".join(["----- Options -----", *lines, "----- End -----", ""])
        (run / "train_opt.txt").write_text(text.replace("data\t", f"{root}\t"))
    found = find_runs([], str(tmp_path / "runs"), "latest")
    assert [(run.directions, run.side, [*run.drawings]) for run in found] == [
        (("BtoA",), 64, ["BtoA"]),
        (("BtoA",), 64, []),
    ]
    assert found[0].drawings["BtoA"].kind == "labels"


def test_a_run_that_fails_in_any_way_is_said_and_left_out(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def fail(name: str, *more: Any) -> Any:
        if name != "horses":
            raise KeyError("what")
        return find_generator(name, *more)

    monkeypatch.setattr("showing.runs.find_generator", fail)
    found = find_runs([], str(checkpoints), "latest")
    assert [run.name for run in found] == ["horses"]
    assert "facades is not shown: KeyError: 'what'" in capsys.readouterr().out


def test_edges_are_drawn_with_a_pencil_and_photographs_not_at_all() -> None:
    noise = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3)) for seed in range(3)]
    photos = [Image.fromarray(n.astype(np.uint8)).filter(ImageFilter.BoxBlur(1)) for n in noise]
    assert drawing_of([np.asarray(photo) for photo in photos]) is None
    outlines = []
    for seed in range(3):
        image = Image.new("RGB", (96, 96), "white")
        for width in (30, 60):
            ImageDraw.Draw(image).rectangle((seed + 5, 8, width, width), outline="black")
        outlines.append(as_jpeg(image))
    drawing = drawing_of(outlines)
    assert drawing is not None
    assert (drawing.kind, drawing.colours) == ("pencil", ("#ffffff", "#000000"))
