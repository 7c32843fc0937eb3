"""Records a second, described by `video describe` and by a sequential client, against the same server.

    python bench/describing.py [--records 5000] [--answer-ms 50] [--concurrency 64] [--rounds 5]

ours        clips to ledger: frames taken, hashed and encoded; every request in the ledger before it is sent,
            every answer as soon as it comes; by the official client.
sequential  the official client in a loop, with `responses.create`, over frames that were taken beforehand; no
            ledger. It is measured on the first 100 records.

The rounds alternate, each with a new ledger.

The server is a process of its own on the same machine (tests/video/server.py). Goal: 20 times faster.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from openai import OpenAI

from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.video import ServedDescriber, VideoRecipe
from dialoguellm_release.steps.video import describe_clips, video_status
from dialoguellm_release.video.frames import extract_frames
from dialoguellm_release.video.questions import request_body

TESTS = Path(__file__).parents[1] / "tests"
SEQUENTIAL = 100


def loaded_tests(name: str, path: Path) -> Any:
    """A module of the tests, which make clips, records and datasets."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def sequential(address: str, recipe: VideoRecipe, clips: list[Path]) -> float:
    """Records a second."""
    assert isinstance(recipe.describer, ServedDescriber)
    shown = [extract_frames(path, recipe.frames).frames for path in clips]
    with OpenAI(base_url=f"{address}/v1", api_key="none") as client:
        start = time.perf_counter()
        for frames in shown:
            body = request_body(recipe.describer, recipe.prompt, frames)
            assert client.responses.create(**body).output_text
        return len(clips) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--answer-ms", type=float, default=50.0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "none"
    records_of = loaded_tests("tests_conftest", TESTS / "conftest.py")
    clips_of = loaded_tests("video_conftest", TESTS / "video" / "conftest.py")

    server = subprocess.Popen(
        [sys.executable, str(TESTS / "video" / "server.py"), "--answer-ms", str(arguments.answer_ms)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    try:
        with tempfile.TemporaryDirectory() as folder:
            records = records_of.make_records("train", arguments.records)
            dataset = records_of.write_dataset(Path(folder, "dataset"), {"train": records})
            videos = Path(folder, "videos")
            clips = [
                clips_of.write_clip(
                    videos / "meld" / "train_splits" / f"dia{number}_utt1.mp4", [number] * 2, size=(64, 16)
                )
                for number in range(len(records))
            ]
            changes = [
                "corpora=[meld]",
                "frames.count=1",
                f"describer.base_url={address}/v1",
                f"describer.concurrency={arguments.concurrency}",
            ]
            recipe = load_recipe("openai", "video", VideoRecipe, changes).recipe
            before, ours = list[float](), list[float]()
            for number in range(arguments.rounds):
                before.append(sequential(address, recipe, clips[:SEQUENTIAL]))
                start, out = time.perf_counter(), Path(folder, f"video-{number}")
                describe_clips("openai", videos, dataset, out, overrides=changes)
                ours.append(len(records) / (time.perf_counter() - start))
                assert video_status(out).records.described == len(records)
    finally:
        server.kill()
    ratios = [new / old for new, old in zip(ours, before, strict=True)]
    for name, values in (("sequential, a second", before), ("ours, a second", ours), ("times", ratios)):
        print(f"{name}: {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
    print("goal: 20 times")


if __name__ == "__main__":
    main()
