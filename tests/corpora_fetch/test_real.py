"""The real registry and the real files, through a server on this machine."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release import check_corpora, fetch_corpora
from dialoguellm_release.corpora.registry import corpus_entry
from tests.corpus_names import CORPORA

SPLITS = ("train", "validation", "test")


def test_every_corpus_can_be_had_one_way() -> None:
    entries = [corpus_entry(name) for name in CORPORA]
    assert [entry.name for entry in entries if entry.request] == ["meisd", "iemocap"]
    fetched = {entry.name: [one.path for one in entry.downloads] for entry in entries if entry.downloads}
    assert {name: len(paths) for name, paths in fetched.items()} == {
        "meld": 3,
        "emorynlp": 6,
        "dailydialog": 1,
    }
    addresses = [address for entry in entries for one in entry.downloads for address in one.addresses]
    assert all(address.startswith("https://") for address in addresses)


@pytest.mark.corpora
def test_the_real_meld_is_fetched_and_checked(corpora_dir: Path, site: Any, tmp_path: Path) -> None:
    for path in (corpora_dir / "meld").glob("*.csv"):
        site.files[f"/meld/{path.name}"] = path.read_bytes()
    warnings: list[str] = []
    files = fetch_corpora(["meld"], tmp_path, mirror=site.address, warn=warnings.append)
    assert len(files) == len(site.log) == 3
    assert len(warnings) == 1
    (checked,) = check_corpora(tmp_path)
    assert not checked.problems
    assert not checked.unknown_files


@pytest.mark.corpora
@pytest.mark.parametrize("are_zips", [False, True], ids=["folders", "zips"])
def test_the_real_dailydialog_is_taken_from_its_archive(
    corpora_dir: Path, site: Any, tmp_path: Path, are_zips: bool
) -> None:
    folder = corpora_dir / "dailydialog"
    paths = [folder / f"{split}.zip" for split in SPLITS]
    if not are_zips:
        paths = [path for split in SPLITS for path in (folder / split).iterdir()]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for path in paths:
            made.write(path, f"EMNLP_dataset/{path.relative_to(folder)}")
    site.files["/dailydialog/I17-1099.Datasets.zip"] = archive.getvalue()
    assert len(fetch_corpora(["dailydialog"], tmp_path, mirror=site.address)) == 6
    (checked,) = check_corpora(tmp_path)
    assert not checked.problems
    assert not checked.unknown_files


@pytest.mark.corpora
def test_the_real_corpora_are_checked_all_at_once(corpora_dir: Path) -> None:
    checked = check_corpora(corpora_dir)
    assert {one.corpus for one in checked} >= {"meld", "emorynlp", "dailydialog", "meisd"}
    assert not [problem for one in checked for problem in one.problems]
    assert not [path for one in checked for path in one.unknown_files]
    assert all(split.expected is not None for one in checked for split in one.splits)
