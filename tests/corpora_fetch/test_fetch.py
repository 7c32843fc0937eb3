"""Fetching over real HTTP, from a server that does what servers do."""

from __future__ import annotations

import gzip
import hashlib
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialoguellm_release.corpora.download import MAX_BYTES, Patience
from dialoguellm_release.corpora.fetch import fetch_corpora
from dialoguellm_release.errors import DataError, MissingExtraError
from dialoguellm_release.folders import alone
from dialoguellm_release.schemas.corpus import CorpusEntry, Download

PATIENCE = Patience(rounds=3, first_wait_s=0.01, longest_wait_s=5, timeout_s=2)
NAME = "train_sent_emo.csv"
CONTENT = random.Random(7).randbytes(300_000)
OTHER = random.Random(8).randbytes(300_000)


def cut_at(byte: int) -> Callable[..., None]:
    return lambda handler, content, begin: handler.give(content, begin, until=byte)


def answers(status: int, **headers: str) -> Callable[..., None]:
    return lambda handler, _content, _begin: handler.answer(status, **headers)


def gives(content: bytes) -> Callable[..., None]:
    return lambda handler, _content, begin: handler.give(content, begin)


def ignores_the_range(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.give(content, None)


def hangs_up(handler: Any, _content: bytes, _begin: int | None) -> None:
    handler.hang_up()


def says_nothing(_handler: Any, _content: bytes, _begin: int | None) -> None:
    time.sleep(0.6)


def stalls(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:100_000])
    time.sleep(0.6)


def never_ends(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(content)


def in_chunks(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))


def in_cut_chunks(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s" % (len(content), content[:50_000]))


def compressed(handler: Any, content: bytes, _begin: int | None) -> None:
    packed = gzip.compress(content)
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(packed)))
    handler.end_headers()
    handler.wfile.write(packed)


def fetch(entry: CorpusEntry, to: Path, patience: Patience = PATIENCE, **options: Any) -> list[Path]:
    return [
        file.path for file in fetch_corpora([entry], to, patience=patience, **options) if not file.was_there
    ]


def failure(entry: CorpusEntry, to: Path, patience: Patience = PATIENCE) -> str:
    with pytest.raises(DataError) as caught:
        fetch_corpora([entry], to, patience=patience)
    return str(caught.value)


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


def test_a_cut_download_goes_on_where_it_stopped(offered: Any, site: Any, tmp_path: Path, tree: Any) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [cut_at(100_000), cut_at(250_000), None]
    fetch(entry, tmp_path)
    assert site.log == [("/" + NAME, None), ("/" + NAME, 100_000), ("/" + NAME, 250_000)]
    assert site.sent == len(CONTENT)
    assert tree(tmp_path) == {f"meld/{NAME}": CONTENT}


def test_the_next_run_goes_on_too(offered: Any, site: Any, tmp_path: Path, tree: Any) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [cut_at(120_000)]
    said = failure(entry, tmp_path, Patience(rounds=1))
    assert "cut the connection after 120000 bytes" in said
    assert "it goes on where it stopped" in said
    assert tree(tmp_path) == {f".meld.partial/{NAME}.partial": CONTENT[:120_000]}
    site.faults.clear()
    fetch(entry, tmp_path)
    assert site.log == [("/" + NAME, None), ("/" + NAME, 120_000)]
    assert tree(tmp_path) == {f"meld/{NAME}": CONTENT}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 299_999), max_size=6).map(sorted))
