"""Translate videos, frame by frame; sound is copied as it is."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from util.base.errors import UserError
from util.base.log import warn
from util.storage.files import replacing

CODECS = {".webm": "libvpx-vp9"}  # of pictures, by the ending of the file; else
H264 = "libx264"
QUALITY = {"crf": "18"}  # hardly to be told from the frames
TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180,
         270: Image.Transpose.ROTATE_270}  # fmt: skip
Frames = Callable[[Iterator[Image.Image]], Iterable[Image.Image]]


def video_problem() -> str:
    """Say why videos cannot be read and written, and what to do; nothing if they can."""
    if find_spec("av") is not None:
        return ""
    return (
        "Videos need the package av, which is not installed. Install it: pip install av, or uv "
        "sync --extra video."
    )


class VideoFacts(NamedTuple):
    """What a video says of itself."""

    frames: int
    pixels: int  # of a frame

    @classmethod
    def of(cls, path: Path) -> "VideoFacts":
        """Look at a video's header.

        Raises:
            UserError: it cannot be opened, or has no frames.
        """
        with _opened(path) as video:
            stream = video.streams.video[0]
            seconds = float((video.duration or 0) / 1_000_000)
            frames = stream.frames or round(seconds * float(stream.average_rate or 0))
            return cls(frames, stream.width * stream.height)


def translate_video(source: Path, target: Path, translate: Frames) -> None:
    """Write a video of what `translate` makes of the frames of another, with its sound.

    Sides of the frames are even: an odd one loses a row or column of pixels.

    Raises:
        UserError: it cannot be read, or its frames cannot be translated.
    """
    import av

    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        _opened(source) as video,
        replacing(target) as temporary,
        _errors_naming(source),
        av.open(str(temporary), "w") as out,
    ):
        _translate(video, out, target, translate)


def _translate(video: Any, out: Any, target: Path, translate: Frames) -> None:
    import av

    pictures = video.streams.video[0]
    pictures.thread_type = "AUTO"
    sound = _copied_sound(video, out, target)
    made = out.add_stream(CODECS.get(target.suffix.lower(), H264), rate=_rate(pictures))
    times: deque[tuple[int | None, Fraction]] = deque()
    heard: deque[Any] = deque()  # before the first frame is made, which says how large they are

    def frames() -> Iterator[Image.Image]:
        for packet in video.demux(pictures, *sound):
            if packet.stream in sound:
                heard.append(packet)
                continue
            for frame in packet.decode():
                times.append((frame.pts, frame.time_base))
                yield _upright(frame)

    for image in translate(frames()):
        pts, time_base = times.popleft()
        if not made.codec_context.is_open:
            _set_up(made, image.size, time_base)
        frame = av.VideoFrame.from_image(image.crop((0, 0, made.width, made.height)))
        frame.pts, frame.time_base = pts, time_base
        out.mux(made.encode(frame))
        _mux_sound(heard, sound, out)
    out.mux(made.encode())
    _mux_sound(heard, sound, out)


def _set_up(stream: Any, size: tuple[int, int], time_base: Fraction) -> None:
    stream.width, stream.height = (side - side % 2 for side in size)
    stream.pix_fmt, stream.options = "yuv420p", QUALITY
    stream.codec_context.time_base = time_base


def _mux_sound(heard: deque[Any], sound: Mapping[Any, Any], out: Any) -> None:
    while heard:
        packet = heard.popleft()
        if packet.dts is not None:  # else it says that there is no more
            packet.stream = sound[packet.stream]
            out.mux(packet)


def _copied_sound(video: Any, out: Any, target: Path) -> dict[Any, Any]:
    """Return for each stream of sound the one that it is copied to."""
    copies = {}
    for stream in video.streams.audio:
        try:
            copies[stream] = out.add_stream_from_template(stream)
        except (ValueError, OSError):
            name = stream.codec_context.name
            warn(f"{target} is without sound: such a file cannot hold {name}. Name a .mkv.")
    return copies


def _rate(stream: Any) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _upright(frame: Any) -> Image.Image:
    """Return a frame as telephones show it, who note how they were held."""
    image: Image.Image = frame.to_image()
    turn = TURNS.get(int(getattr(frame, "rotation", 0)) % 360)
    return image if turn is None else image.transpose(turn)


def _opened(path: Path) -> Any:
    if problem := video_problem():
        raise UserError(f"{path}: {problem}")
    import av

    with _errors_naming(path):
        video = av.open(str(path))
    if not video.streams.video:
        video.close()
        raise UserError(f"{path} holds no video.")
    return video


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Let what the library says of a file be a UserError that names it."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        why = error.strerror or type(error).__name__
        raise UserError(f"{path} cannot be read or written as a video: {why}.") from error
