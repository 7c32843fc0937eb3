"""Archives: members by their names, and nothing outside the folder."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.corpora.download import DownloadPolicy
from dialoguellm_release.corpora.fetch import MAX_MEMBER_BYTES, fetch_corpora
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.corpus import CorpusEntry, Download

POLICY = DownloadPolicy(attempts=1, timeout_s=2)
CONTENTS = {"train/text.txt": b"one\ntwo\n", "test/text.txt": b"three\n"}


def zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def whole(**more: bytes) -> dict[str, bytes]:
    return {f"set/{path}": content for path, content in CONTENTS.items()} | more


def with_link(target: str) -> bytes:
    buffer = io.BytesIO(zipped(whole()))
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("set/link")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, target)
    return buffer.getvalue()


@pytest.fixture
def entry(site: Any, entry_of: Callable[..., CorpusEntry]) -> CorpusEntry:
    """A corpus that comes as an archive, whose files may lie in a folder or in a zip of their own."""
    download = Download(
        path="all.zip",
        addresses=(f"{site.address}/all.zip",),
        verified=False,
        members={path: (f"set/{path}", f"set/{path.split('/')[0]}.zip/{path}") for path in CONTENTS},
    )
    return entry_of(CONTENTS, (download,))


def failure(entry: CorpusEntry, to: Path) -> str:
    with pytest.raises(DataError) as caught:
        fetch_corpora([entry], to, policy=POLICY)
    return str(caught.value)


@pytest.mark.parametrize(
    "members",
    [
        whole(),
        whole(readme=b"not taken"),
        {f"set/{path.split('/')[0]}.zip": zipped({path: content}) for path, content in CONTENTS.items()},
    ],
    ids=["flat", "with others", "zips in the zip"],
)
def test_members_are_taken_by_their_names(
    entry: CorpusEntry, site: Any, tmp_path: Path, tree: Any, members: dict[str, bytes]
) -> None:
    site.files["/all.zip"] = zipped(members)
    files = fetch_corpora([entry], tmp_path, policy=POLICY)
    assert [file.was_there for file in files] == [False, False]
    assert tree(tmp_path) == {f"meld/{path}": content for path, content in CONTENTS.items()}
    (tmp_path / "meld" / "test" / "text.txt").unlink()
    again = fetch_corpora([entry], tmp_path, policy=POLICY)
    assert [file.was_there for file in again] == [True, False]
    assert all(file.was_there for file in fetch_corpora([entry], tmp_path, policy=POLICY))
    assert len(site.log) == 2


@pytest.mark.parametrize(
    ("archive", "unsafe"),
    [
        (zipped(whole(**{"../outside": b"x"})), "../outside"),
        (zipped(whole(**{"set/../../outside": b"x"})), "set/../../outside"),
        (zipped(whole(**{"/outside": b"x"})), "/outside"),
        (zipped(whole(**{"C:/outside": b"x"})), "C:/outside"),
        (zipped(whole(**{"set\\..\\..\\outside": b"x"})), "outside"),
        (zipped({"set/train.zip": zipped({"../outside": b"x"}), "set/test.zip": b""}), "../outside"),
        (with_link("../../outside"), "set/link"),
    ],
    ids=["up", "up inside", "absolute", "drive", "backslash", "zip in the zip", "link"],
)
def test_an_archive_that_reaches_out_of_its_folder_is_refused(
    entry: CorpusEntry, site: Any, tmp_path: Path, tree: Any, archive: bytes, unsafe: str
) -> None:
    site.files["/all.zip"] = archive
    said = failure(entry, tmp_path / "to")
    assert "would write outside its folder: " in said
    assert unsafe in said
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (lambda: zipped(whole())[:-30], "cannot be unzipped: File is not a zip file"),
        (lambda: b"no zip at all", "cannot be unzipped: File is not a zip file"),
        (
            lambda: zipped(whole() | {"set/train/text.txt": b"else"}),
            "holds another train/text.txt than the known one",
        ),
        (lambda: zipped({"set/train/text.txt": b"one\ntwo\n"}), "does not hold test/text.txt"),
        (
            lambda: zipped(whole() | {"set/test/text.txt": bytes(MAX_MEMBER_BYTES + 1)}),
            "to more than 67108864 bytes",
        ),
    ],
    ids=["cut", "no zip", "another member", "no member", "bomb"],
)
def test_a_wrong_archive_is_told_and_removed(
    entry: CorpusEntry, site: Any, tmp_path: Path, tree: Any, archive: Callable[[], bytes], said: str
) -> None:
    site.files["/all.zip"] = archive()
    assert said in failure(entry, tmp_path)
    assert tree(tmp_path) == {}
    site.files["/all.zip"] = zipped(whole())
    fetch_corpora([entry], tmp_path, policy=POLICY)
    assert len(tree(tmp_path)) == 2


def test_every_name_that_was_looked_for_is_told(entry: CorpusEntry, site: Any, tmp_path: Path) -> None:
    site.files["/all.zip"] = zipped({"other": b""})
    said = failure(entry, tmp_path)
    assert "expected: set/train/text.txt or set/train.zip/train/text.txt" in said
    assert "2 problems" in said
