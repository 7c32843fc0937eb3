"""A download that was cut off goes on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialoguellm_release.corpora.download import DownloadPolicy
from tests.corpora_fetch.faults import (
    CONTENT,
    NAME,
    OTHER,
    cut_at,
    failure,
    fetch,
    ignores_the_range,
    in_cut_chunks,
)


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
    said = failure(entry, tmp_path, DownloadPolicy(attempts=1))
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
    (path,) = fetch(entry, to, DownloadPolicy(attempts=8, first_wait_s=0, timeout_s=2))
    assert path.read_bytes() == CONTENT
    assert site.sent == len(CONTENT)


def test_a_server_that_ignores_the_range_gives_the_whole(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [cut_at(100_000), ignores_the_range]
    (path,) = fetch(entry, tmp_path)
    assert path.read_bytes() == CONTENT


def test_cut_chunks_are_gone_on_from(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [in_cut_chunks, None]
    (path,) = fetch(entry, tmp_path)
    assert path.read_bytes() == CONTENT
    assert site.log == [("/" + NAME, None), ("/" + NAME, 50_000)]


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
