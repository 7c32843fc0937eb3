"""The frames of many clips, on every core, in the order of the clips and a little ahead of who takes them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from dialoguellm_release.folders import sha256_of
from dialoguellm_release.schemas.recipes.video import FramesRecipe
from dialoguellm_release.video.clips import Clip
from dialoguellm_release.video.frames import ClipFault, Frame, extract_frames

AHEAD = 4
"""Clips a core that are decoded before they are asked for."""


@dataclass(frozen=True)
class SeenFile:
    """A file as it was when its frames were taken."""

    name: str
    bytes: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Extracted:
    """The frames of a clip, or why it has none.

    Attributes:
        file: None where the clip could not even be read.
        fault: None where there are frames.
    """

    clip: Clip
    file: SeenFile | None
    frames: tuple[Frame, ...]
    fault: ClipFault | None


def extract_all(
    clips: Iterable[Clip],
    rule: FramesRecipe,
    known: Mapping[str, tuple[int, int, str]],
    workers: int | None = None,
) -> Generator[Extracted, None, None]:
    """The frames of each clip, in their order.

    Why threads: decoding, resizing and encoding leave Python's lock, and bytes need not be copied.

    Args:
        known: Size, time of change and hash of files by name, so that an episode is hashed once.
        workers: How many clips are decoded at a time; None for one a core.
    """
    count = workers or os.cpu_count() or 1
    seen = dict(known)
    source = iter(clips)
    coming: deque[Future[Extracted]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="frames") as pool:
        try:
            for clip in islice(source, AHEAD * count):
                coming.append(pool.submit(_extract, clip, rule, seen))
            while coming:
                extracted = coming.popleft().result()
                for clip in islice(source, 1):
                    coming.append(pool.submit(_extract, clip, rule, seen))
                yield extracted
        finally:
            pool.shutdown(cancel_futures=True)


def _extract(clip: Clip, rule: FramesRecipe, seen: dict[str, tuple[int, int, str]]) -> Extracted:
    file = None
    try:
        file = _seen(clip, seen)
        frames = extract_frames(clip.path, rule, clip.start_s, clip.end_s)
    except ClipFault as fault:
        return Extracted(clip, file, (), fault)
    except OSError as error:
        return Extracted(clip, file, (), ClipFault("missing", error.strerror or str(error)))
    return Extracted(clip, file, frames, None)


def _seen(clip: Clip, seen: dict[str, tuple[int, int, str]]) -> SeenFile:
    """The file's size and hash; the hash is taken again only where size or time differ."""
    stat = clip.path.stat()
    known = seen.get(clip.name)
    if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
        known = (stat.st_size, stat.st_mtime_ns, sha256_of(clip.path))
        seen[clip.name] = known
    return SeenFile(clip.name, *known)
