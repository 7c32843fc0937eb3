"""Some repositories of a release go out alone: what is refused, and what is left as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dialoguellm_release.errors import PublishError
from dialoguellm_release.hub import contents
from dialoguellm_release.hub.checks import problems_of
from dialoguellm_release.hub.publish import Publication, publish_release
from dialoguellm_release.hub.store_folder import FolderStore
from dialoguellm_release.hub.store_hub import HubStore
from dialoguellm_release.schemas.release import RELEASE_FILE
from tests.hub.codes import refuses
from tests.hub.rights import RIGHT, rebuilt, released, with_rights
from tests.hub_server.audit import broken_tags
from tests.hub_server.server import HubServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hub.conftest import Build

DATASET = "datasets/dialoguellm/instructions"
BACKBONE, ADAPTER = "dialoguellm/tiny-llama", "dialoguellm/tiny"
METRIC = "spaces/dialoguellm/erc_scores"
APP = "spaces/dialoguellm/emotion_demo"
ORIGINS = ("dataset", "backbones", "spaces")


def publish(build: Build, *only: str, tag: str = "v1.0.0", **options: Any) -> Publication:
    recipe = build.recipe.model_copy(update={"tag": tag})
    return publish_release(recipe, build.path, HubStore(), only=only, **options)


def names(done: Publication) -> list[str]:
    return [one.name for one in done.repositories]


def state(server: HubServer) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Commits and tags of every repository."""
    held = server.store.repositories
    return {name: (list(one.commits), dict(one.tags)) for (_, name), one in held.items()}


def writes(server: HubServer) -> int:
    return sum(one.method in ("POST", "PUT", "DELETE") and one.kind != "validate_yaml" for one in server.seen)


def refused(build: Build, server: HubServer, only: Sequence[str], **options: Any) -> list[str]:
    """The codes of the problems of a run, which a dry run tells as well; neither changes anything."""
    before, count = state(server), writes(server)
    planned = publish(build, *only, dry_run=True, **options)
    with pytest.raises(PublishError) as caught:
        publish(build, *only, **options)
    assert caught.value.outcome == "nothing was changed"
    assert list(caught.value.problems) == problems_of(planned.checks)
    assert (state(server), writes(server)) == (before, count)
    return [problem.code for problem in caught.value.problems]


def test_a_dataset_goes_out_before_the_rest_is_there(build: Build, hub_server: HubServer) -> None:
    kept = {name: shutil.move(build.path / name, build.path.parent / name) for name in ("adapters", "scores")}
    assert names(publish(build, "dataset")) == [DATASET]
    ((kind, _),) = hub_server.store.repositories
    assert kind == "dataset"
    dataset = state(hub_server)["dialoguellm/instructions"]
    assert list(dataset[1]) == ["v1.0.0"]
    for name, moved in kept.items():
        shutil.move(moved, build.path / name)
    done = publish(build)
    assert [one.state for one in done.repositories] == ["unchanged", "committed", "committed", "committed"]
    assert state(hub_server)["dialoguellm/instructions"] == dataset
    assert broken_tags(hub_server.store) == []


def test_an_adapter_alone_is_linked_to_what_stands_there(build: Build, hub_server: HubServer) -> None:
    publish(build, *ORIGINS)
    before = state(hub_server)
    done = publish(build, ADAPTER)
    assert names(done) == [ADAPTER]
    after = state(hub_server)
    assert {name: after[name] for name in before} == before
    assert broken_tags(hub_server.store) == []
    adapter = hub_server.store.repositories["model", ADAPTER]
    links = json.loads(adapter.head.files[RELEASE_FILE].content)["depends_on"]
    tagged = {
        one["repository"]: after[one["repository"].removeprefix("datasets/").removeprefix("spaces/")][1]
        for one in links
    }
    assert {one["repository"]: one["commit"] for one in links} == {
        name: tags["v1.0.0"] for name, tags in tagged.items()
    }
    assert {one.repository: one.commit for one in done.upstream} == {
        one["repository"]: one["commit"] for one in links
    }
    assert [one.state for one in publish(build).repositories] == ["unchanged"] * 4
    assert state(hub_server) == after


