"""The page of scripts/show.py in a real browser: choose, draw, errors. Needs chromium."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import load_generator
from tests.e2e.test_pages_in_browser import CONTRASTS
from tests.support.browser import CHROMIUM, Browser, browsing
from tests.support.commands import draw_pairs, scene
from tests.support.generators import save_run
from tests.support.show_server import ShowServer, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]
DONE = "document.querySelector('#status').textContent.startsWith('Translated')"
# The pixels of an image on the page, and their size.
PIXELS = """(async (id) => {
  const image = document.getElementById(id);
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth ?? image.width;
  canvas.height = image.naturalHeight ?? image.height;
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.width, canvas.height, [...data]];
})"""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of label maps and one of photographs."""
    folder = tmp_path_factory.mktemp("checkpoints")
    pairs = tmp_path_factory.mktemp("pairs")
    draw_pairs(pairs, "train", 3)
    save_run(folder / "labels", "pix2pix", "G", dataset_mode="aligned", dataroot=str(pairs),
             direction="BtoA", phase="train", crop_size=64)  # fmt: skip
    save_run(folder / "photos", "cycle_gan", "G_A", "G_B", crop_size=48)
    return folder


@pytest.fixture(scope="module")
def server(checkpoints: Path) -> Iterator[ShowServer]:
    with serving(checkpoints, "--device", "cpu", "--megapixels", "0.1") as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(browser: Browser, server: ShowServer) -> Browser:
    """Open the page."""
    browser.resize(1400, 900)
    browser.visit(f"{server.address}/")
    browser.until("document.querySelector('#run').options.length === 2")
    return browser


def choose(page: Browser, path: Path) -> None:
    """Choose a file, as in the dialog of the browser."""
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)


def choose_run(page: Browser, name: str) -> None:
    page.run(
        f"document.querySelector('#run').value = {name!r};"
        "document.querySelector('#run').dispatchEvent(new Event('change'))"
    )


def shown(page: Browser, identity: str) -> "np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]":
    width, height, values = page.run(f"{PIXELS}({identity!r})")
    return np.array(values, np.uint8).reshape(height, width, 4)[:, :, :3]


def drag(page: Browser, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw from one place of the canvas to another; both in parts of its sides."""
    x, y, width, height = page.run(
        "(() => { const box = document.querySelector('#canvas').getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height]; })()"
    )
    places = [(x + width * a, y + height * b) for a, b in (begin, end)]
    page.mouse("mousePressed", *places[0])
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=places[1][0], y=places[1][1],
              button="left", buttons=1)  # fmt: skip
    page.mouse("mouseReleased", *places[1])


def test_a_chosen_image_is_sent_as_it_is_and_its_translation_shown(
    page: Browser, checkpoints: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.png"
    scene(3, side=40).save(path)
    choose_run(page, "photos")
    choose(page, path)
    page.until(DONE)
    generator = load_generator("photos", checkpoints_dir=checkpoints, device="cpu")
    assert np.array_equal(shown(page, "made"), np.asarray(generator.translate(path)))
    assert np.array_equal(shown(page, "over"), np.asarray(Image.open(path)))
    assert page.run("document.querySelector('#download').download") == "mine_photos.png"
    page.run("document.querySelector('#direction').value = 'BtoA';"
             "document.querySelector('#direction').dispatchEvent(new Event('change'))")  # fmt: skip
    back = load_generator("photos", direction="BtoA", checkpoints_dir=checkpoints, device="cpu")
    page.until(f"{DONE} && !document.querySelector('#made').hidden")
    assert np.array_equal(shown(page, "made"), np.asarray(back.translate(path)))
    choose_run(page, "labels")
    page.run("document.querySelector('#draw').click()")
    assert page.run("document.querySelector('#made').hidden")  # it was of another run
    assert page.complaints == []


def test_a_large_image_is_made_smaller_and_the_divider_compares(
    page: Browser, tmp_path: Path
) -> None:
    scene(1, side=600).save(tmp_path / "large.png")
    choose_run(page, "photos")
    choose(page, tmp_path / "large.png")
    page.until(DONE)
    assert shown(page, "made").shape == (48, 48, 3)  # as in training
    page.run("document.querySelector('#side').value = '0';"
             "document.querySelector('#side').dispatchEvent(new Event('change'))")  # fmt: skip
    page.until("document.querySelector('#size').textContent === '316 × 316'")  # 0.1 million
    box = "document.querySelector('#result').getBoundingClientRect()"
    x, y = page.run(f"[{box}.left + {box}.width / 4, {box}.top + {box}.height / 2]")
    page.mouse("mousePressed", x, y)
    page.mouse("mouseReleased", x, y)
    assert page.run("Number(document.querySelector('#cut').value)") == pytest.approx(25, abs=1)
    assert not page.run("document.querySelector('#divider').hidden")


def test_drawings_have_the_colours_of_the_labels_and_are_translated(page: Browser) -> None:
    page.run("document.querySelector('#draw').click()")
    colours = page.run("[...document.querySelectorAll('.swatch')].map((s) => s.title)")
    assert len(colours) > 2
    page.run("document.querySelectorAll('.swatch')[2].click()")
    drag(page, (0.2, 0.2), (0.7, 0.6))
    page.run("document.querySelector('[value=box]').click()")
    page.run("document.querySelectorAll('.swatch')[1].click()")
    drag(page, (0.5, 0.5), (0.9, 0.9))
    page.until(DONE)
    drawn = shown(page, "canvas")
    assert drawn.shape == (64, 64, 3)
    found = {"#" + bytes(colour).hex() for colour in drawn.reshape(-1, 3)}
    assert found == set(colours[:3])  # no blends
    for _ in range(2):
        page.run("document.querySelector('#undo').click()")
    assert {tuple(colour) for colour in shown(page, "canvas").reshape(-1, 3).tolist()} == {
        tuple(bytes.fromhex(colours[0][1:]))
    }
    assert page.complaints == []


@pytest.mark.parametrize(
    ("event", "side"),
    [("new ClipboardEvent('paste', {clipboardData: data})", 40),
     ("new DragEvent('drop', {dataTransfer: data, cancelable: true})", 48)],
)  # fmt: skip
def test_images_can_be_pasted_and_dropped(event: str, side: int, page: Browser) -> None:
    choose_run(page, "photos")
    page.run(f"""(async () => {{
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = {side};
      const blob = await new Promise((done) => canvas.toBlob(done));
      const data = new DataTransfer();
      data.items.add(new File([blob], "mine.png", {{ type: "image/png" }}));
      dispatchEvent({event});
    }})()""")
    page.until(f"document.querySelector('#size').textContent === '{side} × {side}'")
    assert page.complaints == []


def test_what_is_no_image_is_told_on_the_page(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    choose(page, tmp_path / "text.png")
    page.until("document.querySelector('#status').classList.contains('wrong')")
    assert "no image" in page.run("document.querySelector('#status').textContent")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_and_can_be_read(width: int, scheme: str, page: Browser) -> None:
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    page.call("Emulation.setEmulatedMedia", features=media)
    page.resize(width, 844)
    page.run("document.querySelector('#draw').click()")
    assert page.run("document.documentElement.scrollWidth") <= width
    assert min(page.run(CONTRASTS).values()) >= 4.5
    unnamed = page.run(
        "[...document.querySelectorAll('button, input, select')].filter((each) => "
        "!(each.labels?.[0] ?? each).textContent.trim() && !each.ariaLabel).length"
    )
    assert unnamed == 0
