"""Frames of clips: found by seeking, turned upright, resized, encoded, hashed.

The rule `evenly_spaced` cuts the clip into `count` equal parts and takes the picture that is on the screen in
the middle of each. It goes by time, so a variable frame rate needs no special case.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import struct
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dialoguellm_release.errors import needing
from dialoguellm_release.folders import sha256_of
from dialoguellm_release.schemas.video import FramesRecipe
from dialoguellm_release.video.clips import Clip

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

FaultName = Literal[
    "missing", "empty", "damaged", "no_video", "truncated", "too_long", "no_duration", "outside", "no_span"
]
"""Why a clip gives no frames."""

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpegts,mpeg,flv,asf,ogg"
"""What is read. Why: a playlist with the suffix of a clip would make the library open other files."""

BACK_S = (0, 2, 10, 60, 86400)
"""How far before a time to seek, in turn: in a file without an index, seeking may end behind the time."""

SLACK_S = 1.0
"""How far a clip may end before its own duration; sound often outlasts the pictures by less."""


@dataclass(eq=False)
class ClipFault(Exception):
    """A clip that gives no frames: which fault, and what was found, in numbers where there are some."""

    name: FaultName
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


@dataclass(frozen=True)
class Frame:
    """A picture of a clip as it is shown to a model, upright: a JPEG, and its time from the file's start."""

    time_s: float
    width: int
    height: int
    content: bytes
    sha256: str


@dataclass(frozen=True)
class ClipFrames:
    """The frames of a clip in their order, each once."""

    frames: tuple[Frame, ...]
    # Pictures that the decoder reported as corrupt, or could not decode, on the way to the frames.
    skipped: int = 0


def extract_frames(
    path: Path, rule: FramesRecipe, start_s: float | None = None, end_s: float | None = None
) -> ClipFrames:
    """The frames of a clip.

    Args:
        start_s: Where in the file the clip begins; None for the whole file.
        end_s: Where it ends; None likewise.
    """
    with needing("video"):
        import av

    if not path.is_file():
        raise ClipFault("missing", "no file here")
    if not path.stat().st_size:
        raise ClipFault("empty", "0 bytes")
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    try:
        with av.open(str(path), options=options) as container:
            clip = _Clip(container)
            return ClipFrames(clip.frames(rule, start_s, end_s), clip.skipped)
    except av.FFmpegError as error:
        raise ClipFault("damaged", str(error.strerror)) from error
    except UnicodeDecodeError as error:  # the library reads names of formats and titles as UTF-8
        raise ClipFault("damaged", "text in it is not UTF-8") from error


