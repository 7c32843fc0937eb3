"""The Hub of the tests, held against the libraries that it stands in for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    get_session,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from tests.hub_server.accounts import Token
from tests.hub_server.clients import point_clients_at
from tests.hub_server.faults import Fault
from tests.hub_server.server import HubServer

REPO = "dialoguellm/things"


@pytest.fixture
def api(hub_server: HubServer) -> HfApi:
    return HfApi(endpoint=hub_server.url)


def add(path: str, content: bytes | Path) -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


def test_regular_and_lfs_files_come_back_at_every_revision(api: HfApi, hub_server: HubServer) -> None:
    api.create_repo(REPO, repo_type="dataset")
    card, weights = b"---\nlicense: mit\n---\n", bytes(range(256)) * 40
    first = api.create_commit(
        REPO, [add("README.md", card), add("a/w.bin", weights)], commit_message="1", repo_type="dataset"
    )
    api.create_tag(REPO, tag="v1", revision=first.oid, repo_type="dataset")
    second = api.create_commit(
        REPO,
        [add("a/w.bin", weights[::-1]), CommitOperationDelete("README.md")],
        commit_message="2",
        parent_commit=first.oid,
        repo_type="dataset",
    )
    for revision, expected in (("v1", weights), (first.oid, weights), ("main", weights[::-1])):
        path = hf_hub_download(REPO, "a/w.bin", repo_type="dataset", revision=revision)
        assert Path(path).read_bytes() == expected
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download(REPO, "README.md", repo_type="dataset", revision=second.oid)
    tree = api.list_repo_tree(REPO, repo_type="dataset", revision="v1", recursive=True)
    lfs = {one.path: one.lfs.sha256 if isinstance(one, RepoFile) and one.lfs else None for one in tree}
    assert lfs == {
        ".gitattributes": None,
        "README.md": None,
        "a": None,
        "a/w.bin": hashlib.sha256(weights).hexdigest(),
    }
    assert [one.title for one in api.list_repo_commits(REPO, repo_type="dataset")] == [
        "2",
        "1",
        "initial commit",
    ]
    assert hub_server.count("cdn") >= 2


def test_a_listing_comes_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer(page_size=3).running() as server:
        point_clients_at(server, tmp_path, monkeypatch)
        server.store.create("model", REPO)
        names = {f"{number}.txt" for number in range(10)}
        server.store.add_commit("model", REPO, {name: name.encode() for name in names})
        assert set(HfApi(endpoint=server.url).list_repo_files(REPO)) == names | {".gitattributes"}
        assert server.count("tree") == 4


def test_large_files_go_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer(chunk_size=1000).running() as server:
        point_clients_at(server, tmp_path, monkeypatch)
        monkeypatch.setenv("HF_TOKEN", server.accounts.add("hf_a", Token("maintainer")))
        server.store.create("model", "maintainer/x")
        content = bytes(range(250)) * 10
        HfApi(endpoint=server.url).create_commit("maintainer/x", [add("w.bin", content)], commit_message="1")
        assert server.count("lfs_upload") == 3
        assert Path(hf_hub_download("maintainer/x", "w.bin")).read_bytes() == content


def test_a_stale_parent_is_refused(api: HfApi, hub_server: HubServer) -> None:
    stale = hub_server.store.create("model", REPO).head.oid
    hub_server.store.add_commit("model", REPO, {"theirs.txt": b"theirs"})
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_commit(REPO, [add("a.txt", b"a")], commit_message="1", parent_commit=stale)
    assert caught.value.response.status_code == 412


def test_an_upload_that_is_not_its_hash_is_refused(api: HfApi, hub_server: HubServer) -> None:
    hub_server.store.create("model", REPO)
    operation = add("w.bin", b"content")
    operation.upload_info.sha256 = hashlib.sha256(b"other").digest()
    with pytest.raises(RuntimeError, match=r"w\.bin"):
        api.create_commit(REPO, [operation], commit_message="1")


def test_what_is_private_is_not_there_for_others(
    api: HfApi, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create_repo(REPO, private=True)
    assert api.repo_info(REPO).private
    hub_server.accounts.add("hf_other", Token("other"))
    for token in ("hf_other", False):
        with pytest.raises(RepositoryNotFoundError):
            api.repo_info(REPO, token=token)
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download(REPO, ".gitattributes")


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (Token("dialoguellm", role="read"), 403),
        (Token("other"), 403),
        (Token("dialoguellm", is_expired=True), 401),
    ],
)
def test_tokens_without_rights_change_nothing(
    api: HfApi, hub_server: HubServer, token: Token, status: int
) -> None:
    before = hub_server.store.create("model", REPO).head
    secret = hub_server.accounts.add("hf_weak", token)
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_commit(REPO, [add("a.txt", b"a")], commit_message="1", token=secret)
    assert caught.value.response.status_code == status
    with pytest.raises(HfHubHTTPError):
        api.create_tag(REPO, tag="v1", token=secret)
    repository = hub_server.store.repositories["model", REPO]
    assert (repository.head, repository.tags) == (before, {})


def test_what_is_there_is_not_made_again(api: HfApi, hub_server: HubServer) -> None:
    api.create_repo(REPO, repo_type="space", space_sdk="static")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(REPO, repo_type="space", space_sdk="static")
    api.create_tag(REPO, tag="v1", repo_type="space")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag(REPO, tag="v1", repo_type="space")
    api.create_branch(REPO, branch="a/b", repo_type="space")
    refs = api.list_repo_refs(REPO, repo_type="space")
    assert ([one.name for one in refs.tags], [one.name for one in refs.branches]) == (["v1"], ["main", "a/b"])
    api.delete_tag(REPO, tag="v1", repo_type="space")
    api.delete_repo(REPO, repo_type="space")
    assert not hub_server.store.repositories
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info(REPO, repo_type="space")


def test_a_missing_revision_is_told_from_a_missing_repository(api: HfApi, hub_server: HubServer) -> None:
    hub_server.store.create("model", REPO)
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(REPO, revision="v9")
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info("dialoguellm/nothing")


def test_part_of_a_file_is_given(hub_server: HubServer) -> None:
    hub_server.store.create("model", REPO)
    hub_server.store.add_commit("model", REPO, {"a.txt": b"0123456789"})
    url = f"{hub_server.url}/{REPO}/resolve/main/a.txt"
    for asked, expected in (("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89")):
        answer = get_session().get(url, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206, expected)
    assert get_session().get(url, headers={"Range": "bytes=10-"}).status_code == 416


def test_a_collection_holds_repositories(api: HfApi, hub_server: HubServer) -> None:
    hub_server.store.create("model", REPO)
    made = api.create_collection("A release", namespace="dialoguellm")
    again = api.create_collection("A release", namespace="dialoguellm", exists_ok=True)
    assert made.slug == again.slug
    for _ in range(2):
        held = api.add_collection_item(made.slug, REPO, "model", exists_ok=True)
    assert [one.item_id for one in held.items] == [REPO]


def test_faults_hit_the_requests_they_name(api: HfApi, hub_server: HubServer) -> None:
    hub_server.store.create("model", REPO)
    hub_server.faults.add(Fault("info", first=2, status=403))
    api.repo_info(REPO)
    with pytest.raises(HfHubHTTPError, match="403"):
        api.repo_info(REPO)
    api.repo_info(REPO)
    hub_server.faults.add(Fault("create_tag", lose_answer=True))
    with pytest.raises(Exception, match="disconnected"):
        api.create_tag(REPO, tag="v1")
    assert hub_server.store.repositories["model", REPO].tags == {
        "v1": hub_server.store.repositories["model", REPO].head.oid
    }


def test_a_snapshot_and_a_dataset_are_loaded(api: HfApi, tmp_path: Path) -> None:
    from datasets import load_dataset

    table = tmp_path / "a.parquet"
    card = (
        b"---\nconfigs:\n- config_name: one\n  data_files:\n  - split: test\n    path: data/*.parquet\n---\n"
    )
    api.create_repo(REPO, repo_type="dataset")
    for version, rows in (("v1", [1, 2]), ("v2", [3, 4, 5])):
        pq.write_table(pa.table({"a": rows}), table)
        done = api.create_commit(
            REPO,
            [add("README.md", card), add("data/a.parquet", table)],
            commit_message=version,
            repo_type="dataset",
        )
        api.create_tag(REPO, tag=version, revision=done.oid, repo_type="dataset")
    assert load_dataset(REPO, "one", split="test")["a"] == [3, 4, 5]
    assert load_dataset(REPO, "one", split="test", revision="v1")["a"] == [1, 2]
    assert [row["a"] for row in load_dataset(REPO, "one", split="test", streaming=True)] == [3, 4, 5]
    folder = Path(snapshot_download(REPO, repo_type="dataset", revision="v1"))
    assert pq.read_table(folder / "data" / "a.parquet")["a"].to_pylist() == [1, 2]
