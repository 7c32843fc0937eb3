"""A published dataset named by a folder or by a repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.hub.lookup import published_folder
from tests.hub.codes import refuses


def test_a_folder_wins_over_a_repository_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert published_folder("owner/name") == Path("owner/name")


@pytest.mark.parametrize("place", ["/no/such/folder", "./owner/name/deeper", "name"])
def test_what_can_only_be_a_folder_is_not_looked_for_on_the_hub(place: str) -> None:
    assert published_folder(place) == Path(place)


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("owner/name", "hub.unreachable"),
        ("owner/name@v1.0.0", "hub.unreachable"),
        ("owner/..name", "hub.bad_name"),
    ],
)
def test_a_repository_that_cannot_be_downloaded_is_named(place: str, code: str) -> None:
    with refuses(code) as caught:
        published_folder(place)
    assert isinstance(caught.value, DataError)
    assert place in str(caught.value)
