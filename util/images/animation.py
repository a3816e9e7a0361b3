"""Write animations: GIF and WebP, which begin anew at their end, and MP4."""

from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from util.base.errors import UserError
from util.storage.files import replacing

ENDINGS = (".gif", ".webp", ".mp4")


def write_animation(
    path: Path, frames: Sequence[Image.Image], seconds: float, *, last: int = 1
) -> None:
    """Write frames of one size, each shown for so many `seconds`; the ending says how.

    The `last` frame of a GIF or WebP is shown so many times as long.

    Raises:
        UserError: the package that writes MP4 is missing.
    """
    if path.suffix.lower() == ".mp4":
        _write_video(path, frames, seconds)
        return
    times = [round(1000 * seconds)] * (len(frames) - 1) + [round(last * 1000 * seconds)]
    with replacing(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=times, loop=0)


def mp4_problem() -> str:
    """Say why MP4 cannot be written, and what to do; nothing if it can."""
    if find_spec("av") is not None:
        return ""
    return (
        "MP4 needs the package av, which is not installed. Install it (pip install av, or uv sync "
        "--extra video), or write a .gif or .webp."
    )


def _write_video(path: Path, frames: Sequence[Image.Image], seconds: float) -> None:
    """Write MP4 (H.264), whose sides are even: an odd one loses a row or column of pixels."""
    if problem := mp4_problem():
        raise UserError(problem)
    import av

    width, height = (side - side % 2 for side in frames[0].size)
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=Fraction(1 / seconds).limit_denominator(1000))
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p"
        for image in frames:
            cut = image.crop((0, 0, width, height))
            for packet in stream.encode(av.VideoFrame.from_image(cut)):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
