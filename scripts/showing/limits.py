"""What scripts/show.py refuses: too much at once, or no image at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # no others are opened


class Refused(Exception):  # noqa: N818 - what it is called in messages
    """A request that is not served: the status of the answer, and what is wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Limits:
    """How much is taken in; what waits is counted before it is read."""

    upload_bytes: int
    pixels: int
    queue: int
    waiting: int = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place in the queue for a while.

        Raises:
            Refused: all are taken.
        """
        if self.waiting >= self.queue:
            raise Refused(503, f"{self.waiting} images are waiting already. Try again in a second.")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @property
    def _most(self) -> str:
        return f"{self.pixels / 1e6:g} million pixels"

    def require_bytes(self, count: int) -> None:
        """Refuse an upload of more bytes."""
        if count > self.upload_bytes:
            raise Refused(413, f"An upload has at most {self.upload_bytes / 2**20:.0f} MiB.")

    def open(self, body: bytes) -> Image.Image:
        """Return the image in an upload, decoded; its size is looked at first.

        Raises:
            Refused: there is none, it is broken, or too large.
        """
        try:
            image = Image.open(BytesIO(body), formats=FORMATS)
        except Image.DecompressionBombError:
            raise Refused(413, f"The image is larger than {self._most}.") from None
        except Exception:  # noqa: BLE001 - whatever a decoder trips over
            names = ", ".join(FORMATS)
            raise Refused(415, f"This is no image that can be read here: {names}.") from None
        width, height = image.size
        if width * height > self.pixels:
            raise Refused(413, f"The image is {width}x{height}, larger than {self._most}.")
        try:
            image.load()
        except Exception as error:  # noqa: BLE001 - whatever a decoder trips over
            raise Refused(415, f"The image is broken ({error}).") from None
        return image
