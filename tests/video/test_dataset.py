"""Descriptions inside a dataset: the right record, the right instruction, provenance, ablations, budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.dataset.reading import shuffled
from dialoguellm_release.encoding import Encoder
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset, check_dataset, hydrate_dataset
from dialoguellm_release.steps.video import describe_clips
from dialoguellm_release.video.ledger import Descriptions, read_descriptions
from tests.dataset.conftest import publish_copy

FOLDERS = {
    "train": "train_splits",
    "validation": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}


def meld(dataset: Path) -> Iterator[Record]:
    for split in ("train", "validation", "test"):
        yield from read_records(dataset, "meld", split)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, clip: Any) -> Path:
    """Synthetic descriptions of the demo's MELD; every fifth record has no clip."""
    folder = tmp_path_factory.mktemp("video")
    plain = build_dataset("demo", out=folder / "plain").folder
    for number, record in enumerate(meld(plain)):
        name = f"dia{record.dialogue_id}_utt{record.utterance_index}.mp4"
        if number % 5:
            clip(folder / "videos" / "meld" / FOLDERS[record.split] / name, [number], size=(64, 16))
    describe_clips("demo", folder / "videos", plain, folder / "video", overrides=["corpora=[meld]"])
    return folder / "video"


@pytest.fixture(scope="module")
def described(video: Path) -> Descriptions:
    return read_descriptions(video)


@pytest.fixture(scope="module")
def dataset(video: Path) -> Path:
    return build_dataset("demo", out=video.parent / "filled", video=video).folder


def test_each_record_has_its_own_description_and_says_so(dataset: Path, described: Descriptions) -> None:
    prompt = load_prompt("dialogue-v1")
    records = list(meld(dataset))
    assert {r.id: r.video_description for r in records if r.video_description} == described.texts
    assert 0 < len(described.texts) < len(records)
    for record in records:
        has_video = record.video_description is not None
        assert ("video description" in record.instruction) == has_video
        assert ("### Video description:" in prompt.prompt(record)) == has_video
    assert check_dataset(dataset) == []


def test_the_manifest_and_the_card_tell_where_they_are_from(dataset: Path, described: Descriptions) -> None:
    video = read_manifest(dataset, DatasetManifest).figures.video
    assert video is not None
    assert video.model_copy(update={"records": {}}) == described.provenance
    assert sum(video.records["meld"].values()) == len(described.texts)
    assert set(video.records) == {"meld"}
    card = (dataset / "README.md").read_text(encoding="utf-8")
    assert "**Synthetic:** no model looked at a clip" in card
    assert video.prompt_sha256 in card
    assert f"- meld, train: {video.records['meld']['train']} of" in card


def test_a_dataset_without_descriptions_is_as_it_was(video: Path) -> None:
    plain = video.parent / "plain"
    assert read_manifest(plain, DatasetManifest).figures.video is None
    assert "Video descriptions" not in (plain / "README.md").read_text(encoding="utf-8")
    assert build_dataset("demo", out=plain).was_current


def test_a_build_is_current_until_the_descriptions_change(video: Path, tmp_path: Path) -> None:
    assert not build_dataset("demo", out=tmp_path / "out", video=video).was_current
    assert build_dataset("demo", out=tmp_path / "out", video=video).was_current
    assert not build_dataset("demo", out=tmp_path / "out").was_current
    assert not build_dataset("demo", out=tmp_path / "out", video=video).was_current


def test_the_ablation_gives_each_description_to_another_record(
    dataset: Path, video: Path, described: Descriptions, tmp_path: Path
) -> None:
    built = build_dataset("demo", out=tmp_path / "out", video=video, overrides=["video.shuffle_seed=7"])
    own, moved = list(meld(dataset)), list(meld(built.folder))
    pairs = [(a.video_description, b.video_description) for a, b in zip(own, moved, strict=True)]
    assert all((a is None) == (b is None) for a, b in pairs)
    assert all(a != b for a, b in pairs if a is not None)
    for split in ("train", "validation", "test"):
        texts = [sorted(r.video_description or "" for r in made if r.split == split) for made in (own, moved)]
        assert texts[0] == texts[1]
    assert built.manifest.figures.video is not None
    assert built.manifest.figures.video.shuffle_seed == 7
    assert "**Shuffled:**" in (built.folder / "README.md").read_text(encoding="utf-8")
    assert shuffled(described.texts, 7) == shuffled(dict(reversed(described.texts.items())), 7)
    assert shuffled(described.texts, 7) != shuffled(described.texts, 8)


@pytest.mark.parametrize("recipe", ["paper-video", "paper-shuffled"])
def test_a_recipe_for_descriptions_needs_some(recipe: str, tmp_path: Path, synthetic_dir: Path) -> None:
    with pytest.raises(DataError, match="needs video descriptions"):
        build_dataset(recipe, synthetic_dir, tmp_path / "out")


def test_a_long_description_loses_its_tail_and_never_the_label(tiny_backbone: Path, dataset: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    prompt = load_prompt("dialogue-v1")
    record = next(one for one in meld(dataset) if one.video_description)
    long = record.model_copy(update={"video_description": "word " * 2000 + "end"})
    (encoded,) = Encoder(prompt, tokenizer, 400).encode_all([long])
    completion = Encoder(prompt, tokenizer, 400).completion_ids(record.output)
    assert len(encoded.ids) + len(completion) <= 400
    assert "word word" in encoded.text
    assert "end" not in encoded.text.partition("### Video description:")[2].partition("###")[0]
    assert encoded.text.endswith("### Response:")
    assert record.input in encoded.text


def test_a_published_copy_carries_its_descriptions_over(
    dataset: Path, tmp_path: Path, synthetic_dir: Path
) -> None:
    built = read_manifest(dataset, DatasetManifest)
    others = set(built.figures.corpora) - {"meld"}
    copy = publish_copy(StepResult(dataset, built, was_current=True), tmp_path / "copy", {"meld"}, others)
    made = hydrate_dataset(copy, synthetic_dir, tmp_path / "out")
    assert made.manifest.content_sha256 == built.content_sha256
    assert made.manifest.figures.video == built.figures.video
    fewer = hydrate_dataset(copy, synthetic_dir, tmp_path / "fewer", skip=["meisd"])
    assert [one.video_description for one in meld(fewer.folder)] == [
        one.video_description for one in meld(dataset)
    ]


@pytest.mark.parametrize("standoff", [("meld",), ()])
def test_descriptions_that_are_not_published_are_not_lost_in_silence(
    dataset: Path, tmp_path: Path, synthetic_dir: Path, standoff: tuple[str, ...]
) -> None:
    built = read_manifest(dataset, DatasetManifest)
    others = set(built.figures.corpora) - {"meld"}
    whole = StepResult(dataset, built, was_current=True)
    copy = publish_copy(whole, tmp_path / "copy", others, standoff)
    for skip in ([], ["meisd"]):
        with pytest.raises(DataError) as raised:
            hydrate_dataset(copy, synthetic_dir, tmp_path / "out", skip=skip)
        assert [one.code for one in raised.value.problems] == ["hydration.descriptions_withheld"]
    without = hydrate_dataset(copy, synthetic_dir, tmp_path / "out", skip=["meld"])
    assert without.manifest.figures.video is not None
    assert without.manifest.figures.video.records == {}
