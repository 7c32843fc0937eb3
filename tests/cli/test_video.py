"""`dlm-release video`: check, describe and status, as text and as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest


@pytest.fixture
def arguments(tmp_path: Path, dataset_of: Any, records_of: Any) -> tuple[str | Path, ...]:
    """Four records: two with a clip, one with a damaged one, one without; and a clip without a record."""
    dataset = dataset_of(tmp_path / "dataset", {"train": records_of("train", 4)})
    folder = tmp_path / "videos" / "meld" / "train_splits"
    folder.mkdir(parents=True)
    for number in (0, 1, 9):
        with av.open(str(folder / f"dia{number}_utt1.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
            picture = np.full((32, 64, 3), 50 + 100 * number % 200, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    (folder / "dia2_utt1.mp4").write_bytes(b"no film")
    return "--videos", tmp_path / "videos", "--dataset", dataset, "--set", "corpora=[meld]"


def test_clips_are_checked(run: Any, arguments: Any) -> None:
    ended = run("video", "check", "demo", *arguments, "--json")
    assert json.loads(ended.out) == {
        "with_clip": 3,
        "without_clip": ["meld/train/3/1"],
        "several_clips": {},
        "left_out": {},
        "without_record": ["meld/train_splits/dia9_utt1.mp4"],
        "unreadable": {"meld/train/2/1": "damaged: Invalid data found when processing input"},
        "skipped_pictures": {},
    }
    text = run("video", "check", "demo", *arguments).out
    assert "records with a clip: 3" in text
    assert "  meld/train/3/1" in text
    assert "clips without a record: 1" in text


def test_clips_are_described_and_the_status_told(run: Any, arguments: Any, tmp_path: Path) -> None:
    out = tmp_path / "video"
    ended = run("video", "describe", "demo", *arguments, "--out", out, "--limit", "1")
    assert ended.code == 0
    assert "Stopped: --limit 1 is reached." in ended.err
    ended = run("video", "describe", "demo", *arguments, "--out", out, "--json")
    records = json.loads(ended.out)["records"]
    assert (records["described"], records["failed"], records["missing"]) == (2, {"damaged": 1}, 1)
    shown = run("video", "status", out, "--failed").out
    assert ["meld", "2", "0", "1", "1", "0", "0"] in [line.split() for line in shown.splitlines()]
    assert "meld/train/2/1: failed: damaged" in shown
    as_data = json.loads(run("video", "status", out, "--failed", "--json").out)
    assert as_data["failures"] == {"meld/train/2/1": "failed: damaged"}


def test_a_dry_run_says_what_it_would_cost_and_how_sure_that_is(
    run: Any, arguments: Any, tmp_path: Path
) -> None:
    ended = run("video", "describe", "openai", *arguments, "--out", tmp_path / "video", "--dry-run")
    assert ended.code == 0
    assert "would be asked: 2 (equal frames once)" in ended.out
    assert "estimated cost: $0." in ended.out
    assert "prices UNVERIFIED, as of 2026-06-30" in ended.err
    assert not (tmp_path / "video").exists()
    data = json.loads(run("video", "describe", "openai", *arguments, "--dry-run", "--json").out)
    assert data["questions"] == 2


def test_mistakes_are_told(run: Any, arguments: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    out = tmp_path / "video"
    ended = run("video", "describe", "openai", *arguments, "--out", out)
    assert ended.code == 1
    assert "OPENAI_API_KEY: is not set" in ended.err
    assert run("video", "describe", "demo", *arguments, "--out", out, "--shard", "3/2").code == 1
    ended = run("video", "status", out)
    assert ended.code == 1
    assert "no ledger of video descriptions here" in ended.err
    ended = run("video", "describe", "demo", *arguments[:-1], "corpora=[dailydialog]")
    assert ended.code == 1
    assert "has no corpus that the video recipe describes" in ended.err
