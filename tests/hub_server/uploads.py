"""The endpoints that bring content: how a file is to be sent, LFS uploads, commits."""

from __future__ import annotations

import base64
import hashlib
import json
from math import ceil
from typing import Any
from urllib.parse import unquote

import yaml

from tests.hub_server.access import find_repository, find_to_write
from tests.hub_server.store import PREFIX, Repository, StoredFile, is_lfs
from tests.hub_server.wire import Answer, Hub, Request, as_json, refused


def validate_card(_hub: Hub, request: Request) -> Answer:
    """The Hub knows many rules of the metadata; here it has to be a mapping in YAML."""
    content = request.data["content"].replace("\r\n", "\n")
    errors, warnings = [], []
    if not content.startswith("---\n"):
        warnings.append({"message": "empty or missing yaml metadata in repo card"})
    else:
        try:
            if not isinstance(yaml.safe_load(content[4:].partition("\n---")[0]), dict):
                errors.append({"message": "metadata is no mapping"})
        except yaml.YAMLError as error:
            errors.append({"message": str(error)})
    return as_json({"errors": errors, "warnings": warnings}, 400 if errors else 200)


def say_how_to_upload(hub: Hub, request: Request, plural: str, repo_id: str, revision: str) -> Answer:
    repository = find_to_write(hub, request, plural, repo_id)
    commit = repository.at(unquote(revision))
    held = commit.files if commit else {}
    files = [
        {
            "path": file["path"],
            "uploadMode": "lfs" if is_lfs(file["path"], file["size"]) else "regular",
            "shouldIgnore": False,
            "oid": held[file["path"]].etag if file["path"] in held else None,
        }
        for file in request.data["files"]
    ]
    return as_json({"files": files})


def start_lfs(hub: Hub, request: Request, plural: str, repo_id: str) -> Answer:
    find_to_write(hub, request, plural, repo_id)
    objects = [_lfs_actions(hub, one, f"{plural}{repo_id}") for one in request.data["objects"]]
    return as_json({"transfer": "basic", "objects": objects})


def _lfs_actions(hub: Hub, asked: dict[str, Any], name: str) -> dict[str, Any]:
    oid, size = asked["oid"], asked["size"]
    described = {"oid": oid, "size": size}
    if oid in hub.store.lfs:
        return described
    upload: dict[str, Any] = {"href": f"{hub.cdn_url}/lfs-storage/{oid}?signature=s3cret"}
    if hub.chunk_size and size > hub.chunk_size:
        parts = range(1, ceil(size / hub.chunk_size) + 1)
        upload = {
            "href": f"{hub.url}/{name}.git/info/lfs/objects/complete",
            "header": {"chunk_size": str(hub.chunk_size)}
            | {f"{part:05}": f"{hub.cdn_url}/lfs-storage/{oid}/parts/{part}" for part in parts},
        }
    verify = {"href": f"{hub.url}/{name}.git/info/lfs/objects/verify"}
    return described | {"authenticated": True, "actions": {"upload": upload, "verify": verify}}


def take_lfs(hub: Hub, request: Request, oid: str) -> Answer:
    """What S3 is to the Hub: the address says what may be put there; no token."""
    if hashlib.sha256(request.body).hexdigest() != oid:
        return Answer(400, b"<Error><Code>BadDigest</Code></Error>", {"Content-Type": "application/xml"})
    hub.store.lfs[oid] = request.body
    return Answer(headers={"ETag": f'"{oid}"'})


def take_lfs_part(hub: Hub, request: Request, oid: str, part: str) -> Answer:
    hub.store.lfs[f"{oid}/{int(part):05}"] = request.body
    return Answer(headers={"ETag": f'"{oid}-{part}"'})


def complete_lfs(hub: Hub, request: Request, _plural: str, _repo_id: str) -> Answer:
    oid = request.data["oid"]
    names = [f"{oid}/{one['partNumber']:05}" for one in request.data["parts"]]
    content = b"".join(hub.store.lfs[name] for name in names)
    if hashlib.sha256(content).hexdigest() != oid:
        raise refused(400, "the parts are not the file")
    hub.store.lfs[oid] = content
    for name in names:
        del hub.store.lfs[name]
    return Answer()


def verify_lfs(hub: Hub, request: Request, plural: str, repo_id: str) -> Answer:
    find_repository(hub, request, plural, repo_id)
    content = hub.store.lfs.get(request.data["oid"])
    if content is None or len(content) != request.data["size"]:
        raise refused(404, "Object does not exist")
    return Answer()


def commit(hub: Hub, request: Request, plural: str, repo_id: str, revision: str) -> Answer:
    lines = [json.loads(line) for line in request.body.splitlines()]
    header = lines[0]["value"]
    with hub.store.lock:
        repository = find_to_write(hub, request, plural, repo_id)
        branch = unquote(revision)
        if branch not in repository.branches:
            raise refused(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        expected = header.get("parentCommit")
        if expected and not repository.branches[branch].startswith(expected):
            raise refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.commits[repository.branches[branch]].files)
        for line in lines[1:]:
            _apply(hub, repository, files, line["key"], line["value"])
        user = request.token.user if request.token else ""
        made = repository.add_commit(files, header["summary"], header["description"], user, branch)
    url = f"{hub.url}/{PREFIX[repository.repo_type]}{repo_id}/commit/{made.oid}"
    return as_json({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})


def _apply(
    hub: Hub, repository: Repository, files: dict[str, StoredFile], key: str, value: dict[str, Any]
) -> None:
    path = value["path"]
    if key == "file":
        content = base64.b64decode(value["content"])
        if is_lfs(path, len(content)):
            raise refused(400, f"{path} has to be uploaded by LFS")
        files[path] = StoredFile.regular(content)
    elif key == "lfsFile":
        stored = hub.store.lfs.get(value["oid"])
        if stored is None:
            raise refused(400, f"the LFS object of {path} was not uploaded: {value['oid']}")
        files[path] = StoredFile.lfs(stored, value["oid"])
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    elif key == "deletedFolder":
        for inside in [one for one in files if one.startswith(path.rstrip("/") + "/")]:
            del files[inside]
    else:
        raise refused(400, f"{repository.repo_id}: no such operation: {key}")
