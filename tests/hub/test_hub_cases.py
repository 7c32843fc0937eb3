"""What the Hub refuses, lacks or tells late is named as what it is, with the true outcome and advice."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from dialoguellm_release.hub.checks import problems_of
from dialoguellm_release.hub.lookup import Copy, published_folder
from dialoguellm_release.hub.publish import NO_COLLECTIONS, Publication, publish_release
from dialoguellm_release.hub.store import UNCHANGED, UNFINISHED
from dialoguellm_release.hub.store_hub import HubStore
from dialoguellm_release.hub.verify_models import figures_check
from dialoguellm_release.schemas.release import SpaceRepository
from dialoguellm_release.steps.release import verify_release
from tests.hub.codes import codes, refuses
from tests.hub.rights import with_dataset
from tests.hub_server.audit import broken_tags
from tests.hub_server.faults import Fault

if TYPE_CHECKING:
    from tests.hub.conftest import Build
    from tests.hub_server.server import HubServer
    from tests.hub_server.store import Repository

ENDLESS = 1000
NAME = "datasets/dialoguellm/instructions"
JSON = {"Content-Type": "application/json"}
GATED = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this dataset is restricted"}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)


def publish(build: Build, **options: Any) -> Publication:
    return publish_release(build.recipe, build.path, HubStore(), **options)


def dataset_of(server: HubServer) -> Repository:
    return server.store.repositories["dataset", "dialoguellm/instructions"]


@pytest.mark.parametrize(("status", "code"), [(500, "hub.keeps_failing"), (403, "hub.no_permission")])
def test_a_repository_that_was_created_but_not_gated_is_gated_by_the_next_run(
    build: Build, hub_server: HubServer, status: int, code: str
) -> None:
    gated = replace(build, recipe=with_dataset(build.recipe, gated="auto"))
    hub_server.faults.add(Fault("settings", times=ENDLESS, status=status))
    with refuses(code, NAME) as caught:
        publish(gated)
    assert caught.value.outcome == UNFINISHED
    assert dataset_of(hub_server).gated is False
    hub_server.faults.clear()
    publish(gated)
    assert dataset_of(hub_server).gated == "auto"
    assert broken_tags(hub_server.store) == []


def test_a_repository_with_a_commit_is_not_gated_by_a_release(build: Build, hub_server: HubServer) -> None:
    hub_server.store.create("dataset", "dialoguellm/instructions")
    hub_server.store.add_commit("dataset", "dialoguellm/instructions", {"notes.txt": b"theirs"})
    with refuses("hub.not_gated", NAME):
        publish(replace(build, recipe=with_dataset(build.recipe, gated="auto")))
    assert dataset_of(hub_server).gated is False


@pytest.mark.parametrize("kind", ["info", "resolve"])
def test_a_gated_repository_without_access_says_where_to_ask(
    build: Build, hub_server: HubServer, kind: str
) -> None:
    publish(build)
    hub_server.faults.add(Fault(kind, times=ENDLESS, status=403, headers=GATED))
    with refuses("hub.gated", NAME) as caught:
        published_folder("dialoguellm/instructions@v1.0.0")
    problem = caught.value.problems[0]
    assert f"ask for access at {hub_server.url}/{NAME}" in str(problem.fix)
    assert "Access to this dataset is restricted" in str(problem.got)
    assert "write" not in str(problem)


def test_a_gated_repository_is_not_taken_for_a_new_one(build: Build, hub_server: HubServer) -> None:
    hub_server.faults.add(Fault("info", times=ENDLESS, status=403, headers=GATED))
    with refuses("hub.gated"):
        publish(build)
    assert not hub_server.store.repositories


def test_reading_does_not_speak_of_writing(build: Build, hub_server: HubServer) -> None:
    publish(build)
    hub_server.faults.add(Fault("refs", times=ENDLESS, status=403))
    with refuses("hub.no_permission", NAME) as caught:
        verify_release(f"{NAME}@v1.0.0")
    assert "read it" in str(caught.value)
    assert "write" not in str(caught.value)


@pytest.mark.parametrize("kind", ["commit", "lfs_batch"])
@pytest.mark.parametrize("said", ["Private repository storage limit reached", "You exceeded your quota"])
def test_a_full_storage_is_named(build: Build, hub_server: HubServer, kind: str, said: str) -> None:
    body = json.dumps({"error": said}).encode()
    hub_server.faults.add(Fault(kind, status=403, body=body, headers=JSON))
    with refuses("hub.storage_full", NAME) as caught:
        publish(build)
    assert "token" not in str(caught.value)
    assert caught.value.outcome == UNFINISHED


@pytest.mark.parametrize("status", [500, 429])
@pytest.mark.parametrize("kind", ["refs", "info", "tree", "resolve"])
def test_a_hub_that_keeps_failing_is_named_while_something_is_read(
    build: Build, hub_server: HubServer, kind: str, status: int
) -> None:
    publish(build)
    hub_server.faults.add(Fault(kind, times=ENDLESS, status=status))
    with refuses("hub.keeps_failing", f"{hub_server.url}/{NAME}") as caught:
        HubStore().download(NAME, "v1.0.0")
        HubStore().state(NAME, "v1.0.0")
    assert str(status) in str(caught.value.problems[0].got)
    assert caught.value.outcome == UNCHANGED


def test_a_card_that_the_hub_refuses_is_found_by_a_dry_run(build: Build, hub_server: HubServer) -> None:
    said = b'{"errors": [{"message": "license must be one of"}], "warnings": []}'
    hub_server.faults.add(Fault("validate_yaml", times=ENDLESS, status=400, body=said))
    found = problems_of(publish(build, dry_run=True).checks)
    assert [one.code for one in found] == ["hub.card_refused"] * 4
    assert all("license must be one of" in str(one.got) for one in found)


def test_a_hub_that_validates_no_cards_is_published_to(build: Build, hub_server: HubServer) -> None:
    hub_server.faults.add(Fault("validate_yaml", times=4, status=404))
    publish(build)
    assert broken_tags(hub_server.store) == []


def test_a_metric_space_is_named_as_its_module() -> None:
    assert SpaceRepository(repo_id="somebody/erc_scores", metric="erc_scores").metric == "erc_scores"
    for repo_id in ("somebody/erc-scores", "erc_scores/metric"):
        with pytest.raises(ValidationError, match="evaluate.load"):
            SpaceRepository(repo_id=repo_id, metric="erc_scores")


@pytest.mark.parametrize("status", [404, 501])
def test_a_hub_without_collections_is_a_note(
    build: Build, hub_server: HubServer, run: Any, status: int
) -> None:
    for kind in ("list_collections", "create_collection"):
        hub_server.faults.add(Fault(kind, times=ENDLESS, status=status))
    command = ("publish", "demo", "--from", build.path, "--to", "hub")
    planned = run(*command, "--dry-run")
    assert planned.code == 0, planned.err
    assert f"Note: {NO_COLLECTIONS}." in planned.err
    assert "data/meld/test-clean-00000.parquet" in planned.out
    done = run(*command, "--yes", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["notes"] == [NO_COLLECTIONS]
    assert broken_tags(hub_server.store) == []


def test_a_collection_that_the_token_may_not_change_is_refused(build: Build, hub_server: HubServer) -> None:
    hub_server.faults.add(Fault("create_collection", status=403))
    with refuses("hub.no_permission"):
        publish(build)
    assert broken_tags(hub_server.store) == []


@pytest.mark.parametrize(
    ("after", "listed", "stale"),
    [
        ("create_tag", "refs", {"branches": [], "tags": [], "converts": []}),
        ("commit", "tree", []),
    ],
)
def test_a_list_that_is_a_moment_old_is_read_again(
    build: Build, hub_server: HubServer, after: str, listed: str, stale: object
) -> None:
    def make_stale() -> None:
        body = json.dumps(stale).encode()
        hub_server.faults.add(Fault(listed, status=200, body=body, headers=JSON))

    hub_server.faults.add(Fault(after, after=make_stale))
    publish(build)
    assert broken_tags(hub_server.store) == []
    assert all(one.tags for one in hub_server.store.repositories.values())


def test_scores_without_predictions_do_not_pass(published: Path) -> None:
    folder = published / "models/dialoguellm/tiny"
    found = figures_check(Copy(folder, "dialoguellm/tiny", None, None, None))
    assert (found.outcome, found.note) == ("not checked", "0 of 1 score folders have their predictions")


def test_a_score_folder_that_is_not_listed_still_fails(published: Path) -> None:
    folder = published / "models/dialoguellm/tiny"
    (folder / "scores/meld-tiny").rename(folder / "scores/other")
    found = figures_check(Copy(folder, "dialoguellm/tiny", None, None, None))
    assert {one.code for one in found.problems} == {"verify.unlisted_score"}


def test_codes_are_stable_names(build: Build) -> None:
    with refuses("sources.not_in_release") as caught:
        publish(build, only=["nothing"])
    assert codes(caught.value) == {"sources.not_in_release"}
