"""Things go wrong while a release is published: it gets through, or says so and goes on later."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.errors import PublishError
from dialoguellm_release.hub.publish import Publication, publish_release
from dialoguellm_release.hub.store import UNFINISHED
from dialoguellm_release.hub.store_hub import HubStore
from tests.hub.codes import refuses
from tests.hub_server.audit import broken_tags, release_commits
from tests.hub_server.faults import Fault
from tests.hub_server.server import HubServer
from tests.hub_server.store import StoredFile

if TYPE_CHECKING:
    from tests.hub.conftest import Build

SECRET = "hf_maintainerstoken"
DATASET = ("dataset", "dialoguellm/instructions")
ENDLESS = 1000


def publish(build: Build) -> Publication:
    return publish_release(build.recipe, build.path, HubStore())


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of the client, in seconds; none is made."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


@pytest.fixture(autouse=True)
def _nothing_half_and_nothing_secret(
    hub_server: HubServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """What holds at the end of each test here, whatever it did."""
    caplog.set_level("DEBUG")
    caplog.set_level("INFO", "markdown_it")  # it logs every rule that it tries on every line
    yield
    assert broken_tags(hub_server.store) == []
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


def assert_released(server: HubServer) -> None:
    """The whole release is out, by one commit in each repository."""
    assert len(server.store.repositories) == 4
    for repository in server.store.repositories.values():
        assert repository.tags == {"v1.0.0": repository.head.oid}
        assert release_commits(repository) == ["v1.0.0"]


ALL_REQUESTS = (
    "whoami",
    "create_repo",
    "info",
    "refs",
    "commits",
    "tree",
    "preupload",
    "lfs_batch",
    "lfs_upload",
    "lfs_verify",
    "validate_yaml",
    "commit",
    "create_tag",
    "create_collection",
    "add_item",
)
ONCE = ("whoami", "create_collection")
WITH_EFFECT = (
    "create_repo",
    "lfs_upload",
    "lfs_verify",
    "commit",
    "create_tag",
    "create_collection",
    "add_item",
)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *((kind, 503) for kind in ("lfs_upload", "validate_yaml", "create_repo", "tree")),
        *((kind, 429) for kind in ("lfs_upload", "commit", "create_tag", "refs")),
        *(pytest.param(kind, 503, marks=pytest.mark.slow) for kind in ALL_REQUESTS),
        *(pytest.param(kind, 429, marks=pytest.mark.slow) for kind in ALL_REQUESTS),
    ],
)
def test_a_storm_is_waited_out(
    build: Build, hub_server: HubServer, pauses: list[float], kind: str, status: int
) -> None:
    hub_server.faults.add(Fault(kind, times=4, status=status, headers={"Retry-After": "37"}))
    publish(build)
    assert_released(hub_server)
    assert sum(37 <= pause <= 38 for pause in pauses) == 4


@pytest.mark.parametrize("kind", WITH_EFFECT)
def test_an_answer_that_is_lost_changes_nothing(
    build: Build, hub_server: HubServer, pauses: list[float], kind: str
) -> None:
    hub_server.faults.add(Fault(kind, times=2, lose_answer=True))
    publish(build)
    assert_released(hub_server)
    assert pauses or kind == "commit"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("lfs_upload", times=3, cut_request_after=100),
        Fault("commit", times=3, cut_request_after=500),
        Fault("tree", times=3, cut_answer_after=100),
        Fault("refs", times=3, cut_answer_after=0),
    ],
    ids=lambda fault: fault.kind,
)
def test_a_line_that_is_cut_is_tried_again(
    build: Build, hub_server: HubServer, pauses: list[float], fault: Fault
) -> None:
    hub_server.faults.add(fault)
    publish(build)
    assert_released(hub_server)
    assert pauses
    assert set(pauses) <= {1, 2, 4}


def test_the_page_of_a_proxy_in_trouble_is_no_answer(
    build: Build, hub_server: HubServer, pauses: list[float]
) -> None:
    page = b"<html>502 Bad Gateway</html>"
    hub_server.faults.add(
        Fault("validate_yaml", status=502, body=page, headers={"Content-Type": "text/html"})
    )
    publish(build)
    assert_released(hub_server)
    assert len(pauses) == 1


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        *((kind, 3) for kind in ("lfs_upload", "commit", "create_tag")),
        *(pytest.param(kind, 1, marks=pytest.mark.slow) for kind in ALL_REQUESTS),
        *(pytest.param(kind, 2, marks=pytest.mark.slow) for kind in ALL_REQUESTS if kind not in ONCE),
    ],
)
def test_a_storm_that_does_not_end_is_told_and_the_next_run_goes_on(
    build: Build, hub_server: HubServer, pauses: list[float], kind: str, first: int
) -> None:
    hub_server.faults.add(Fault(kind, first=first, times=ENDLESS, status=503))
    with refuses("hub.keeps_failing") as caught:
        publish(build)
    assert pauses
    is_before_writing = kind in ("whoami", "info", "validate_yaml") or (kind, first) == ("create_repo", 1)
    assert ("nothing was changed" in str(caught.value)) == is_before_writing
    assert not (is_before_writing and hub_server.store.repositories)
    hub_server.faults.clear()
    publish(build)
    assert_released(hub_server)


@pytest.mark.parametrize("kind", ["lfs_upload", "commit", "create_tag"])
def test_a_line_that_stays_cut_is_told_and_the_next_run_goes_on(
    build: Build, hub_server: HubServer, pauses: list[float], kind: str
) -> None:
    hub_server.faults.add(Fault(kind, first=2, times=ENDLESS, cut_request_after=10))
    with refuses("hub.unreachable"):
        publish(build)
    assert len(pauses) >= 5
    hub_server.faults.clear()
    publish(build)
    assert_released(hub_server)


def test_what_was_uploaded_is_not_sent_again(
    build: Build, hub_server: HubServer, pauses: list[float]
) -> None:
    hub_server.faults.add(Fault("commit", times=ENDLESS, status=503))
    with pytest.raises(PublishError):
        publish(build)
    assert pauses
    sent = hub_server.count("lfs_upload")
    hub_server.faults.clear()
    publish(build)
    assert hub_server.count("lfs_upload") == sent == len(hub_server.store.lfs)


def test_no_repository_is_changed_while_files_are_still_on_their_way(
    build: Build, hub_server: HubServer, pauses: list[float]
) -> None:
    hub_server.faults.add(Fault("lfs_upload", first=6, times=ENDLESS, status=503))
    with pytest.raises(PublishError):
        publish(build)
    assert pauses
    assert hub_server.count("lfs_upload") == 5
    assert all(release_commits(one) == [] for one in hub_server.store.repositories.values())


def test_an_hour_is_not_waited_for(build: Build, hub_server: HubServer, pauses: list[float]) -> None:
    hub_server.faults.add(Fault("commit", first=2, status=429, headers={"Retry-After": "3600"}))
    with refuses("hub.asks_to_wait"):
        publish(build)
    assert pauses == []
    publish(build)
    assert_released(hub_server)


def test_a_commit_of_others_in_the_meantime_is_not_overwritten(build: Build, hub_server: HubServer) -> None:
    def meddle() -> None:
        hub_server.store.add_commit(*DATASET, {"theirs.txt": b"theirs"})  # type: ignore[arg-type]

    hub_server.faults.add(Fault("commit", before=meddle))
    with refuses("hub.other_commit"):
        publish(build)
    repository = hub_server.store.repositories[DATASET]  # type: ignore[index]
    assert release_commits(repository) == ["Update by hand"]
    with refuses("hub.foreign_file", "theirs.txt"):
        publish(build)
    hub_server.store.add_commit(*DATASET, {"theirs.txt": None})  # type: ignore[arg-type]
    publish(build)
    assert release_commits(repository) == ["v1.0.0", "Update by hand", "Update by hand"]
    assert any("theirs.txt" in commit.files for commit in repository.history(repository.head))


def test_a_card_edited_between_commit_and_tag_is_kept(build: Build, hub_server: HubServer) -> None:
    hub_server.faults.add(Fault("create_tag", status=400))
    with refuses("hub.refused"):
        publish(build)
    repository = hub_server.store.repositories[DATASET]  # type: ignore[index]
    card = repository.head.files["README.md"].content + b"\nBy hand.\n"
    hub_server.store.add_commit(*DATASET, {"README.md": card})  # type: ignore[arg-type]
    publish(build)
    assert b"By hand." in repository.commits[repository.tags["v1.0.0"]].files["README.md"].content


def test_a_commit_that_does_not_hold_what_was_sent_is_not_tagged(build: Build, hub_server: HubServer) -> None:
    repositories = hub_server.store.repositories

    def spoil() -> None:
        repository = repositories[DATASET]  # type: ignore[index]
        files = dict(repository.head.files)
        files["croissant.json"] = StoredFile.regular(b"{}")
        repository.commits[repository.head.oid] = replace(repository.head, files=files)

    hub_server.faults.add(Fault("commit", after=spoil))
    with refuses("hub.commit_differs") as caught:
        publish(build)
    assert "croissant.json" in str(caught.value.problems[0].got)
    assert all(not one.tags for one in repositories.values())
    publish(build)
    assert all(list(one.tags) == ["v1.0.0"] for one in repositories.values())


def test_a_tag_that_others_set_in_the_meantime_is_noticed(build: Build, hub_server: HubServer) -> None:
    def meddle() -> None:
        repository = hub_server.store.repositories[DATASET]  # type: ignore[index]
        repository.tags["v1.0.0"] = next(iter(repository.commits))

    hub_server.faults.add(Fault("create_tag", before=meddle))
    with refuses("hub.tag_differs"):
        publish(build)
    assert [one.tags for one in hub_server.store.repositories.values()][1:] == [{}, {}, {}]
    del hub_server.store.repositories[DATASET].tags["v1.0.0"]  # type: ignore[index]
    publish(build)
    assert_released(hub_server)


def test_a_repository_that_others_make_in_the_meantime_is_left_alone(
    build: Build, hub_server: HubServer
) -> None:
    def meddle() -> None:
        hub_server.store.create(*DATASET)  # type: ignore[arg-type]
        hub_server.store.add_commit(*DATASET, {"manifest.json": b"theirs"})  # type: ignore[arg-type]

    hub_server.faults.add(Fault("create_repo", before=meddle))
    with refuses("hub.foreign_file", "manifest.json"):
        publish(build)
    assert hub_server.store.repositories[DATASET].head.files["manifest.json"].content == b"theirs"  # type: ignore[index]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("create_repo", 403, "hub.no_permission"),
        ("lfs_batch", 401, "hub.bad_token"),
        ("commit", 403, "hub.no_permission"),
        ("create_tag", 401, "hub.bad_token"),
    ],
)
def test_rights_that_end_half_way_end_the_run(
    build: Build, hub_server: HubServer, kind: str, status: int, code: str
) -> None:
    hub_server.faults.add(Fault(kind, first=2, status=status))
    with refuses(code):
        publish(build)
    publish(build)
    assert_released(hub_server)


@pytest.mark.parametrize("fault", [Fault("create_repo", status=403), Fault("create_repo", status=400)])
def test_where_the_first_repository_is_refused_nothing_was_changed(
    fault: Fault, build: Build, hub_server: HubServer
) -> None:
    hub_server.faults.add(fault)
    with pytest.raises(PublishError) as caught:
        publish(build)
    assert caught.value.outcome == "nothing was changed"
    assert not hub_server.store.repositories


@pytest.mark.parametrize(
    "fault",
    [
        Fault("create_repo", first=2, status=403),
        Fault("create_repo", times=ENDLESS, lose_answer=True),
        Fault("refs", times=ENDLESS, status=503),
    ],
    ids=["the second", "answer lost", "created and not readable"],
)
@pytest.mark.usefixtures("pauses")
def test_where_a_repository_was_created_the_release_is_not_complete(
    fault: Fault, build: Build, hub_server: HubServer
) -> None:
    hub_server.faults.add(fault)
    with pytest.raises(PublishError) as caught:
        publish(build)
    assert caught.value.outcome == UNFINISHED
    assert len(hub_server.store.repositories) == 1
    hub_server.faults.clear()
    publish(build)
    assert_released(hub_server)


@pytest.mark.parametrize(("kind", "status"), [("lfs_upload", 507), ("commit", 413), ("lfs_batch", 507)])
def test_a_hub_whose_disk_is_full_is_told(
    build: Build, hub_server: HubServer, kind: str, status: int
) -> None:
    hub_server.faults.add(Fault(kind, first=2, times=ENDLESS, status=status))
    with refuses("hub.refused"):
        publish(build)
    hub_server.faults.clear()
    publish(build)
    assert_released(hub_server)


def test_a_card_that_the_hub_does_not_accept_is_told(build: Build, hub_server: HubServer) -> None:
    said = b'{"errors": [{"message": "license must be one of"}], "warnings": []}'
    hub_server.faults.add(Fault("validate_yaml", status=400, body=said))
    with refuses("hub.card_refused") as caught:
        publish(build)
    assert "license must be one of" in str(caught.value)
    assert caught.value.outcome == "nothing was changed"
    assert not hub_server.store.repositories
    publish(build)
    assert_released(hub_server)


def test_a_file_that_the_hub_does_not_take_is_told(build: Build, hub_server: HubServer) -> None:
    error = {"code": 422, "message": "too large"}
    said = json.dumps({"objects": [{"oid": "0" * 64, "size": 1, "error": error}]}).encode()
    hub_server.faults.add(Fault("lfs_batch", status=200, body=said))
    with refuses("hub.refused"):
        publish(build)


def test_a_file_that_changes_while_it_is_sent_is_noticed(build: Build, hub_server: HubServer) -> None:
    path = build.path / "dataset" / "data" / "meld" / "test-clean-00000.parquet"
    content = path.read_bytes()
    hub_server.faults.add(Fault("preupload", after=lambda: path.write_bytes(content[::-1])))
    with pytest.raises(PublishError) as caught:
        publish(build)
    assert all(release_commits(one) == [] for one in hub_server.store.repositories.values())
    assert str(path) in str(caught.value) or "test-clean-00000.parquet" in str(caught.value)
    path.write_bytes(content)
    publish(build)
    assert_released(hub_server)


def test_a_hub_that_is_not_there_is_told(
    build: Build, hub_server: HubServer, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    assert not hub_server.seen
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with refuses("hub.unreachable"):
        publish(build)
    assert pauses == [1, 2, 4, 8, 8]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with refuses("hub.unreachable"):
        publish(build)


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("kind", ["info", "refs"])
@pytest.mark.parametrize("body", [b"{}", b"[1]"])
def test_an_answer_of_another_form_is_a_problem(
    kind: str, body: bytes, build: Build, hub_server: HubServer
) -> None:
    publish(build)
    json_type = {"Content-Type": "application/json"}
    hub_server.faults.add(Fault(kind, times=ENDLESS, status=200, body=body, headers=json_type))
    with refuses("hub.unreadable"):
        publish(build)
    hub_server.faults.clear()
    publish(build)
    assert_released(hub_server)