class _Clip:
    """An open clip, and the position of the decoder in it."""

    def __init__(self, container: InputContainer) -> None:
        from av.video.reformatter import VideoReformatter

        self.container = container
        self.stream = _pictures(container)
        self.stream.thread_type = "NONE"
        self.resizer = VideoReformatter()
        self.begin = self.stream.start_time or 0
        self.duration_s = self._duration_s()
        self.decoded: Iterator[VideoFrame] = iter(())
        self.shown: VideoFrame | None = None
        self.coming: VideoFrame | None = None
        self.skipped = 0

    def frames(self, rule: FramesRecipe, start_s: float | None, end_s: float | None) -> tuple[Frame, ...]:
        first = 0.0 if start_s is None else start_s
        self._refuse_half_a_file()
        last = self.duration_s if end_s is None else min(end_s, self.duration_s)
        if end_s is not None and end_s <= first:
            raise ClipFault("no_span", f"from {first:.3f} s to {end_s:.3f} s")
        if last <= first:
            raise ClipFault("outside", f"begins at {first:.3f} s of {self.duration_s:.3f} s")
        length = last - first
        if length > rule.longest_s:
            raise ClipFault("too_long", f"{length:.3f} s, at most {rule.longest_s:g} s")
        times = [first + (part + 0.5) * length / rule.count for part in range(rule.count)]
        distinct = {picture.pts: picture for picture in map(self._at, times)}
        return tuple(self._encoded(picture, rule) for picture in distinct.values())

    def _refuse_half_a_file(self) -> None:
        """An AVI file states how many pictures it has, and its duration follows from its size."""
        rate = self.stream.average_rate
        promised_s = float(self.stream.frames / rate) if rate else 0.0
        if promised_s - self.duration_s > SLACK_S:
            raise ClipFault("truncated", f"{self.duration_s:.3f} s of {promised_s:.3f} s")

    def _at(self, time_s: float) -> VideoFrame:
        """The picture that is on the screen at a time; called with times in their order."""
        target = self.begin + math.floor(time_s / self._unit_s + 1e-6)
        self._seek(target)
        while self.coming is None or self._pts(self.coming) <= target:
            self.shown = self.coming or self.shown
            self.coming = next(self.decoded, None)
            if self.coming is None:
                return self._last(target)
        return self.shown or self.coming

    def _last(self, target: int) -> VideoFrame:
        """The last picture, where it stays on the screen until the target."""
        if self.shown is None:
            raise ClipFault("damaged", "no picture can be decoded")
        end = self._pts(self.shown) + (self.shown.duration or 0)
        if (missing_s := (target - end) * self._unit_s) > SLACK_S:
            at_s = (end - self.begin) * self._unit_s
            raise ClipFault("truncated", f"ends at {at_s:.3f} s, {missing_s:.3f} s before a frame")
        return self.shown

    def _seek(self, target: int) -> None:
        """Goes to the last key frame before the target, unless the decoder is past it already."""
        import av

        place = self.coming or self.shown
        if place is not None and self._key_before(target) <= self._pts(place):
            return
        for back_s in BACK_S:
            with suppress(av.FFmpegError):  # a file without seeking is decoded from the present position
                self.container.seek(target - round(back_s / self._unit_s), stream=self.stream)
            self.decoded = self._decode()
            self.shown, self.coming = None, next(self.decoded, None)
            if self.coming is not None and self._pts(self.coming) <= target:
                return

    def _key_before(self, target: int) -> int:
        """The time of the last key frame before a target, as the file's index knows it; else the target."""
        index = self.stream.index_entries
        place = index.search_timestamp(target)
        return int(index[place].timestamp) if place >= 0 else target

    def _decode(self) -> Iterator[VideoFrame]:
        """The pictures from here on; what is corrupt or cannot be decoded is skipped and counted."""
        import av

        for packet in self.container.demux(self.stream):
            try:
                for picture in packet.decode():
                    if picture.pts is None or picture.is_corrupt:
                        self.skipped += 1
                    else:
                        yield picture
            except av.InvalidDataError:
                self.skipped += 1

    def _encoded(self, picture: VideoFrame, rule: FramesRecipe) -> Frame:
        from av.video.reformatter import Interpolation
        from PIL.Image import frombuffer

        shape = picture.width * float(self.stream.sample_aspect_ratio or 1), float(picture.height)
        scale = min(1.0, rule.max_side / max(shape))
        width, height = (max(1, round(side * scale)) for side in shape)
        exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
        resized = self.resizer.reformat(picture, width, height, "rgb24", interpolation=exact, threads=1)
        pixels: Any = resized.planes[0]  # VideoFrame.to_image copies them more often, and holds Python's lock
        image = frombuffer("RGB", (width, height), pixels, "raw", "RGB", pixels.line_size, 1)
        image = upright(image, _matrix_of(picture))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=rule.quality)
        content = file.getvalue()
        time_s = (self._pts(picture) - self.begin) * self._unit_s
        return Frame(time_s, image.width, image.height, content, hashlib.sha256(content).hexdigest())

    def _duration_s(self) -> float:
        """The duration of the stream, else of the file, else of its packets, which are not decoded."""
        if self.stream.duration:
            return self.stream.duration * self._unit_s
        if self.container.duration:
            return self.container.duration / 1_000_000
        ends = [
            packet.pts + (packet.duration or 0) for packet in self.container.demux(self.stream) if packet.pts
        ]
        if not ends:
            raise ClipFault("no_duration", "neither the file nor its packets state a duration")
        self.container.seek(self.begin, stream=self.stream)
        return (max(ends) - self.begin) * self._unit_s

    @property
    def _unit_s(self) -> float:
        return float(self.stream.time_base or 0)

    @staticmethod
    def _pts(picture: VideoFrame) -> int:
        assert picture.pts is not None
        return picture.pts


