"""The clip of a record: the folders and oddities of each corpus, and what is reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import DataError
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.corpus import ClipNaming
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.video.clips import Clip, find_clips


@pytest.fixture(scope="module")
def record_of(records_of: Any) -> Callable[..., Record]:
    (model,) = records_of("train", 1)

    def make(corpus: CorpusName, split: Split, dialogue: str, index: int, start_s: float = 1.5) -> Record:
        changes = {
            "id": f"{corpus}/{split}/{dialogue}/{index}",
            "corpus": corpus,
            "split": split,
            "dialogue_id": dialogue,
            "utterance_index": index,
            "start_s": start_s,
            "end_s": start_s + 2,
        }
        return Record.model_validate(model.model_dump() | changes)

    return make


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(clips: tuple[Clip, ...]) -> dict[str, str]:
    return {clip.record_id: clip.name for clip in clips}


def test_the_folders_and_oddities_of_meld(record_of: Any, tmp_path: Path) -> None:
    touch(
        tmp_path / "meld",
        "train_splits/dia0_utt0.mp4",
        "train_splits/._dia0_utt0.mp4",
        "train_splits/readme.txt",
        "dev_splits_complete/dia0_utt0.mp4",
        "dev_splits_complete/dia66_utt9.mp4",
        "output_repeated_splits_test/dia0_utt0.mp4",
        "output_repeated_splits_test/final_videos_testdia0_utt0.mp4",
        "output_repeated_splits_test/dia38_utt4.mp4",
        "elsewhere/dia7_utt7.mp4",
    )
    records = [
        record_of("meld", "train", "0", 0),
        record_of("meld", "validation", "0", 0),
        record_of("meld", "validation", "110", 7),
        record_of("meld", "test", "0", 0),
        record_of("meld", "test", "38", 4),
    ]
    found = find_clips(records, tmp_path, {"meld/test/38/4": "cut wrongly"})
    assert names(found.clips) == {
        "meld/train/0/0": "meld/train_splits/dia0_utt0.mp4",
        "meld/validation/0/0": "meld/dev_splits_complete/dia0_utt0.mp4",
        "meld/test/0/0": "meld/output_repeated_splits_test/final_videos_testdia0_utt0.mp4",
    }
    assert {(clip.start_s, clip.end_s) for clip in found.clips} == {(None, None)}
    assert found.without_clip == ("meld/validation/110/7",)
    assert found.left_out == {"meld/test/38/4": "cut wrongly"}
    assert found.without_record == (
        "meld/dev_splits_complete/dia66_utt9.mp4",
        "meld/elsewhere/dia7_utt7.mp4",
        "meld/output_repeated_splits_test/dia0_utt0.mp4",
    )


def test_two_files_for_one_record_are_told_and_none_is_taken(record_of: Any, tmp_path: Path) -> None:
    touch(tmp_path / "meld", "train_splits/dia1_utt0.mp4", "train/dia1_utt0.mkv")
    found = find_clips([record_of("meld", "train", "1", 0)], tmp_path, {})
    assert not found.clips
    assert found.several == {
        "meld/train/1/0": ("meld/train/dia1_utt0.mkv", "meld/train_splits/dia1_utt0.mp4")
    }


def test_folders_that_are_links_are_followed_once(record_of: Any, tmp_path: Path) -> None:
    touch(tmp_path / "disk", "dia1_utt0.mp4")
    (tmp_path / "meld").mkdir()
    (tmp_path / "meld" / "train").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "again").symlink_to(tmp_path / "disk")
    found = find_clips([record_of("meld", "train", "1", 0)], tmp_path, {})
    assert names(found.clips) == {"meld/train/1/0": "meld/train/dia1_utt0.mp4"}


def test_iemocap_and_emorynlp_are_parts_of_longer_videos(record_of: Any, tmp_path: Path) -> None:
    touch(
        tmp_path / "iemocap" / "Session1" / "dialog" / "avi" / "DivX",
        "Ses01F_impro01.avi",
        "Ses01M_impro01.avi",
    )
    touch(tmp_path / "emorynlp", "Friends.S01E02.mkv", "season 2/2x03.mp4", "trailer.mp4")
    records = [
        record_of("iemocap", "train", "Ses01F_impro01", 3, 6.25),
        record_of("emorynlp", "train", "s01_e02_c01", 1, 2.5),
        record_of("emorynlp", "train", "s01_e02_c02", 1, 90.0),
        record_of("emorynlp", "test", "s02_e03_c01", 1),
        record_of("emorynlp", "test", "s02_e04_c01", 1),
    ]
    found = find_clips(records, tmp_path, {})
    spans = {clip.record_id: (clip.name, clip.start_s, clip.end_s) for clip in found.clips}
    assert spans == {
        "iemocap/train/Ses01F_impro01/3": (
            "iemocap/Session1/dialog/avi/DivX/Ses01F_impro01.avi",
            6.25,
            8.25,
        ),
        "emorynlp/train/s01_e02_c01/1": ("emorynlp/Friends.S01E02.mkv", 2.5, 4.5),
        "emorynlp/train/s01_e02_c02/1": ("emorynlp/Friends.S01E02.mkv", 90.0, 92.0),
        "emorynlp/test/s02_e03_c01/1": ("emorynlp/season 2/2x03.mp4", 1.5, 3.5),
    }
    assert found.without_clip == ("emorynlp/test/s02_e04_c01/1",)
    assert found.without_record == (
        "emorynlp/trailer.mp4",
        "iemocap/Session1/dialog/avi/DivX/Ses01M_impro01.avi",
    )


def test_meisd_is_found_by_series_season_and_episode(tmp_path: Path, synthetic_dir: Path) -> None:
    """Every record of the demo's MEISD has a season and an episode in the table beside the videos."""
    dataset = build_dataset("demo", out=tmp_path / "dataset").folder
    records = [
        record
        for split in ("train", "validation", "test")
        for record in read_records(dataset, "meisd", split)
    ]
    (tmp_path / "meisd").mkdir()
    with pytest.raises(DataError) as caught:
        find_clips(records, tmp_path, {})
    assert caught.value.problems[0].code == "video.no_episode_table"
    table = (synthetic_dir / "meisd" / "MEISD_text.csv").read_text(encoding="utf-8")
    (tmp_path / "meisd" / "MEISD_text.csv").write_text(table, encoding="utf-8")
    assert len(find_clips(records, tmp_path, {}).without_clip) == len(records)
    series = table.splitlines()[1].partition(",")[0]
    touch(tmp_path / "meisd" / series, *(f"s{s:02}e{e:02}.mp4" for s in range(1, 12) for e in range(1, 30)))
    found = find_clips(records, tmp_path, {})
    assert found.clips
    assert {clip.name.split("/")[1] for clip in found.clips} == {series}
    assert all(clip.start_s is not None for clip in found.clips)


