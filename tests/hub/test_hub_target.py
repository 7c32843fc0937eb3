"""A release on the Hub: what is there after it, what is asked before it, and what it does not touch."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dialoguellm_release.hub.checks import problems_of
from dialoguellm_release.hub.publish import Publication, publish_release
from dialoguellm_release.hub.store_hub import HubStore
from tests.hub.codes import refuses
from tests.hub.rights import with_dataset
from tests.hub_server.accounts import Token
from tests.hub_server.audit import broken_tags, release_commits
from tests.hub_server.faults import Fault
from tests.hub_server.server import HubServer
from tests.hub_server.store import Repository

if TYPE_CHECKING:
    from tests.hub.conftest import Build

NAMES = (
    ("dataset", "dialoguellm/instructions"),
    ("model", "dialoguellm/tiny-llama"),
    ("space", "dialoguellm/erc_scores"),
    ("model", "dialoguellm/tiny"),
)
DATASET, BACKBONE, METRIC, ADAPTER = NAMES


def publish(build: Build, **options: Any) -> Publication:
    return publish_release(build.recipe, build.path, HubStore(), **options)


def repositories(server: HubServer) -> list[Repository]:
    return [server.store.repositories[name] for name in NAMES]  # type: ignore[index]


def writes(server: HubServer) -> int:
    """Requests that change something; a card is validated by POST as well."""
    return sum(one.method in ("POST", "PUT", "DELETE") and one.kind != "validate_yaml" for one in server.seen)


def set_secret(server: HubServer, monkeypatch: pytest.MonkeyPatch, token: Token) -> str:
    secret = server.accounts.add("hf_another", token)
    monkeypatch.setenv("HF_TOKEN", secret)
    return secret


def test_a_release_is_tagged_in_every_repository(build: Build, hub_server: HubServer) -> None:
    done = publish(build)
    assert [one.state for one in done.repositories] == ["committed"] * 4
    for repository, one in zip(repositories(hub_server), done.repositories, strict=True):
        assert repository.tags == {"v1.0.0": repository.head.oid} == {"v1.0.0": one.commit}
        assert release_commits(repository) == ["v1.0.0"]
        assert one.where == f"{hub_server.url}/{one.name}"
    assert broken_tags(hub_server.store) == []
    data = "data/meld/test-clean-00000.parquet"
    sent = repositories(hub_server)[0].head.files[data].content
    assert sent == (build.path / "dataset" / data).read_bytes()
    assert repositories(hub_server)[2].sdk == "gradio"


def test_a_second_run_sends_nothing(build: Build, hub_server: HubServer) -> None:
    publish(build)
    before, count = [one.commits.copy() for one in repositories(hub_server)], writes(hub_server)
    done = publish(build)
    assert [one.state for one in done.repositories] == ["unchanged"] * 4
    assert [one.commits for one in repositories(hub_server)] == before
    assert writes(hub_server) == count + 1  # the collection is asked for


def test_the_next_release_commits_where_something_changed_and_tags_all(
    build: Build, hub_server: HubServer, request: pytest.FixtureRequest
) -> None:
    publish(build)
    old = {name: one.head.files for name, one in hub_server.store.repositories.items()}
    done = publish(request.getfixturevalue("next_build"))
    assert [one.state for one in done.repositories] == ["committed", "unchanged", "unchanged", "committed"]
    for repository in repositories(hub_server):
        assert repository.tags["v1.1.0"] == repository.head.oid
        assert (
            repository.commits[repository.tags["v1.0.0"]].files
            == old[repository.repo_type, repository.repo_id]
        )
    assert broken_tags(hub_server.store) == []


def test_a_change_makes_a_commit_there_and_in_what_depends_on_it(
    build: Build, hub_server: HubServer, metrics: Path
) -> None:
    publish(build)
    (build.path / "backbones" / "tiny" / "manifest.json").touch()
    recipe = build.recipe.model_copy(update={"tag": "v1.0.1"})
    assert {one.state for one in publish(replace(build, recipe=recipe)).repositories} == {"unchanged"}
    (metrics / "erc_scores" / "erc_scores.py").write_text("DESCRIPTION = 'other'\n", encoding="utf-8")
    recipe = build.recipe.model_copy(update={"tag": "v1.1.0"})
    done = publish(replace(build, recipe=recipe))
    assert [(one.repo_id, one.state) for one in done.repositories if one.state == "committed"] == [
        ("dialoguellm/erc_scores", "committed"),
        ("dialoguellm/tiny", "committed"),  # its scores name the metric by commit
    ]
    assert broken_tags(hub_server.store) == []


def test_croissant_states_the_release_in_which_the_dataset_last_changed(
    build: Build, hub_server: HubServer, request: pytest.FixtureRequest
) -> None:
    def version() -> str:
        files = hub_server.store.repositories["dataset", "dialoguellm/instructions"].head.files
        return str(json.loads(files["croissant.json"].content)["version"])

    dated = build.recipe.model_copy(update={"tag": "v1.0.1", "date": "2026-02-01"})
    for recipe in (build.recipe, dated, dated):
        publish(replace(build, recipe=recipe))
        assert version() == "1.0.0"
    publish(request.getfixturevalue("next_build"))
    assert version() == "1.1.0"


def test_a_dry_run_needs_no_token_and_writes_nothing(
    build: Build, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    planned = publish(build, dry_run=True)
    assert writes(hub_server) == 0
    assert not hub_server.store.repositories
    assert problems_of(planned.checks) == []
    monkeypatch.setenv("HF_TOKEN", "hf_maintainerstoken")
    done = publish(build)
    assert [one.changes for one in planned.repositories] == [one.changes for one in done.repositories]
    assert all(one.is_new and one.commit is None for one in planned.repositories)


def test_the_plan_is_shown_before_anything_is_written(build: Build, hub_server: HubServer) -> None:
    shown = []

    def refuse(planned: Publication) -> bool:
        shown.append([one.repo_id for one in planned.repositories])
        return False

    with refuses("hub.not_approved"):
        publish(build, approve=refuse)
    assert shown == [[name for _, name in NAMES]]
    assert writes(hub_server) == 0
    publish(build)
    publish(build, approve=refuse)  # nothing is left to be asked


def test_a_hand_written_part_of_a_card_is_kept(
    build: Build, hub_server: HubServer, request: pytest.FixtureRequest
) -> None:
    publish(build)
    card = repositories(hub_server)[0].head.files["README.md"].content
    edited = card.replace(b"---\n", b"---\nour_note: kept\n", 1) + b"\n## Errata\n\nWritten by hand.\n"
    hub_server.store.add_commit(*DATASET, {"README.md": edited})  # type: ignore[arg-type]
    publish(request.getfixturevalue("next_build"))
    now = repositories(hub_server)[0].head.files["README.md"].content
    assert b"## Errata\n\nWritten by hand." in now
    assert b"our_note: kept" in now
    assert broken_tags(hub_server.store) == []


@pytest.mark.parametrize("path", ["theirs.txt", "data/meld/test-clean-00000.parquet", "manifest.json"])
def test_what_others_put_there_is_not_overwritten(
    build: Build, hub_server: HubServer, request: pytest.FixtureRequest, path: str
) -> None:
    publish(build)
    hub_server.store.add_commit(*DATASET, {path: b"theirs"})  # type: ignore[arg-type]
    next_build = request.getfixturevalue("next_build")
    before = writes(hub_server)
    with refuses("hub.foreign_file", path):
        publish(next_build)
    assert writes(hub_server) == before
    assert repositories(hub_server)[0].head.files[path].content == b"theirs"


def test_a_file_that_others_took_away_does_not_come_back(
    build: Build, hub_server: HubServer, request: pytest.FixtureRequest
) -> None:
    publish(build)
    hub_server.store.add_commit(*DATASET, {"manifest.json": None})  # type: ignore[arg-type]
    with refuses("hub.foreign_deletion", "manifest.json"):
        publish(request.getfixturevalue("next_build"))


def test_a_repository_of_ones_own_with_other_things_in_it_is_left_alone(
    build: Build, hub_server: HubServer
) -> None:
    hub_server.store.create(*ADAPTER)  # type: ignore[arg-type]
    hub_server.store.add_commit(*ADAPTER, {"adapter_model.safetensors": b"older work"})  # type: ignore[arg-type]
    with refuses("hub.foreign_file"):
        publish(build)
    assert len(hub_server.store.repositories) == 1


def test_private_repositories_are_made_private_and_never_opened(
    build: Build, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = with_dataset(build.recipe, visibility="private", gated="auto")
    publish(replace(build, recipe=private))
    made = repositories(hub_server)[0]
    assert (made.visibility, made.gated) == ("private", "auto")
    assert repositories(hub_server)[1].visibility == "public"
    made.visibility = "public"
    with refuses("hub.other_visibility"):
        publish(replace(build, recipe=private))
    made.visibility, made.gated = "private", False
    with refuses("hub.not_gated"):
        publish(replace(build, recipe=private))
    monkeypatch.delenv("HF_TOKEN")
    assert publish(replace(build, recipe=private), dry_run=True).repositories[0].is_new  # not to be seen


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "hub.no_token"),
        (Token("maintainer", organizations=("dialoguellm",), is_expired=True), "hub.bad_token"),
        (Token("maintainer", organizations=("dialoguellm",), role="read"), "hub.read_only_token"),
        (Token("other"), "hub.other_owner"),
    ],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_a_token_without_rights_changes_nothing_and_is_not_printed(
    build: Build,
    hub_server: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    token: Token | None,
    code: str,
    is_there: bool,
) -> None:
    caplog.set_level("DEBUG")
    if is_there:
        publish(build)
    before = writes(hub_server)
    secret = set_secret(hub_server, monkeypatch, token) if token else "hf_maintainerstoken"
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    with refuses(code) as caught:
        publish(build)
    assert writes(hub_server) == before
    assert secret not in str(caught.value) + caplog.text


def test_a_tag_on_other_content_is_refused_and_one_on_the_same_is_kept(
    build: Build, hub_server: HubServer
) -> None:
    publish(build)
    publish(build)
    repository = repositories(hub_server)[3]
    repository.tags["v1.0.0"] = next(iter(repository.commits))
    before = writes(hub_server)
    with refuses("hub.tag_has_other_content") as caught:
        publish(build)
    assert caught.value.problems[0].got == f"commit {repository.tags['v1.0.0']}"
    assert writes(hub_server) == before


def test_the_page_that_the_hub_puts_into_a_new_space_is_replaced(
    build: Build, hub_server: HubServer, metrics: Path
) -> None:
    card = metrics / "erc_scores" / "README.md"
    card.write_text(card.read_text(encoding="utf-8").replace("gradio", "static"), encoding="utf-8")
    publish(build)
    made = repositories(hub_server)[2]
    first = next(iter(made.commits.values()))
    assert "style.css" in first.files
    assert not {"style.css", "index.html"} & set(made.head.files)
    assert broken_tags(hub_server.store) == []


def test_a_new_space_in_which_nothing_was_put_yet_is_taken(build: Build, hub_server: HubServer) -> None:
    hub_server.store.create("space", "dialoguellm/erc_scores", sdk="static")
    publish(build)
    assert broken_tags(hub_server.store) == []


def test_every_byte_is_counted_once(
    build: Build, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[tuple[int | None, list[int]]] = []

    @contextmanager
    def record(_name: str, total: int | None, *, in_bytes: bool) -> Iterator[Callable[[int], None]]:
        assert in_bytes
        bars.append((total, []))
        yield bars[-1][1].append

    monkeypatch.setattr("dialoguellm_release.hub.publish.progress", record)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    hub_server.faults.add(Fault("lfs_upload", times=2, cut_request_after=1000))
    planned = publish(build, dry_run=True)
    publish(build)
    ((total, moves),) = bars
    assert sum(moves) == total == sum(file.size for one in planned.repositories for file in one.changes)
    assert min(moves) > 0


def test_the_repositories_stand_in_a_collection(build: Build, hub_server: HubServer) -> None:
    for _ in range(2):
        publish(build)
    (collection,) = hub_server.store.collections.values()
    assert [(one["type"], one["id"]) for one in collection.items] == list(NAMES)


def test_off_a_terminal_the_hub_needs_a_yes(build: Build, hub_server: HubServer, run: Any) -> None:
    arguments = ("publish", "demo", "--from", build.path, "--to", "hub")
    ended = run(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert "add --yes" in ended.err
    assert not hub_server.seen
    planned = run(*arguments, "--dry-run")
    assert planned.code == 0
    assert "data/meld/test-clean-00000.parquet" in planned.out
    assert "licences" in planned.out
    assert "Nothing was written" in planned.err
    data = json.loads(run(*arguments, "--dry-run", "--json").out)
    assert [one["visibility"] for one in data["repositories"]] == ["public"] * 5
    assert data["repositories"][0]["changes"][0]["change"] == "added"
    assert {one["verdict"] for one in data["gates"]} <= {"pass", "not checked"}
    done = json.loads(run(*arguments, "--yes", "--json").out)
    assert [one["commit"] for one in done["repositories"]] == [
        one.head.oid for one in hub_server.store.repositories.values()
    ]
    assert run(*arguments, "--yes").code == 0


class Terminal(io.StringIO):
    """Somebody at a keyboard."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_one_is_asked(
    build: Build, hub_server: HubServer, run: Any, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    ended = run("publish", "demo", "--from", build.path, "--to", "hub")
    assert ended.code == code
    assert f"go to {hub_server.url}/datasets/dialoguellm/instructions" in ended.err
    assert "Publish v1.0.0?" in ended.err
    assert len(hub_server.store.repositories) == (5 if answer == "y" else 0)


def test_a_dry_run_shows_what_is_wrong_and_fails(build: Build, hub_server: HubServer, run: Any) -> None:
    hub_server.store.create(*ADAPTER)  # type: ignore[arg-type]
    hub_server.store.add_commit(*ADAPTER, {"theirs.txt": b"theirs"})  # type: ignore[arg-type]
    ended = run("publish", "demo", "--from", build.path, "--to", "hub", "--dry-run")
    assert ended.code == 1
    assert "theirs.txt: was added or changed by somebody else" in ended.err
    assert "fail" in ended.out
