"""Frames: exact for known content in every codec, and every fault of a clip by its name."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from dialoguellm_release.schemas.video import FramesRecipe
from dialoguellm_release.video.frames import ClipFault, extract_frames

RULE = FramesRecipe(count=4, max_side=512, longest_s=60.0)
CODECS = (
    ("a.mp4", "libx264", "yuv420p"),
    ("a.mp4", "libx265", "yuv420p"),
    ("a.mp4", "mpeg4", "yuv420p"),
    ("a.avi", "mpeg4", "yuv420p"),
    ("a.mov", "prores_ks", "yuv422p10le"),
    ("a.mkv", "ffv1", "yuv420p"),
    ("a.webm", "libvpx", "yuv420p"),
    ("a.webm", "libvpx-vp9", "yuv420p"),
    ("a.ts", "mpeg2video", "yuv420p"),
    ("a.ts", "libx264", "yuv420p"),
    ("a.flv", "flv", "yuv420p"),
)


@pytest.fixture
def numbers(shown: Any) -> Callable[..., list[int]]:
    """The numbers that the frames of a clip show."""

    def look(path: Path, rule: FramesRecipe = RULE, *span: float | None) -> list[int]:
        return [shown(frame.content) for frame in extract_frames(path, rule, *span).frames]

    return look


def fault_of(path: Path, *span: float | None, rule: FramesRecipe = RULE) -> str:
    with pytest.raises(ClipFault) as caught:
        extract_frames(path, rule, *span)
    return caught.value.name


@pytest.mark.parametrize(("name", "codec", "pixels"), CODECS, ids=lambda value: value)
def test_the_frames_are_those_on_the_screen_in_every_codec(
    clip: Any, numbers: Any, tmp_path: Path, name: str, codec: str, pixels: str
) -> None:
    """100 pictures in 4 s: in the middle of each quarter stand the pictures 12, 37, 62 and 87."""
    path = clip(tmp_path / name, range(100), codec=codec, pixels=pixels)
    assert numbers(path) == [12, 37, 62, 87]


def test_avi_tells_when_a_picture_is_decoded_and_so_is_a_little_off(
    clip: Any, numbers: Any, tmp_path: Path
) -> None:
    found = numbers(clip(tmp_path / "a.avi", range(100), codec="mpeg2video"))
    assert all(abs(got - number) <= 3 for got, number in zip(found, (12, 37, 62, 87), strict=True))


def test_times_and_hashes_are_those_of_the_frames(clip: Any, tmp_path: Path) -> None:
    frames = extract_frames(clip(tmp_path / "a.mp4", range(40, 140)), RULE).frames
    assert [round(frame.time_s, 2) for frame in frames] == [0.48, 1.48, 2.48, 3.48]
    assert [frame.sha256 for frame in frames] == [
        hashlib.sha256(frame.content).hexdigest() for frame in frames
    ]
    assert frames == extract_frames(tmp_path / "a.mp4", RULE).frames
    assert {(frame.width, frame.height) for frame in frames} == {(128, 32)}


def test_frames_are_made_smaller_and_never_larger(clip: Any, tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", range(40, 60), size=(320, 180))
    small = extract_frames(path, RULE.model_copy(update={"max_side": 100})).frames
    assert {(frame.width, frame.height) for frame in small} == {(100, 56)}
    assert Image.open(io.BytesIO(small[0].content)).size == (100, 56)
    coarse = extract_frames(path, RULE.model_copy(update={"quality": 10})).frames
    assert len(coarse[0].content) < len(extract_frames(path, RULE).frames[0].content)


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, dtype=np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (only,) = extract_frames(tmp_path / "a.mkv", RULE).frames
    assert (only.width, only.height) == (128, 64)


def test_a_part_of_a_long_video_gives_its_own_frames(clip: Any, numbers: Any, tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", range(1000))
    assert numbers(path, RULE, 20.0, 24.0) == [512, 537, 562, 587]
    assert numbers(path, RULE, 39.0, 99.0) == [978, 984, 990, 996]


def test_a_variable_rate_goes_by_time(clip: Any, numbers: Any, tmp_path: Path) -> None:
    """Ten pictures in the first 0.4 s, then one that stays for 3.6 s, and one at the end."""
    path = clip(tmp_path / "a.mp4", range(12), times=[*range(10), 10, 100])
    assert numbers(path) == [10]
    assert numbers(path, RULE.model_copy(update={"count": 32})) == [1, 4, 7, 10]


def test_fewer_pictures_than_frames_give_each_once(clip: Any, numbers: Any, tmp_path: Path) -> None:
    assert numbers(clip(tmp_path / "a.mp4", [3, 5])) == [3, 5]


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def test_every_fault_has_its_name(clip: Any, tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mp4", range(40, 140))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no film" * 100)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "list.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{whole}\n#EXT-X-ENDLIST\n"
    )
    assert fault_of(tmp_path / "none.mp4") == "missing"
    assert fault_of(tmp_path / "folder.mp4") == "missing"
    assert fault_of(tmp_path / "empty.mp4") == "empty"
    assert fault_of(tmp_path / "text.mp4") == "damaged"
    assert fault_of(tmp_path / "list.mp4") == "damaged"
    assert fault_of(whole, rule=RULE.model_copy(update={"longest_s": 3.9})) == "too_long"
    assert fault_of(whole, 1.0, 1.0) == "no_span"
    assert fault_of(whole, 4.5, 5.0) == "outside"
    assert fault_of(cut(clip(tmp_path / "cut.mp4", range(40, 140)), 0.5)) == "damaged"
    assert fault_of(cut(clip(tmp_path / "cut.webm", range(100), codec="libvpx"), 0.5)) == "truncated"
    assert fault_of(cut(clip(tmp_path / "cut.avi", range(100), size=(320, 240)), 0.4)) == "truncated"


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        assert isinstance(stream, av.AudioStream)
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 44100), dtype=np.float32), format="flt", layout="mono"
        )
        sound.rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    assert fault_of(tmp_path / "a.mp4") == "no_video"


@given(data=st.data())
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_clip_gives_frames_or_a_fault_and_nothing_else(
    clip: Callable[..., Path], tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "a.mp4"
    if not path.exists():
        clip(path, range(40, 90))
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=30)):
        content[place] ^= data.draw(st.integers(1, 255))
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    found: object = None
    with suppress(ClipFault):
        found = extract_frames(damaged, RULE).frames
    assert found is None or (isinstance(found, tuple) and 0 < len(found) <= RULE.count)


RED, GREEN, BLUE, WHITE = (250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 250)
NAMES = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}
ORIENTATIONS = {
    "90 clockwise": ((0, 1, -1, 0), "BRWG"),
    "180": ((-1, 0, 0, -1), "WBGR"),
    "90 counter-clockwise": ((0, -1, 1, 0), "GWRB"),
    "mirrored": ((-1, 0, 0, 1), "GRWB"),
    "upside down": ((1, 0, 0, -1), "BWRG"),
    "transposed": ((0, 1, 1, 0), "RBGW"),
    "transposed the other way": ((0, -1, -1, 0), "WGBR"),
    "as it is": ((1, 0, 0, 1), "RGBW"),
}
"""Entries a, b, c, d of the display matrix, and what is then seen from the top left to the bottom right."""


def coloured(
    path: Path, codec: str, matrix: tuple[int, int, int, int] | None, bsf: str | None = None
) -> Path:
    """A clip of 160 by 96 whose quarters are red, green, blue and white, read as a text is."""
    picture = np.zeros((96, 160, 3), np.uint8)
    picture[:48, :80], picture[:48, 80:], picture[48:, :80], picture[48:, 80:] = RED, GREEN, BLUE, WHITE
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        if matrix is not None:
            a, b, c, d = (one << 16 for one in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        filtered = av.BitStreamFilterContext(bsf, stream) if bsf else None
        packets = [
            packet for number in range(5) for packet in stream.encode(_numbered(picture, number))
        ] + list(stream.encode())
        for packet in packets:
            container.mux(filtered.filter(packet) if filtered else packet)
    return path


def _numbered(picture: Any, number: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, 10)
    return frame


def quarters(path: Path, max_side: int = 512) -> tuple[tuple[int, int], str]:
    """Size of the first frame, and the colours of its quarters."""
    frame = extract_frames(path, RULE.model_copy(update={"max_side": max_side})).frames[0]
    image = Image.open(io.BytesIO(frame.content)).convert("RGB")
    assert image.size == (frame.width, frame.height)
    places = [(x, y) for y in (0.25, 0.75) for x in (0.25, 0.75)]
    pixels = [image.getpixel((int(x * image.width), int(y * image.height))) for x, y in places]
    return image.size, "".join(NAMES[tuple(int(value > 128) for value in pixel)] for pixel in pixels)  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mp4", "mpeg4"),
        ("a.mov", "libx264"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx"),
    ],
)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_frames_are_upright_in_every_container_that_states_an_orientation(
    orientation: str, name: str, codec: str, tmp_path: Path
) -> None:
    matrix, seen = ORIENTATIONS[orientation]
    path = coloured(tmp_path / name, codec, matrix)
    is_turned = matrix[0] == 0
    assert quarters(path) == ((96, 160) if is_turned else (160, 96), seen)
    assert quarters(path, 80) == ((48, 80) if is_turned else (80, 48), seen)


@pytest.mark.parametrize(
    ("bsf", "seen"),
    [("rotate=90", "GWRB"), ("rotate=180", "WBGR"), ("flip=horizontal", "GRWB"), ("flip=vertical", "BWRG")],
)
def test_an_orientation_inside_the_video_stream_counts_too(bsf: str, seen: str, tmp_path: Path) -> None:
    path = coloured(tmp_path / "a.ts", "libx264", None, f"h264_metadata=display_orientation=insert:{bsf}")
    assert quarters(path)[1] == seen


def test_the_hash_of_a_frame_is_of_the_upright_picture(tmp_path: Path) -> None:
    stored = extract_frames(coloured(tmp_path / "a.mp4", "libx264", None), RULE).frames[0]
    turned = extract_frames(coloured(tmp_path / "b.mp4", "libx264", (0, 1, -1, 0)), RULE).frames[0]
    assert stored.sha256 != turned.sha256
    assert turned.sha256 == hashlib.sha256(turned.content).hexdigest()


def test_pictures_that_cannot_be_decoded_are_counted(clip: Any, tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", range(40, 90), codec="ffv1", gop=1)
    assert extract_frames(path, RULE).skipped == 0
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        damaged = [(packet.pos or 0, packet.size) for packet in packets[4:8]]
    content = bytearray(path.read_bytes())
    for position, size in damaged:
        content[position + size // 2 : position + size] = bytes(size - size // 2)
    path.write_bytes(content)
    assert 0 < extract_frames(path, RULE).skipped <= 8