def test_all_that_is_missing_of_the_others_is_told(build: Build, hub_server: HubServer) -> None:
    publish(build, "dataset")
    assert refused(build, hub_server, ["adapters"]) == ["hub.link_not_published"] * 2
    with pytest.raises(PublishError, match=f"publish it as well: --only {METRIC}"):
        publish(build, "adapters")


def test_under_a_new_tag_the_others_need_it_as_well(build: Build, hub_server: HubServer) -> None:
    publish(build)
    assert refused(build, hub_server, [ADAPTER], tag="v1.1.0") == ["hub.link_not_published"] * 3
    done = publish(build, ADAPTER, *ORIGINS, tag="v1.1.0")
    assert {one.state for one in done.repositories} == {"unchanged"}
    assert broken_tags(hub_server.store) == []


def test_others_that_hold_something_else_are_not_built_upon(
    build: Build, hub_server: HubServer, request: pytest.FixtureRequest
) -> None:
    publish(build, *ORIGINS)
    other_build = request.getfixturevalue("next_build")
    assert refused(other_build, hub_server, [ADAPTER]) == ["hub.link_has_other_content"]


def test_others_that_pass_on_something_else_are_not_built_upon(build: Build, hub_server: HubServer) -> None:
    private = replace(build, recipe=released(build, "private"))
    with_rights(build, meisd=RIGHT)
    publish(private, *ORIGINS)
    rebuilt(build, meisd="full")
    with_rights(build, meisd=RIGHT)
    assert refused(private, hub_server, [ADAPTER]) == ["hub.link_has_other_part"]


def test_a_text_that_would_be_another_today_does_not_matter_in_others(
    build: Build, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(build, *ORIGINS)
    monkeypatch.setattr(contents, "render_licenses", lambda *_: "Other words.\n")
    with refuses("hub.tag_has_other_content"):
        publish(build)
    publish(build, ADAPTER)
    assert broken_tags(hub_server.store) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"{}", "hub.bad_release_file"), (None, "hub.link_without_release")],
)
def test_others_that_no_release_has_made_are_not_built_upon(
    build: Build, hub_server: HubServer, content: bytes | None, code: str
) -> None:
    publish(build, *ORIGINS)
    changed = hub_server.store.add_commit("model", BACKBONE, {RELEASE_FILE: content})
    hub_server.store.repositories["model", BACKBONE].tags["v1.0.0"] = changed.oid
    assert set(refused(build, hub_server, [ADAPTER])) == {code}


def test_an_adapter_of_another_dataset_is_refused_though_nothing_depends_on_it(
    build: Build, hub_server: HubServer, request: pytest.FixtureRequest
) -> None:
    kept = shutil.copytree(build.path / "adapters", build.path.parent / "kept")
    request.getfixturevalue("next_build")
    shutil.rmtree(build.path / "adapters")
    shutil.move(kept, build.path / "adapters")
    (adapter,) = build.recipe.adapters
    loose = adapter.model_copy(update={"depends_on": (BACKBONE,)})
    recipe = build.recipe.model_copy(update={"adapters": (loose,)})
    found = refused(replace(build, recipe=recipe), hub_server, ["backbones", "adapters"])
    assert "checks.other_dataset" in found


@pytest.mark.usefixtures("hub_server")
def test_only_the_owner_of_what_is_published_is_asked_for(build: Build) -> None:
    (space,) = build.recipe.spaces
    elsewhere = build.recipe.model_copy(
        update={
            "spaces": (space.model_copy(update={"repo_id": "somebody/erc_scores"}),),
            "adapters": (),
        }
    )
    with refuses("hub.other_owner"):
        publish(replace(build, recipe=elsewhere))
    assert names(publish(replace(build, recipe=elsewhere), "backbones")) == [BACKBONE]