def test_wherever_it_is_cut_each_byte_is_sent_once(
    cuts: list[int], offered: Any, site: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    entry = offered({NAME: CONTENT})
    to = tmp_path_factory.mktemp("to")
    site.sent = 0
    site.faults["/" + NAME] = [*map(cut_at, cuts), None]
    (path,) = fetch(entry, to, Patience(rounds=8, first_wait_s=0, timeout_s=2))
    assert path.read_bytes() == CONTENT
    assert site.sent == len(CONTENT)


def test_a_server_that_ignores_the_range_gives_the_whole(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [cut_at(100_000), ignores_the_range]
    (path,) = fetch(entry, tmp_path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [in_chunks, compressed])
def test_however_it_is_sent_the_file_is_right(offered: Any, site: Any, tmp_path: Path, fault: Any) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [fault]
    (path,) = fetch(entry, tmp_path)
    assert path.read_bytes() == CONTENT


def test_cut_chunks_are_gone_on_from(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [in_cut_chunks, None]
    (path,) = fetch(entry, tmp_path)
    assert path.read_bytes() == CONTENT
    assert site.log == [("/" + NAME, None), ("/" + NAME, 50_000)]


def test_wrong_bytes_are_told_and_removed(offered: Any, site: Any, tmp_path: Path, tree: Any) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [gives(OTHER)]
    said = failure(entry, tmp_path)
    assert f"expected: 300000 bytes, sha256 {hashlib.sha256(CONTENT).hexdigest()}" in said
    assert f"sent another file: 300000 bytes, sha256 {hashlib.sha256(OTHER).hexdigest()}" in said
    assert len(site.log) == 1
    assert tree(tmp_path) == {}


def test_a_file_of_another_size_is_not_even_read(offered: Any, site: Any, tmp_path: Path, tree: Any) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [gives(OTHER + b"more")]
    assert "has a file of 300004 bytes" in failure(entry, tmp_path)
    assert tree(tmp_path) == {}


def test_an_old_half_is_thrown_away(offered: Any, site: Any, tmp_path: Path, tree: Any) -> None:
    entry = offered({NAME: CONTENT})
    (tmp_path / ".meld.partial").mkdir()
    (tmp_path / ".meld.partial" / f"{NAME}.partial").write_bytes(OTHER[:100_000])
    fetch(entry, tmp_path)
    assert site.log == [("/" + NAME, 100_000), ("/" + NAME, None)]
    assert tree(tmp_path) == {f"meld/{NAME}": CONTENT}


@pytest.mark.parametrize("length", [300_000, 300_001])
def test_a_partial_file_that_is_long_enough_is_looked_at_first(
    offered: Any, site: Any, tmp_path: Path, tree: Any, length: int
) -> None:
    entry = offered({NAME: CONTENT})
    (tmp_path / ".meld.partial").mkdir()
    (tmp_path / ".meld.partial" / f"{NAME}.partial").write_bytes((CONTENT + b"x")[:length])
    fetch(entry, tmp_path)
    assert len(site.log) == length - 300_000
    assert tree(tmp_path) == {f"meld/{NAME}": CONTENT}


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


def test_a_server_that_asks_to_wait_is_waited_for(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [answers(429, Retry_After="1"), None]
    started = time.monotonic()
    fetch(entry, tmp_path)
    assert time.monotonic() - started >= 1
    assert len(site.log) == 2


def test_a_server_that_asks_to_wait_too_long_is_not(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [answers(429, Retry_After="3600")]
    assert "answered 429 Too Many Requests and asks to wait 3600 s" in failure(entry, tmp_path)
    assert len(site.log) == 1


@pytest.mark.parametrize("wait", ["soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_wait_that_says_nothing_is_not_kept(offered: Any, site: Any, tmp_path: Path, wait: str) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [answers(503, Retry_After=wait), None]
    assert fetch(entry, tmp_path)


def test_a_storm_of_503_is_outlasted_or_told(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [answers(503)]
    assert "answered 503 Service Unavailable" in failure(entry, tmp_path)
    assert len(site.log) == PATIENCE.rounds
    site.faults["/" + NAME] = [answers(503), answers(500), None]
    assert fetch(entry, tmp_path)


def test_a_redirect_is_followed(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.files["/moved/here"] = site.files.pop("/" + NAME)
    site.faults["/" + NAME] = [answers(302, Location="/moved/here")]
    site.faults["/moved/here"] = [cut_at(1000), None]
    (path,) = fetch(entry, tmp_path)
    assert path.read_bytes() == CONTENT
    assert site.log[-1] == ("/moved/here", 1000)


def test_redirects_in_a_circle_are_told(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [answers(302, Location="/" + NAME)]
    assert "redirects" in failure(entry, tmp_path)


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
    with pytest.raises(DataError, match="No scheme supplied"):
        fetch(entry, tmp_path, Patience(), mirror="nonsense")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (hangs_up, "without response"),
        (says_nothing, "did not answer within 0.2 s"),
        (stalls, "sent nothing for 0.2 s after 100000 bytes"),
        (never_ends, "sends more than 300000 bytes"),
        (answers(204), "answered 204 No Content"),
        (answers(206), "without saying which"),
        (
            answers(206, Content_Range="bytes 7-299999/300000"),
            "sent the bytes from 7, asked for those from 0",
        ),
        (answers(416), "has no more than what was there already"),
        (answers(200), "has a file of 0 bytes"),
    ],
)
def test_a_server_that_gives_nothing_is_told(
    offered: Any, site: Any, tmp_path: Path, tree: Any, fault: Any, said: str
) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [fault]
    assert said in failure(entry, tmp_path, Patience(rounds=1, timeout_s=0.2))
    assert [path for path in tree(tmp_path) if not path.startswith(".meld.partial/")] == []


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


def test_the_missing_extra_is_told(offered: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"dialoguellm-release\[fetch\]"):
        fetch(offered({NAME: CONTENT}), tmp_path)
    assert list(tmp_path.iterdir()) == []
