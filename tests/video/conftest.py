"""Clips of known content, the server that speaks the API, and datasets whose records have clips."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

SERVER = Path(__file__).with_name("server.py")
KEY = "sk-test-0123456789"
FOLDERS = {
    "train": "train_splits",
    "validation": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}


BITS = 16


def write_clip(
    path: Path,
    numbers: Sequence[int],
    *,
    codec: str = "mpeg4",
    times: Sequence[int] | None = None,
    fps: int = 25,
    gop: int = 12,
    size: tuple[int, int] = (128, 32),
    pixels: str = "yuv420p",
) -> Path:
    """A clip whose pictures show their numbers, in stripes that count in binary; no codec can blur them away.

    Args:
        times: When each comes onto the screen, in frames; None for one after the other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.gop_size = gop
        stream.codec_context.time_base = Fraction(1, fps)
        for place, number in zip(times or range(len(numbers)), numbers, strict=True):
            frame = av.VideoFrame.from_ndarray(striped(number, size), format="rgb24")
            frame.pts, frame.time_base = place, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def striped(number: int, size: tuple[int, int]) -> Any:
    """A picture of a number."""
    stripes = np.array([40 + 180 * (number >> bit & 1) for bit in range(BITS)], dtype=np.uint8)
    row = stripes[np.arange(size[0]) * BITS // size[0]]
    return np.broadcast_to(row[None, :, None], (size[1], size[0], 3)).copy()


def number_in(content: bytes) -> int:
    """The number that a JPEG shows."""
    image = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    stripes = np.array_split(image.mean(axis=0), BITS)
    return sum(int(stripe[len(stripe) // 2] > 128) << bit for bit, stripe in enumerate(stripes))


@pytest.fixture(scope="session")
def clip() -> Callable[..., Path]:
    """Writes a clip whose pictures show their numbers."""
    return write_clip


@pytest.fixture(scope="session")
def shown() -> Callable[[bytes], int]:
    """Reads the number that a frame shows."""
    return number_in


@dataclass(frozen=True)
class Filmed:
    """A dataset, and a folder with a clip for each of its records."""

    dataset: Path
    videos: Path
    ids: tuple[str, ...]

    def clip_of(self, record_id: str) -> Path:
        _, split, dialogue, utterance = record_id.split("/")
        return self.videos / "meld" / FOLDERS[split] / f"dia{dialogue}_utt{utterance}.mp4"


@pytest.fixture(scope="session")
def filmed_of(dataset_of: Any, records_of: Any) -> Callable[[Path, int], Filmed]:
    """Makes so many training records of MELD and a clip for each, all of them different."""

    def make(folder: Path, count: int) -> Filmed:
        records = records_of("train", count)
        dataset = dataset_of(folder / "dataset", {"train": records})
        made = Filmed(dataset, folder / "videos", tuple(record.id for record in records))
        for number, record_id in enumerate(made.ids):
            write_clip(made.clip_of(record_id), [number, number], fps=10, size=(64, 16))
        return made

    return make


@pytest.fixture(scope="session")
def filmed(filmed_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    """60 records with a clip each; not to be changed."""
    made: Filmed = filmed_of(tmp_path_factory.mktemp("filmed"), 60)
    return made


class Server:
    """The server in a process of its own."""

    def __init__(self, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER), *options], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()

    def log(self) -> list[dict[str, Any]]:
        """Every request that came."""
        return list(self._call("/log")["requests"])

    def most_active(self) -> int:
        """How many requests were open at most."""
        return int(self._call("/log")["most_active"])

    def mode(self, **mode: Any) -> None:
        """Changes how it behaves from now on."""
        self._call("/mode", json.dumps(mode).encode())

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _call(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(self.address + path, body) as answer:
            return dict(json.load(answer))


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Starts servers; the key that they want is in the environment."""
    servers = []
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def start(faults: dict[str, float] | None = None, *options: str) -> Server:
        server = Server("--faults", json.dumps(faults or {}), "--key", KEY, *options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def settings() -> Callable[..., list[str]]:
    """The overrides with which the recipe `openai` asks a server of ours."""

    def make(server: Server, *more: str) -> list[str]:
        ours = ["corpora=[meld]", "frames.count=2", f"describer.base_url={server.address}/v1"]
        return list({one.partition("=")[0]: one for one in [*ours, *more]}.values())

    return make


@pytest.fixture
def command() -> Callable[..., subprocess.Popen[str]]:
    """Starts `dlm-release video describe` in a process of its own."""

    def start(filmed: Filmed, out: Path, settings: list[str], *options: str) -> subprocess.Popen[str]:
        changes = [part for setting in settings for part in ("--set", setting)]
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "dialoguellm_release.cli.main", "video", "describe", "openai"),
                *("--videos", str(filmed.videos), "--dataset", str(filmed.dataset), "--out", str(out)),
                *(*changes, *options, "--json"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ.copy(),
        )

    return start
