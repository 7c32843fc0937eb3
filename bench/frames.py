"""Milliseconds to take the frames of a clip: by its length, by seeking and not, on one core and on two.

    python bench/frames.py [--minutes 0.5 2 16] [--rounds 5]

The clips have the same pictures at the same rate, and a key frame every two seconds. Frames are taken of 40
spans of 4 s, each anywhere in the clip, in processor time of this process, as others may be at work; one
thread and two are compared by the clock, in turn, and need two quiet cores.
Goals: the longest takes at most 1.5 times as long as the shortest; two threads are 1.8 times as fast as one.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from dialoguellm_release.schemas.video import FramesRecipe
from dialoguellm_release.video.clips import Clip
from dialoguellm_release.video.frames import extract_all, extract_frames

RULE = FramesRecipe(count=4, max_side=512, longest_s=86400.0)
FPS = 24
SPANS = 40
SPAN_S = 4.0


def write(path: Path, seconds: float) -> Path:
    """A clip of 640 by 360 in H.264; a few pictures that come again and again."""
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 255, (FPS, 45, 80, 3), dtype=np.uint8)
    frames = [
        av.VideoFrame.from_ndarray(np.ascontiguousarray(one.repeat(8, 0).repeat(8, 1)), format="rgb24")
        for one in noise
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 640, 360, "yuv420p", 2 * FPS
        for number in range(int(seconds * FPS)):
            frame = frames[number % FPS]
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decode_all(path: Path) -> None:
    """What a client does that decodes from the start and keeps four pictures."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for _ in container.decode(stream):
            pass


def cpu_ms(work: Callable[[], object]) -> float:
    """Milliseconds of processor time."""
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def span_ms(path: Path, seconds: float) -> float:
    """The mean over spans that are drawn evenly; the same share of every length."""
    draw = random.Random(0)
    starts = [draw.random() * (seconds - SPAN_S) for _ in range(SPANS)]
    return statistics.mean(
        cpu_ms(lambda start=start: extract_frames(path, RULE, start, start + SPAN_S))  # type: ignore[misc]
        for start in starts
    )


def rate(clips: list[Clip], workers: int) -> float:
    """Clips a second."""
    start = time.perf_counter()
    assert all(one.fault is None for one in extract_all(clips, RULE, {}, workers))
    return len(clips) / (time.perf_counter() - start)


def shown(values: list[float], unit: str = "") -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f}{unit} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, nargs="*", default=[0.5, 2, 16])
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = {minutes: write(Path(folder, f"{minutes}.mp4"), 60 * minutes) for minutes in asked.minutes}
        for path in paths.values():
            extract_frames(path, RULE, 0, SPAN_S)  # reads the libraries into memory
        seeking = [{n: span_ms(path, 60 * n) for n, path in paths.items()} for _ in range(asked.rounds)]
        for minutes, path in paths.items():
            whole = cpu_ms(lambda path=path: decode_all(path))  # type: ignore[misc]
            by_seeking = shown([one[minutes] for one in seeking], " ms")
            print(f"{minutes:5g} min: {by_seeking} by seeking, {whole:,.0f} ms to decode all", flush=True)
        longest, shortest = max(paths), min(paths)
        ratios = shown([one[longest] / one[shortest] for one in seeking])
        print(f"longest / shortest: {ratios}; goal: at most 1.5")

        short = write(Path(folder, "short.mp4"), 4)
        clips = [Clip(str(number), str(number), short, None, None) for number in range(60)]
        rates = [(rate(clips, 1), rate(clips, 2)) for _ in range(asked.rounds)]
        for threads, held in zip(("one thread", "two threads"), zip(*rates, strict=True), strict=True):
            print(f"clips of 4 s: {shown(list(held), ' a second')} by {threads}")
        print(f"two threads / one: {shown([two / one for one, two in rates])}; goal: at least 1.8")


if __name__ == "__main__":
    main()