def test_folders_that_are_not_there_are_told_all_at_once(record_of: Any, tmp_path: Path) -> None:
    records = [record_of("meld", "train", "0", 0), record_of("iemocap", "train", "Ses01F_impro01", 0)]
    with pytest.raises(DataError) as caught:
        find_clips(records, tmp_path, {})
    assert [problem.where for problem in caught.value.problems] == [
        str(tmp_path / "meld"),
        str(tmp_path / "iemocap"),
    ]
    (tmp_path / "dailydialog").mkdir()
    with pytest.raises(DataError) as caught:
        find_clips([record_of("dailydialog", "train", "0", 0)], tmp_path, {})
    assert caught.value.problems[0].code == "video.no_clip_naming"


def test_a_corpus_of_a_user_states_how_its_files_are_named(record_of: Any, tmp_path: Path) -> None:
    naming = {
        "shows": "longer",
        "files": ["^scene-(?P<scene>[0-9]+)$"],
        "dialogue": "sc(?P<scene>[0-9]+)-.*",
        "corrected_prefix": "new-",
    }
    with pytest.raises(ValidationError):
        ClipNaming.model_validate(naming | {"files": ["("]})
    entry = corpus_entry("meld").model_copy(
        update={"name": "mine", "clips": ClipNaming.model_validate_json(json.dumps(naming))}
    )
    touch(tmp_path / "mine", "a/scene-007.mp4", "scene-8.mp4", "SCENE-9.MKV", "other.mp4")
    records = [record_of("mine", "train", f"sc{number}-x", 0) for number in (7, 8, 9, 10)]
    found = find_clips(records, tmp_path, {}, {"mine": entry})
    assert sorted(names(found.clips).values()) == [
        "mine/SCENE-9.MKV",
        "mine/a/scene-007.mp4",
        "mine/scene-8.mp4",
    ]
    assert {(clip.start_s, clip.end_s) for clip in found.clips} == {(1.5, 3.5)}
    assert found.without_clip == ("mine/train/sc10-x/0",)
    assert found.without_record == ("mine/other.mp4",)
