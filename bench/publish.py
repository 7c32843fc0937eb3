"""500 files and 200 MB published to a local Hub, against a bare `create_commit` of them, side by side.

    python bench/publish.py [--files 500] [--megabytes 200] [--rounds 5]

ours    `publish_release`: the folder's hashes are checked and every gate looks at the files, the target is
        compared, the repository made, the files uploaded, committed, read back by hash and tagged.
bare    `HfApi.create_repo` and `create_commit` of the same files, which hashes them by itself.

Twice: with weights (safetensors, of which the search for secrets reads the header) and with pictures (of
which it reads every byte). Half of the bytes are in one file of twenty. The rounds alternate, each on a new
Hub in a process of its own; the files are in memory. Xet is off, as no Xet storage runs here.
Goal: ours at most 1.2 times bare.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": "hf_benchmark"}
sys.path.insert(0, str(Path(__file__).parents[1]))

from huggingface_hub import CommitOperationAdd, HfApi, close_session, constants

from dialoguellm_release.folders import sha256_of_text, stamps, write_manifest
from dialoguellm_release.hub.publish import publish_release
from dialoguellm_release.hub.store_hub import HubStore
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.manifests import BackboneManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.release import BackboneRepository, ReleaseRecipe
from tests.hub_server.accounts import Token
from tests.hub_server.server import HubServer

REPO = "dialoguellm/many-files"
GOAL = 1.2


def write_backbone(folder: Path, files: int, megabytes: int, suffix: str) -> None:
    """A backbone folder of so many files; every twentieth is nineteen times as large as the others."""
    folder.mkdir(parents=True)
    large = files // 20
    small_bytes = megabytes * 1_000_000 // (19 * large + files - large)
    for number in range(files):
        size = small_bytes * (1 if number % 20 else 19)
        content = b"\x02\0\0\0\0\0\0\0{}" + os.urandom(size - 10)
        (folder / f"model-{number:05}-of-{files:05}{suffix}").write_bytes(content)
    manifest = BackboneManifest(
        created_by={},
        recipe=load_recipe("tiny", "backbone", BackboneRecipe).stamp,
        inputs=(),
        outputs=stamps(folder),
        content_sha256=sha256_of_text("benchmark"),
        parameters=megabytes * 250_000,
    )
    write_manifest(folder, manifest)


def serve(answer: Connection) -> None:
    with HubServer().running() as server:
        server.accounts.add(os.environ["HF_TOKEN"], Token("maintainer", organizations=("dialoguellm",)))
        answer.send(server.url)
        answer.recv()


@contextmanager
def hub() -> Iterator[str]:
    """The address of a new Hub in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(theirs,))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("end")
        process.join()
        close_session()


def ours(build: Path, url: str) -> None:
    repository = BackboneRepository(repo_id=REPO, folder="many")
    recipe = ReleaseRecipe(
        version=1,
        kind="release",
        description="A benchmark.",
        tag="v1.0.0",
        changelog="All of it.",
        backbones=(repository,),
    )
    constants.ENDPOINT = url
    publish_release(recipe, build, HubStore())


def bare(build: Path, url: str) -> None:
    api = HfApi(endpoint=url)
    api.create_repo(REPO)
    additions = [
        CommitOperationAdd(path.name, path) for path in sorted((build / "many").iterdir()) if path.is_file()
    ]
    api.create_commit(REPO, additions, commit_message="v1.0.0")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    for suffix in (".safetensors", ".png"):
        with tempfile.TemporaryDirectory() as build:
            write_backbone(Path(build) / "many", asked.files, asked.megabytes, suffix)
            print(f"{asked.files} files of {suffix[1:]}, {asked.megabytes} MB")
            compare(Path(build), asked.rounds)


def compare(build: Path, rounds: int) -> None:
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(rounds + 1):
        for run in (ours, bare) if number % 2 else (bare, ours):
            with hub() as url:
                start = time.perf_counter()
                run(build, url)
                seconds = time.perf_counter() - start
            if number:  # the first round reads the files into memory and imports the libraries
                times[run.__name__].append(seconds)
    for name, taken in times.items():
        print(f"  {name}: median {statistics.median(taken):.2f} s, {min(taken):.2f} to {max(taken):.2f} s")
    ratios = [one / other for one, other in zip(times["ours"], times["bare"], strict=True)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"  ours / bare: {statistics.median(ratios):.2f}, {spread} (goal: at most {GOAL})")


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