@pytest.mark.parametrize("word", ["adapter", "instructions", "nobody/nothing", "models/dialoguellm/tiny"])
def test_a_word_that_names_nothing_is_told_with_those_that_do(
    build: Build, hub_server: HubServer, run: Any, word: str
) -> None:
    options = ("--from", build.path, "--to", "hub", "--yes", "--only", word, "--only", "dataset")
    ended = run("publish", "demo", *options)
    assert ended.code == 1
    assert f"--only {word}: is not a repository of this release" in ended.err
    assert "expected: dataset, backbones, adapters, spaces, " in ended.err
    assert {DATASET, BACKBONE, ADAPTER, METRIC} <= set(ended.err.replace("\n", ", ").split(", "))
    assert not hub_server.seen


def test_ids_and_names_name_the_same(build: Build, hub_server: HubServer) -> None:
    for words in (
        ["dialoguellm/instructions", METRIC],
        ["spaces", DATASET],
        ["dialoguellm/erc_scores", "dataset"],
    ):
        assert names(publish(build, *words, dry_run=True)) == [DATASET, METRIC]
    assert not hub_server.store.repositories


def test_the_command_shows_what_is_left_as_it_is(build: Build, hub_server: HubServer, run: Any) -> None:
    command = ("publish", "demo", "--from", build.path, "--to", "hub")
    origins = [word for one in ("dataset", "backbones", METRIC) for word in ("--only", one)]
    assert run(*command, *origins, "--yes").code == 0
    planned = run(*command, "--only", "adapters", "--dry-run")
    commit = hub_server.store.repositories["dataset", "dialoguellm/instructions"].tags["v1.0.0"]
    assert f"{DATASET}: left as it is, v1.0.0 at commit {commit}\n" in planned.out
    data = json.loads(run(*command, "--only", "adapters", "--yes", "--json").out)
    assert [one["repo_id"] for one in data["repositories"]] == [ADAPTER]
    assert {"repository": DATASET, "commit": commit}.items() <= data["upstream"][0].items()
    assert broken_tags(hub_server.store) == []


def test_a_dry_run_shows_the_collection(build: Build, hub_server: HubServer, run: Any) -> None:
    command = ("publish", "demo", "--from", build.path, "--to", "hub")
    pages = f"{hub_server.url}/collections/dialoguellm"
    planned = run(*command, "--dry-run")
    assert f"collection DialogueLLM, in small: new, {pages}\n  listed  {DATASET}\n" in planned.out
    assert not hub_server.store.collections
    publish(build, "dataset")
    (page,) = hub_server.store.collections.values()
    assert [(one["type"], one["id"]) for one in page.items] == [("dataset", "dialoguellm/instructions")]
    data = json.loads(run(*command, "--dry-run", "--json").out)
    assert data["collection"] == {
        "title": "DialogueLLM, in small",
        "where": f"{hub_server.url}/collections/{page.slug}",
        "is_new": False,
        "added": [BACKBONE, METRIC, ADAPTER, APP],
    }
    page.items.insert(0, {"type": "paper", "id": "2310.11374", "_id": "f" * 24})
    assert run(*command, "--yes").code == 0
    assert len(page.items) == 6
    assert "collection DialogueLLM, in small: no change, " in run(*command, "--dry-run").out


def test_a_folder_has_no_collection(build: Build, tmp_path: Path, run: Any) -> None:
    command = ("publish", "demo", "--from", build.path, "--to", tmp_path / "target", "--dry-run")
    assert "collection" not in run(*command).out
    assert json.loads(run(*command, "--json").out)["collection"] is None


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("method", ["commit", "set_branch", "tag"])
def test_a_run_that_was_cut_short_is_finished_by_the_same_command(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def run(*only: str) -> list[tuple[str, str | None]]:
        done = publish_release(build.recipe, build.path, FolderStore(tmp_path / "target"), only=only)
        return [(one.name, one.commit) for one in done.repositories]

    def die(*_arguments: object) -> None:
        raise Killed

    origins = dict(run(*ORIGINS))
    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, method, die)
        with pytest.raises(Killed):
            run("adapters")
    adapter = dict(run("adapters"))
    assert dict(run()) == {**origins, **adapter}
