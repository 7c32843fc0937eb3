"""Fetching over real HTTP: what lands where, what is left alone, and who stands in."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.corpora.download import MAX_BYTES, DownloadPolicy
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import alone
from dialoguellm_release.schemas.corpus import Download
from tests.corpora_fetch.faults import (
    CONTENT,
    NAME,
    OTHER,
    answers,
    cut_at,
    failure,
    fetch,
    gives,
    never_ends,
)


def test_files_land_in_the_native_layout(offered: Any, site: Any, tmp_path: Path, tree: Any) -> None:
    contents = {NAME: CONTENT, "test_sent_emo.csv": OTHER}
    entry = offered(contents)
    assert fetch(entry, tmp_path / "to") == [tmp_path / "to" / "meld" / name for name in contents]
    assert tree(tmp_path / "to") == {f"meld/{name}": content for name, content in contents.items()}
    assert site.log == [("/" + NAME, None), ("/test_sent_emo.csv", None)]


def test_what_is_there_is_not_fetched_again(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT, "test_sent_emo.csv": OTHER})
    fetch(entry, tmp_path)
    (tmp_path / "meld" / NAME).unlink()
    site.log.clear()
    assert fetch(entry, tmp_path) == [tmp_path / "meld" / NAME]
    assert fetch(entry, tmp_path) == []
    assert site.log == [("/" + NAME, None)]


def test_another_file_is_never_replaced(offered: Any, site: Any, tmp_path: Path, tree: Any) -> None:
    entry = offered({NAME: CONTENT, "test_sent_emo.csv": OTHER})
    (tmp_path / "meld").mkdir()
    (tmp_path / "meld" / NAME).write_bytes(b"mine")
    said = failure(entry, tmp_path)
    assert f"{tmp_path / 'meld' / NAME}: is there already, but is another file" in said
    assert f"expected: 300000 bytes, sha256 {hashlib.sha256(CONTENT).hexdigest()}" in said
    assert f"got: 4 bytes, sha256 {hashlib.sha256(b'mine').hexdigest()}" in said
    assert tree(tmp_path) == {f"meld/{NAME}": b"mine"}
    assert site.log == []


def test_a_file_that_comes_up_meanwhile_is_not_replaced(
    offered: Any, site: Any, tmp_path: Path, tree: Any
) -> None:
    def meanwhile(handler: Any, content: bytes, begin: int | None) -> None:
        (tmp_path / "meld").mkdir()
        (tmp_path / "meld" / NAME).write_bytes(b"mine")
        handler.give(content, begin)

    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [meanwhile]
    assert "is there already, but is another file" in failure(entry, tmp_path)
    assert tree(tmp_path)[f"meld/{NAME}"] == b"mine"


def test_a_missing_file_is_told_and_the_others_are_fetched(
    offered: Any, site: Any, tmp_path: Path, tree: Any
) -> None:
    entry = offered({NAME: CONTENT, "test_sent_emo.csv": OTHER, "dev_sent_emo.csv": b"dev"})
    del site.files["/" + NAME]
    del site.files["/dev_sent_emo.csv"]
    said = failure(entry, tmp_path)
    assert f"{site.address}/{NAME}: answered 404 Not Found" in said
    assert f"{site.address}/dev_sent_emo.csv: answered 404 Not Found" in said
    assert "2 problems; other files fetched: 1, each whole and in its place." in said
    assert len(site.log) == 3
    assert tree(tmp_path) == {"meld/test_sent_emo.csv": OTHER}


@pytest.mark.parametrize("first", ["dead", "missing", "wrong", "cut"])
def test_a_mirror_stands_in(offered: Any, site: Any, tmp_path: Path, dead_address: str, first: str) -> None:
    entry = offered({NAME: CONTENT})
    site.files["/first"] = CONTENT
    site.faults["/first"] = {
        "dead": [],
        "missing": [answers(404)],
        "wrong": [gives(OTHER)],
        "cut": [cut_at(200_000)],
    }[first]
    address = dead_address if first == "dead" else f"{site.address}/first"
    (one,) = entry.downloads
    both = one.model_copy(update={"addresses": (address, *one.addresses)})
    (path,) = fetch(entry.model_copy(update={"downloads": (both,)}), tmp_path)
    assert path.read_bytes() == CONTENT
    assert site.log[-1] == ("/" + NAME, 200_000 if first == "cut" else None)
    assert len(site.log) == (1 if first == "dead" else 2)


def test_a_mirror_of_the_user_comes_first(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.files[f"/ours/meld/{NAME}"] = CONTENT
    fetch(entry, tmp_path / "here", mirror=f"{site.address}/ours/")
    fetch(entry, tmp_path / "there", mirror=f"{site.address}/none")
    assert [path for path, _ in site.log] == [f"/ours/meld/{NAME}", f"/none/meld/{NAME}", "/" + NAME]


def test_an_address_that_is_none_is_told_at_once(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.files.clear()
    started = time.monotonic()
    with pytest.raises(DataError, match="missing an 'http://' or 'https://' protocol"):
        fetch(entry, tmp_path, DownloadPolicy(first_wait_s=60), mirror="nonsense")
    assert time.monotonic() - started < 30


def test_a_file_is_known_by_the_name_that_git_gives_it(
    entry_of: Any, site: Any, tmp_path: Path, tree: Any
) -> None:
    blob = "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"  # git hash-object of "hello world\n"
    site.files["/trn.json"] = b"hello world\n"
    download = Download(
        path="trn.json", addresses=(f"{site.address}/trn.json",), verified=True, git_blob=blob
    )
    entry = entry_of({}, (download,))
    fetch(entry, tmp_path / "right")
    assert tree(tmp_path / "right") == {"meld/trn.json": b"hello world\n"}
    site.files["/trn.json"] = b"hello there\n"
    said = failure(entry, tmp_path / "wrong")
    assert f"expected: git blob {blob}" in said
    assert "sent another file: 12 bytes, git blob " in said
    site.faults["/trn.json"] = [lambda handler, *_: never_ends(handler, bytes(MAX_BYTES // 50), None)]
    assert f"sends more than {MAX_BYTES} bytes" in failure(entry, tmp_path / "endless")


def test_two_runs_do_not_write_the_same(offered: Any, site: Any, tmp_path: Path, tree: Any) -> None:
    entry = offered({NAME: CONTENT})
    with alone(tmp_path / ".meld.lock", tmp_path / "meld"):
        assert "another run is writing here" in failure(entry, tmp_path)
    assert site.log == []
    assert tree(tmp_path) == {}


def test_a_folder_that_is_a_link_is_filled_where_it_leads(offered: Any, tmp_path: Path, tree: Any) -> None:
    (tmp_path / "elsewhere" / "meld").mkdir(parents=True)
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "meld").symlink_to(tmp_path / "elsewhere" / "meld")
    fetch(offered({NAME: CONTENT}), tmp_path / "to")
    assert tree(tmp_path / "elsewhere") == {f"meld/{NAME}": CONTENT}
