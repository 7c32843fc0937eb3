"""The endpoints that give content: files at a revision, by the Hub and by its CDN."""

from __future__ import annotations

import re
from urllib.parse import unquote

from tests.hub_server.access import find_commit, find_repository
from tests.hub_server.store import StoredFile
from tests.hub_server.wire import Answer, Hub, Request, refused
from tests.hub_server.xet import xet_headers


def resolve(hub: Hub, request: Request, plural: str, repo_id: str, revision: str, path: str) -> Answer:
    """A file at a revision: its content, or for an LFS file where the CDN has it."""
    repository = find_repository(hub, request, plural, repo_id)
    commit = find_commit(repository, unquote(revision))
    at_commit = {"X-Repo-Commit": commit.oid}
    file = commit.files.get(unquote(path))
    if file is None:
        raise refused(404, "Entry not found", "EntryNotFound", at_commit)
    headers = at_commit | {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
    headers |= xet_headers(hub, repository, file.lfs_sha256, commit.oid)
    if file.lfs_sha256 is None:
        return _part(request, file, headers)
    cdn = f"{hub.cdn_url}/cdn/{file.lfs_sha256}?signature=s3cret"
    size = str(len(file.content))
    linked = {"X-Linked-Etag": f'"{file.lfs_sha256}"', "X-Linked-Size": size, "Location": cdn}
    return Answer(302, b"", headers | linked)


def from_cdn(hub: Hub, request: Request, sha256: str) -> Answer:
    """Content by its hash; a token must never come here."""
    if "authorization" in request.headers:
        raise refused(400, "a token was sent to the CDN")
    repositories = hub.store.repositories.values()
    commits = (commit for repository in repositories for commit in repository.commits.values())
    files = (file for commit in commits for file in commit.files.values())
    file = next((one for one in files if one.lfs_sha256 == sha256), None)
    if file is None:
        raise refused(404, "no such object")
    return _part(request, file, {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})


def _part(request: Request, file: StoredFile, headers: dict[str, str]) -> Answer:
    size = len(file.content)
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not asked or asked.groups() == ("", ""):
        return Answer(200, file.content, headers)
    start, end = asked.groups()
    first = int(start) if start else max(0, size - int(end))
    last = min(int(end), size - 1) if start and end else size - 1
    if first > last:
        return Answer(416, b"", headers | {"Content-Range": f"bytes */{size}"})
    part = file.content[first : last + 1]
    return Answer(206, part, headers | {"Content-Range": f"bytes {first}-{last}/{size}"})
