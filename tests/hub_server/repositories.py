"""The endpoints of repositories: make, remove, tell of, list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.hub_server.access import find_commit, find_repository, find_to_write, no_rights
from tests.hub_server.store import PREFIX, Commit, StoredFile, pointer
from tests.hub_server.wire import Answer, Hub, Request, as_json, refused


def who_am_i(_hub: Hub, request: Request) -> Answer:
    token = request.token
    if token is None:
        raise refused(401, "Invalid username or password.")
    organizations = [
        {"type": "org", "name": name, "fullname": name, "roleInOrg": "write"} for name in token.organizations
    ]
    access = {"type": "access_token", "accessToken": {"displayName": "test", "role": token.role}}
    return as_json({"type": "user", "name": token.user, "orgs": organizations, "auth": access})


def create_repository(hub: Hub, request: Request) -> Answer:
    asked = request.data
    if request.token is None:
        raise refused(401, "Invalid username or password.")
    namespace = asked.get("organization") or request.token.user
    repo_type, repo_id = asked.get("type", "model"), f"{namespace}/{asked['name']}"
    url = f"{hub.url}/{PREFIX[repo_type]}{repo_id}"
    if not request.token.may_write_in(namespace):
        raise no_rights(request)
    with hub.store.lock:
        if (repo_type, repo_id) in hub.store.repositories:
            raise refused(409, f"You already created this {repo_type} repo", url=url)
        hub.store.create(repo_type, repo_id, asked.get("visibility", "public"), asked.get("sdk"))
    return as_json({"url": url, "name": repo_id})


def delete_repository(hub: Hub, request: Request) -> Answer:
    asked = request.data
    repo_type = asked.get("type", "model")
    repo_id = f"{asked.get('organization') or (request.token.user if request.token else '')}/{asked['name']}"
    repository = find_to_write(hub, request, repo_type + "s", repo_id)
    del hub.store.repositories[repository.repo_type, repo_id]
    return Answer()


def change_settings(hub: Hub, request: Request, plural: str, repo_id: str) -> Answer:
    repository = find_to_write(hub, request, plural, repo_id)
    if "visibility" in request.data:
        repository.visibility = request.data["visibility"]
    if "gated" in request.data:
        repository.gated = request.data["gated"]
    return as_json({"visibility": repository.visibility, "gated": repository.gated})


def tell_of_repository(
    hub: Hub, request: Request, plural: str, repo_id: str, revision: str = "main"
) -> Answer:
    repository = find_repository(hub, request, plural, repo_id)
    commit = find_commit(repository, unquote(revision))
    blobs = request.asks("blobs") is not None
    described = {
        "_id": repo_id,
        "id": repo_id,
        "modelId": repo_id,
        "author": repository.owner,
        "sha": commit.oid,
        "private": repository.visibility == "private",
        "visibility": repository.visibility,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "lastModified": _date(commit),
        "createdAt": _date(next(iter(repository.commits.values()))),
        "siblings": [
            {"rfilename": path} | ({"size": len(file.content), "blobId": file.blob_id} if blobs else {})
            for path, file in sorted(commit.files.items())
        ],
    }
    if repository.repo_type == "space":
        described["sdk"] = repository.sdk
    return as_json(described)


def check_access(hub: Hub, request: Request, plural: str, repo_id: str, write: str = "") -> Answer:
    (find_to_write if write else find_repository)(hub, request, plural, repo_id)
    return Answer()


def list_refs(hub: Hub, request: Request, plural: str, repo_id: str) -> Answer:
    repository = find_repository(hub, request, plural, repo_id)

    def refs(kind: str, held: dict[str, str]) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in held.items()
        ]

    branches, tags = refs("heads", repository.branches), refs("tags", repository.tags)
    return as_json({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})


def list_commits(hub: Hub, request: Request, plural: str, repo_id: str, revision: str) -> Answer:
    repository = find_repository(hub, request, plural, repo_id)
    commits = [
        {
            "id": one.oid,
            "title": one.title,
            "message": one.message,
            "authors": [{"user": one.author}],
            "date": _date(one),
        }
        for one in repository.history(find_commit(repository, unquote(revision)))
    ]
    return _page(hub, request, commits)


def list_tree(
    hub: Hub, request: Request, plural: str, repo_id: str, revision: str, folder: str = ""
) -> Answer:
    repository = find_repository(hub, request, plural, repo_id)
    commit = find_commit(repository, unquote(revision))
    inside = unquote(folder).strip("/")
    below = f"{inside}/" if inside else ""
    paths = [path for path in sorted(commit.files) if path.startswith(below)]
    if inside and not paths:
        raise refused(
            404, f"{inside} does not exist on {commit.oid}", "EntryNotFound", {"X-Repo-Commit": commit.oid}
        )
    is_recursive = request.asks("recursive") in ("true", "True", "1")
    entries: dict[str, dict[str, Any]] = {}
    for path in paths:
        parts = path[len(below) :].split("/")
        for depth in range(1, len(parts) if is_recursive else min(len(parts), 2)):
            name = below + "/".join(parts[:depth])
            entries[name] = {"type": "directory", "oid": commit.oid, "size": 0, "path": name}
        if is_recursive or len(parts) == 1:
            entries[path] = _entry(path, commit.files[path])
    return _page(hub, request, list(entries.values()))


def tell_of_paths(hub: Hub, request: Request, plural: str, repo_id: str, revision: str) -> Answer:
    commit = find_commit(find_repository(hub, request, plural, repo_id), unquote(revision))
    if request.headers.get("content-type", "").startswith("application/json"):
        paths = request.data["paths"]
    else:
        paths = parse_qs(request.body.decode())["paths"]
    return as_json([_entry(path, commit.files[path]) for path in paths if path in commit.files])


def create_tag(hub: Hub, request: Request, plural: str, repo_id: str, revision: str) -> Answer:
    with hub.store.lock:
        repository = find_to_write(hub, request, plural, repo_id)
        commit = find_commit(repository, unquote(revision))
        if request.data["tag"] in repository.tags:
            raise refused(409, f"Tag reference exists already: {request.data['tag']}")
        repository.tags[request.data["tag"]] = commit.oid
    return Answer()


def delete_tag(hub: Hub, request: Request, plural: str, repo_id: str, tag: str) -> Answer:
    repository = find_to_write(hub, request, plural, repo_id)
    if repository.tags.pop(unquote(tag), None) is None:
        raise refused(404, f"Tag not found: {unquote(tag)}", "RevisionNotFound")
    return Answer()


def create_branch(hub: Hub, request: Request, plural: str, repo_id: str, branch: str) -> Answer:
    with hub.store.lock:
        repository = find_to_write(hub, request, plural, repo_id)
        asked = request.data if request.body else {}
        if unquote(branch) in repository.branches:
            raise refused(409, f"Reference already exists: refs/heads/{unquote(branch)}")
        commit = find_commit(repository, asked.get("startingPoint", "main"))
        repository.branches[unquote(branch)] = commit.oid
    return Answer(201)


def delete_branch(hub: Hub, request: Request, plural: str, repo_id: str, branch: str) -> Answer:
    repository = find_to_write(hub, request, plural, repo_id)
    if repository.branches.pop(unquote(branch), None) is None:
        raise refused(404, f"Branch not found: {unquote(branch)}", "RevisionNotFound")
    return Answer()


def _entry(path: str, file: StoredFile) -> dict[str, Any]:
    entry = {"type": "file", "oid": file.blob_id, "size": len(file.content), "path": path}
    if file.lfs_sha256 is None:
        return entry
    small = len(pointer(file.lfs_sha256, len(file.content)))
    return entry | {"lfs": {"oid": file.lfs_sha256, "size": len(file.content), "pointerSize": small}}


def _page(hub: Hub, request: Request, entries: list[dict[str, Any]]) -> Answer:
    """One page, and where the next one is."""
    start = int(request.asks("cursor") or 0)
    end = start + hub.page_size
    headers = {}
    if end < len(entries):
        kept = "&".join(part for part in request.query.split("&") if part and not part.startswith("cursor="))
        query = "&".join(filter(None, [kept, f"cursor={end}"]))
        headers["Link"] = f'<{hub.url}{request.path}?{query}>; rel="next"'
    return as_json(entries[start:end], headers=headers)


def _date(commit: Commit) -> str:
    return datetime.fromtimestamp(commit.time, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