def _pictures(container: InputContainer) -> VideoStream:
    """The video stream; the cover picture of a piece of music is none."""
    from av.stream import Disposition

    moving = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not moving:
        kinds = ", ".join(sorted({one.type for one in container.streams})) or "none"
        raise ClipFault("no_video", f"streams: {kinds}")
    return moving[0]


Matrix = tuple[int, int, int, int]
"""The entries a, b, c, d of a display matrix: x' = a x + c y and y' = b x + d y."""


def _matrix_of(picture: VideoFrame) -> Matrix | None:
    """How a picture has to be turned or mirrored, as container or codec say; None where neither does."""
    from av.sidedata.sidedata import Type

    side_data: Any = picture.side_data
    stated = side_data.get(Type.DISPLAYMATRIX)
    if stated is None or len(content := bytes(stated)) < 36:
        return None
    a, b, _, c, d, *_ = struct.unpack("=9i", content[:36])
    return a, b, c, d


def upright(image: Image, matrix: Matrix | None) -> Image:
    """An image as its display matrix shows it, by quarter turns and mirroring.

    Source: `libavutil/display.h`; an angle between two quarter turns counts as the nearer one.
    """
    from PIL.Image import Transpose

    if matrix is None or not any(matrix):
        return image
    a, b, c, d = matrix
    is_turned = abs(b) + abs(c) > abs(a) + abs(d)
    if is_turned:
        image = image.transpose(Transpose.TRANSPOSE)
    if (c if is_turned else a) < 0:
        image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
    if (b if is_turned else d) < 0:
        image = image.transpose(Transpose.FLIP_TOP_BOTTOM)
    return image


AHEAD = 4
"""Clips per core that are decoded ahead."""


class SeenFile(NamedTuple):
    """A file at the time when its frames were taken."""

    bytes: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Extracted:
    """The frames of a clip, or why it has none."""

    clip: Clip
    file: SeenFile | None  # None where the clip cannot be read at all
    frames: tuple[Frame, ...]
    fault: ClipFault | None  # None where there are frames
    skipped: int = 0


def extract_all(
    clips: Iterable[Clip],
    rule: FramesRecipe,
    known: Mapping[str, SeenFile],
    workers: int | None = None,
) -> Generator[Extracted, None, None]:
    """The frames of each clip, in their order.

    Why threads: decoding and resizing, nearly all of the work, release Python's lock, and no process copies
    frames to another.

    Args:
        known: Size, modification time and hash of files by name, so that an episode is hashed once.
        workers: How many clips are decoded at a time; None for one per core.
    """
    count = workers or os.cpu_count() or 1
    seen = dict(known)
    coming: deque[Future[Extracted]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="frames") as pool:
        try:
            for clip in clips:
                coming.append(pool.submit(_extract, clip, rule, seen))
                if len(coming) > AHEAD * count:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _extract(clip: Clip, rule: FramesRecipe, seen: dict[str, SeenFile]) -> Extracted:
    file = None
    try:
        file = _seen(clip, seen)
        taken = extract_frames(clip.path, rule, clip.start_s, clip.end_s)
    except ClipFault as fault:
        return Extracted(clip, file, (), fault)
    except OSError as error:
        return Extracted(clip, file, (), ClipFault("missing", error.strerror or str(error)))
    return Extracted(clip, file, taken.frames, None, taken.skipped)


def _seen(clip: Clip, seen: dict[str, SeenFile]) -> SeenFile:
    """Size and hash of the file; it is hashed again only where size or time differ."""
    stat = clip.path.stat()
    known = seen.get(clip.name)
    if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
        known = seen[clip.name] = SeenFile(stat.st_size, stat.st_mtime_ns, sha256_of(clip.path))
    return known
